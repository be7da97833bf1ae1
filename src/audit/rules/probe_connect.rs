//! A tenant's role logged in to another tenant's database.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-connect",
    family: Family::Probes,
    severity: Severity::Medium,
    evidence: Evidence::Probe,
    title: "a tenant's role logged in to another tenant's database",
    what: "A probe logged in as one tenant's role to the database of another. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "By itself that shows names and sizes; what stands open to PUBLIC inside stands open to that tenant. A database lets everybody in until CONNECT is revoked from PUBLIC.",
    example: "GRANT CONNECT ON DATABASE tenant_acme TO PUBLIC;",
    fix: "REVOKE CONNECT ON DATABASE … FROM PUBLIC, and grant it to the tenant's own roles.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["database-connect"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Connect], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Connect, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-connect"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
