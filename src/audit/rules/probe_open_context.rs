//! Without a tenant, every tenant's rows are open.

use super::{Family, Rule};
use crate::audit::crossed::{crossed_open, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "probe-open-context",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "without a tenant, every tenant's rows are open",
    what: "A probe crossed while the tenant setting was never set in the session, was the empty string (what a pooled session is left with after SET LOCAL), or held what is no tenant's key (high). It is not said where the same is open to a tenant in its own name. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "A request that forgets to set its tenant sees or changes everybody's rows.",
    example: "CREATE POLICY p ON app.notes USING (tenant_id = coalesce(nullif(current_setting('app.tenant_id', true), '')::uuid, tenant_id));",
    fix: "Write policies that fail closed: tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid). Give the setting no default on roles or databases.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html", "https://www.postgresql.org/docs/current/runtime-config-custom.html"],
    covers: &["policy-unset", "policy-empty", "context-default"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed_open(survey, &RULE, deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Read, Outcome::Refused);
        world.probes[0].context = Context::Unset;
        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-open-context"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }

    #[test]
    fn what_is_open_to_a_tenant_is_not_said_again() {
        let mut world = World::new();
        world.probe(Attempt::Read, Outcome::Rows(1));
        world.probe(Attempt::Read, Outcome::Rows(1));
        world.probes[1].context = Context::Empty;
        assert_eq!(world.rules(), ["probe-read"]);
    }
}
