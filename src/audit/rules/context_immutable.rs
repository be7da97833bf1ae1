//! A policy's function that is planned once and remembered.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "context-immutable",
    family: Family::Functions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a policy asks a function that is declared IMMUTABLE for the current tenant",
    what: "A policy calls an IMMUTABLE function that reads a setting or a role. Not reported: functions that read neither.",
    why: "IMMUTABLE promises the same answer for ever, so that the planner asks once and writes the answer into the plan. A prepared statement then works for the tenant who was there first.",
    example: "CREATE FUNCTION app.tenant() RETURNS uuid LANGUAGE sql IMMUTABLE\n  AS 'SELECT current_setting(''app.tenant_id'')::uuid';",
    fix: "ALTER FUNCTION … STABLE.",
    references: &["https://www.postgresql.org/docs/current/xfunc-volatility.html"],
    covers: &["code-immutable"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.rows().filter(|(_, table)| table.rls) {
        let Some((subject, _)) = survey.reaching(table, Privileges::ROWS).next() else { continue };
        for policy in survey.policies(oid) {
            for (number, function) in
                policy.functions.iter().filter_map(|f| Some((f, survey.catalog.functions.get(f)?)))
            {
                if function.volatility != 'i' || !survey.identity_functions.contains(number) {
                    continue;
                }
                let name = function.signature();
                let message = format!(
                    "policy {} on {} asks {name}, which is IMMUTABLE: a plan remembers the tenant",
                    policy.name, table.name
                );
                let fix = Fix::Sql(vec![survey.alter_function(function, &sql!("STABLE"))]);
                found.push(
                    RULE.finding(survey.object("function", &name), message, fix)
                        .role(subject.name),
                );
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_function_that_reads_the_setting_must_not_be_immutable() {
        let mut world = World::new();
        let body = "SELECT current_setting('app.tenant_id')::uuid";
        let function = world.function("app", "tenant", "app_owner", body);
        world.policy_mut().functions = vec![function];
        assert!(world.rules().is_empty());
        world.catalog.functions.get_mut(&function).unwrap().volatility = 'i';
        assert_eq!(world.rules(), ["context-immutable"]);
        world.catalog.functions.get_mut(&function).unwrap().body = "SELECT 1".to_owned();
        assert!(world.rules().is_empty());
    }
}
