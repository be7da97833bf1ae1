//! A tenant's role logged in to another tenant's database.

use super::Rule;
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-connect",
    severity: Severity::Medium,
    evidence: Evidence::Probe,
    title: "a tenant's role logged in to another tenant's database",
    docs: "A database lets everybody in until CONNECT is revoked from PUBLIC. The probe logged in as one tenant's role to the database of another. By itself that shows names and sizes; what stands open to PUBLIC inside stands open to that tenant. REVOKE CONNECT ON DATABASE … FROM PUBLIC, and grant it to the tenant's own roles.",
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
