//! A table with row-level security on, and no policy that admits a row.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;

pub(super) static RULE: Rule = Rule {
    id: "policy-missing",
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a table that tenants share has row-level security on and no policy",
    docs: "Without a permissive policy the table is closed to every role that row-level security binds, and wide open to every role that it does not bind: no sentence says whose rows are whose. Usually a policy was dropped or never made. Fix: CREATE POLICY … USING (tenant column = current tenant). Tables that no role of the application may use are not reported.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.tables().filter(|(_, table)| table.rls) {
        if survey.policies(oid).iter().any(|policy| policy.permissive)
            || table.parent.is_some_and(|parent| survey.tenant_tables.contains(&parent))
        {
            continue;
        }
        let Some((subject, held)) = survey.reaching(table, Privileges::ROWS).next() else {
            continue;
        };
        let message = format!(
            "{} has row-level security on and no policy that admits a row: {} holds {held} for nothing",
            table.name, subject.name
        );
        let fix = Fix::Advice(match &survey.estate.tenancy {
            Some(tenancy) => format!(
                "CREATE POLICY tenant_isolation ON {} USING ({} = (SELECT NULLIF(current_setting('{}', true), '')::{}))",
                table.name,
                tenancy.column,
                tenancy.setting,
                table.column(&tenancy.column).map_or("uuid", |column| column.type_name.as_str()),
            ),
            None => "create a policy for the tenant column".to_owned(),
        });
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
