//! What a tenant is shown depends on another tenant's rows.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-influence",
    family: Family::Probes,
    severity: Severity::High,
    evidence: Evidence::Probe,
    title: "what a tenant is shown depends on another tenant's rows",
    what: "A probe read a view or called a routine as one tenant, with and without a row of another tenant in the database, each time twice. The answers differ, though the row itself is in neither. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "Counts, sums or the existence of the other tenant's data are visible.",
    example: "CREATE VIEW app.totals AS SELECT count(*) FROM app.notes;",
    fix: "Make the view security_invoker, or filter by the tenant setting before anything is added up.",
    references: &["https://www.postgresql.org/docs/current/sql-createview.html"],
    covers: &["code-view", "code-definer"],
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
