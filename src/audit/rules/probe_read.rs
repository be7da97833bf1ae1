//! A tenant read another tenant's rows.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-read",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant read another tenant's rows",
    what: "A probe put a row with a mark of its own into a tenant's tables, acted as another tenant, and found the mark: in the table, a view, a copy, a partition, whatever the role may read, in what COPY exports, or in what a view gives to a condition before it filters. The message says in which context and through which role. Where an ordinary application would not get by itself (SET ROLE to another role, a second setting that a policy reads, a temporary function) the finding is high. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "The hole is open now, whatever the catalogues suggest.",
    example: "ALTER TABLE app.notes DISABLE ROW LEVEL SECURITY;",
    fix: "See the static findings on the object: they say what let it through.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["who-superuser", "who-bypassrls", "who-owner", "who-path", "table-off", "table-child", "table-copy", "table-partition", "table-column-grant", "policy-extra", "policy-constant", "policy-capture", "policy-logic", "policy-pattern", "policy-role", "policy-inherited", "policy-switch", "code-view", "code-barrier", "code-materialized", "code-foreign", "code-large-object", "code-system", "code-immutable", "schema-grant", "schema-public", "schema-member", "schema-common", "schema-parent", "database-grant"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Read, Attempt::Copy, Attempt::Peek, Attempt::Lock], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Read, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-read"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
