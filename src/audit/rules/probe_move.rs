//! A tenant gave its own row to another tenant.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-move",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant gave its own row to another tenant",
    what: "A probe set the tenant column of its own rows to another tenant's key, without a WHERE that would add the SELECT policies, and no policy refused it. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "One tenant can plant data in another's tables, and lose its own.",
    example: "CREATE POLICY p ON app.notes FOR UPDATE USING (tenant_id = app.tenant()) WITH CHECK (true);",
    fix: "Tie WITH CHECK of the UPDATE policy to the tenant, or leave it out: USING then stands in for it.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["write-move"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Move], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Move, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-move"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
