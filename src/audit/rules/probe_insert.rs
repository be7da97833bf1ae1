//! A tenant added a row in another tenant's name.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-insert",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant added a row in another tenant's name",
    what: "A probe inserted a row with another tenant's key, without RETURNING, and no policy refused it; or one without a key, which the other tenant then saw (high). It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "One tenant can plant data in another's tables.",
    example: "CREATE POLICY p ON app.notes FOR INSERT WITH CHECK (true);",
    fix: "Tie WITH CHECK to the tenant, or USING in its place; give a view WITH CHECK OPTION, and the tenant column NOT NULL.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["write-insert", "policy-role", "policy-command", "table-nullable", "code-check"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Insert, Attempt::InsertForAll], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Insert, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-insert"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
