//! A tenant gave its own row to another tenant.

use super::{Family, Rule};
use crate::audit::crossed::crossed;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;

pub(super) static RULE: Rule = Rule {
    id: "probe-move",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant gave its own row to another tenant",
    what: "A probe set the tenant column of its own rows to another tenant's key, without a WHERE that would add the SELECT policies, and no policy refused it. It ran as the application's role inside a transaction that was rolled back.",
    why: "A row changes hands: it vanishes for its tenant, and the other one finds it among its own.",
    example: "CREATE POLICY change ON app.notes FOR UPDATE USING (tenant_id = app.current_tenant()) WITH CHECK (true);",
    fix: "See the static findings on the table. WITH CHECK of the UPDATE policy decides this, or USING in its place.",
    references: &["https://www.postgresql.org/docs/current/sql-createpolicy.html"],
    covers: &["write-move"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Move], |probe| format!("make its rows those of tenant {}", probe.target))
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
