//! A tenant read another tenant's rows.

use super::{Family, Rule};
use crate::audit::crossed::crossed;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;

pub(super) static RULE: Rule = Rule {
    id: "probe-read",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant read another tenant's rows",
    what: "A probe acted as one tenant, or as nobody, and saw a row that belongs to another. The message says in which context and through which role. It ran as the application's role inside a transaction that was rolled back.",
    why: "The hole is open now, whatever the catalogues suggest.",
    example: "ALTER TABLE app.notes DISABLE ROW LEVEL SECURITY;",
    fix: "See the static findings on the table: they say what let the row through.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["who-superuser", "who-bypassrls", "who-owner", "table-off", "policy-extra", "policy-constant", "policy-capture", "policy-logic", "policy-unset", "policy-empty", "policy-pattern", "policy-role", "policy-inherited", "schema-grant", "schema-public", "schema-member", "database-grant", "table-column-grant"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Read], |probe| format!("read rows of tenant {}", probe.target))
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
