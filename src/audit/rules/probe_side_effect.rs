//! Writing rows of one tenant changed rows of another.

use super::Rule;
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-side-effect",
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "writing rows of one tenant changed rows of another",
    docs: "A probe added, changed and removed rows of one tenant in that tenant's own context, and compared another tenant's rows before and after. They were not the same: a trigger, a rule or a cascade of a foreign key carries the write across. Make trigger functions SECURITY INVOKER or filter by the tenant of the row, and put the tenant column into foreign keys. Everything ran as the application's role inside a transaction that was rolled back; `reproduce` holds the statements.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::SideEffect], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::SideEffect, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-side-effect"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
