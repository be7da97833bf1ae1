//! A policy's function that asks a table which its caller can replace.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::routine::{confusion, relation_names};
use crate::audit::survey::Survey;
use crate::model::catalog::Privileges;

pub(super) static RULE: Rule = Rule {
    id: "context-shadowable",
    family: Family::Functions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a policy's function reads a table that its caller can replace by a temporary one",
    what: "A policy calls a function that runs as its caller, names a table without a schema and does not set a search_path with pg_temp at its end, while the caller may make temporary tables. Not reported: functions that read settings only.",
    why: "A temporary table of that name is read first: whoever may make one answers for himself which tenant he is.",
    example: "CREATE FUNCTION app.my_tenant() RETURNS uuid LANGUAGE sql STABLE\n  AS 'SELECT tenant_id FROM sessions WHERE token = current_setting(''app.token'')';",
    fix: "Name the schema of each table in the function, and SET search_path = pg_catalog, pg_temp.",
    references: &["https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SEARCH-PATH"],
    covers: &["code-shadow"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let known = relation_names(survey);
    let mut found = Vec::new();
    for (oid, table) in survey.rows().filter(|(_, table)| table.rls) {
        for policy in survey.policies(oid) {
            let functions = policy.functions.iter().filter_map(|f| survey.catalog.functions.get(f));
            for function in functions.filter(|function| !function.definer) {
                let user = survey.reaching(table, Privileges::ROWS).find_map(|(subject, _)| {
                    Some((subject, confusion(survey, function, subject, &known)?))
                });
                let Some((subject, confusion)) = user else { continue };
                let name = function.signature();
                let message = format!(
                    "policy {} on {} asks {name}, which {}: {} can answer for itself",
                    policy.name,
                    table.name,
                    confusion.phrase(),
                    subject.name
                );
                let fix = Fix::Advice(format!(
                    "name the schema of every table in {name}, and ALTER FUNCTION {name} SET search_path = pg_catalog, pg_temp"
                ));
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
    use crate::model::catalog::*;

    #[test]
    fn a_table_without_its_schema_is_accused_where_temporary_tables_can_be_made() {
        let mut world = World::new();
        world.estate.tenants.truncate(2);
        world.table("app", "sessions", "app_owner");
        let body = "SELECT s.tenant FROM sessions s WHERE s.token = current_setting('app.tenant_id')";
        let function = world.function("app", "mine", "app_owner", body);
        world.catalog.functions.get_mut(&function).unwrap().definer = false;
        world.policy_mut().functions = vec![function];
        assert!(world.findings("context-shadowable").is_empty());
        let grant = world.granted("public", &[Privilege::Temporary]);
        world.catalog.databases[1].grants.push(grant);
        assert_eq!(world.findings("context-shadowable").len(), 1);
        world.catalog.functions.get_mut(&function).unwrap().body = body.replace("FROM s", "FROM app.s");
        assert!(world.findings("context-shadowable").is_empty());
    }
}
