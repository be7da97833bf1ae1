//! Writing rows of one tenant changed rows of another.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-side-effect",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "writing rows of one tenant changed rows of another",
    what: "A probe added, changed and removed rows of one tenant in that tenant's own context, and compared another tenant's rows before and after: they were not the same. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "A trigger, a rule or a cascade of a foreign key carries the write across.",
    example: "CREATE TRIGGER t AFTER INSERT ON app.notes FOR EACH ROW EXECUTE FUNCTION app.touch_all_notes();",
    fix: "Make trigger functions SECURITY INVOKER or filter by the tenant of the row, and put the tenant column into foreign keys.",
    references: &["https://www.postgresql.org/docs/current/trigger-definition.html"],
    covers: &["code-trigger", "code-rule", "key-cascade"],
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
