//! What a tenant is shown depends on another tenant's rows.

use super::Rule;
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-influence",
    severity: Severity::High,
    evidence: Evidence::Probe,
    title: "what a tenant is shown depends on another tenant's rows",
    docs: "A probe read a relation or called a routine as one tenant, twice: with and without a row of another tenant in the database. The answers differ, though the row itself is in neither: counts, sums or the existence of the other tenant's data are visible. Views that aggregate run with their owner's rights unless they are security_invoker. Everything ran as the application's role inside a transaction that was rolled back; `reproduce` holds the statements.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Influence], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Influence, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-influence"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
