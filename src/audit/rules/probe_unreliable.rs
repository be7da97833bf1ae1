//! A probe whose positive control failed, so that it proves nothing.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::{Attempt, Outcome};

pub(super) static RULE: Rule = Rule {
    id: "probe-unreliable",
    family: Family::Probes,
    severity: Severity::Medium,
    evidence: Evidence::Probe,
    title: "a tenant does not see its own row, so probes of the table prove nothing",
    what: "Before it looks for another tenant's rows, a probe adds a row in a tenant's own context and looks for it as that tenant. Reported is a table where that row stays invisible.",
    why: "Seeing no foreign rows proves nothing where one's own are not seen either: the policy may read another setting, or admit nothing at all. Usually the application does not work on this table.",
    example: "CREATE POLICY tenant_isolation ON app.notes USING (tenant_id::text = current_setting('app.tenant', true));\n-- while tenants.toml says setting = \"app.tenant_id\"",
    fix: "Let the policies and [isolation.shared] of tenants.toml name the same column and setting.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["table-closed", "policy-setting"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let failed = survey
        .probes
        .iter()
        .filter(|probe| probe.attempt == Attempt::Control && probe.outcome == Outcome::Rows(0));
    failed
        .map(|probe| {
            let message = format!(
                "tenant {} does not see its own row in {} as {}",
                probe.target, probe.object, probe.role
            );
            let fix = Fix::Advice("check which setting the policies of this table read".to_owned());
            RULE.finding(survey.object(probe.kind, &probe.object), message, fix)
                .role(&probe.role)
                .operation(probe.attempt.word())
                .tenants([&probe.acting, &probe.target])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Control, Outcome::Rows(1));
        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(0);
        assert_eq!(world.rules(), ["probe-unreliable"]);
        let concerned = &world.findings("probe-unreliable")[0].tenants;
        assert!(concerned.contains(&world.probes[0].acting), "it has no proof either");
    }
}
