//! A table with row-level security on, and no policy that admits a row.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;

pub(super) static RULE: Rule = Rule {
    id: "policy-missing",
    family: Family::Policies,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a table that tenants share has row-level security on and no policy",
    what: "A table that tenants share has row-level security on, the application may use it, and no permissive policy is for the application's roles. Not reported: tables that no role of the application may use.",
    why: "The table is closed to every role that row-level security binds, and wide open to every role that it does not bind: no sentence says whose rows are whose. Usually a policy was dropped or never made.",
    example: "ALTER TABLE app.notes ENABLE ROW LEVEL SECURITY;  -- and no CREATE POLICY",
    fix: "CREATE POLICY … USING (tenant column = current tenant).",
    references: &["https://www.postgresql.org/docs/current/sql-createpolicy.html"],
    covers: &["table-closed"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.tables().filter(|(_, table)| table.rls) {
        if table.parent.is_some_and(|parent| survey.tenant_tables.contains(&parent)) {
            continue;
        }
        let mut users = survey.reaching(table, Privileges::ROWS).peekable();
        let Some((subject, held)) = users.peek().copied() else { continue };
        // A policy for somebody else admits nothing to the application.
        let served = users.any(|(subject, _)| {
            survey.exempt(subject.role, table)
                || survey.faces(subject).iter().any(|face| {
                    let policies = survey.policies(oid).iter();
                    policies.filter(|p| p.permissive).any(|policy| survey.applies(policy, *face))
                })
        });
        if served {
            continue;
        }
        let message = format!(
            "{} has row-level security on and no policy that admits a row to the application: {} holds {held} for nothing",
            table.name, subject.name
        );
        let Some(policy) = survey.policy_for(oid, table) else { continue };
        let fix = Fix::Sql(vec![policy]);
        found.push(
            RULE.finding(survey.relation(table), message, fix).role(subject.name).operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_policy_for_somebody_else_is_none() {
        let mut world = World::new();
        let stranger = world.oid("stranger");
        world.policy_mut().roles = vec![stranger];
        assert_eq!(world.rules(), ["policy-missing"]);
        world.member("app_rw", "stranger", "i");
        assert!(world.rules().is_empty());
    }

    #[test]
    fn no_policy_is_accused_and_one_for_one_command_is_enough() {
        let mut world = World::new();
        world.policy_mut().command = Some(Command::Select);
        assert!(world.findings("policy-missing").is_empty());
        world.policy_mut().permissive = false;
        assert_eq!(world.findings("policy-missing").len(), 1);
        world.catalog.policies.remove(0);
        assert_eq!(world.rules(), ["policy-missing"]);
        world.table_mut("app.notes").grants.clear();
        assert!(world.rules().is_empty());
    }
}
