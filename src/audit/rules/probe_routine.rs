//! A function or procedure gave a tenant another tenant's rows.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-routine",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a function or procedure gave a tenant another tenant's rows",
    what: "A probe called every routine that the role may call, with the keys, ids and names of another tenant, and found that tenant's mark in the answer, or its rows changed. Routines in untrusted languages and those that speak to the outside (dblink, COPY PROGRAM, files, setval) are not called; the answer lists them. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "SECURITY DEFINER routines run with the rights of their owner, and only the policies that bind the owner bind them.",
    example: "CREATE FUNCTION app.note(id uuid) RETURNS SETOF app.notes LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM app.notes WHERE id = $1';",
    fix: "Make it SECURITY INVOKER, or filter by the tenant setting inside; revoke EXECUTE from PUBLIC.",
    references: &["https://www.postgresql.org/docs/current/sql-createfunction.html"],
    covers: &["code-definer", "code-dynamic", "code-search-path"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Call], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Call, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-routine"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
