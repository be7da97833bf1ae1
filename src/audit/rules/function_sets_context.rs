//! A function that works in a tenant's context whoever calls it.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::routine::runner;
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "function-sets-context",
    family: Family::Functions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a function sets the tenant for as long as it runs",
    what: "A function or procedure that the application can run has a SET clause with the tenant setting, or with session_replication_role = replica. Not reported: clauses that set it to nothing, and routines that nobody of the application can run.",
    why: "It works as that tenant whoever calls it, and the policies agree; session_replication_role switches triggers and foreign keys off.",
    example: "ALTER FUNCTION app.report() SET app.tenant_id = '6f1c…';",
    fix: "ALTER FUNCTION … RESET the setting.",
    references: &["https://www.postgresql.org/docs/current/sql-createfunction.html"],
    covers: &["code-function-set"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    for (oid, function) in &survey.catalog.functions {
        let sets = function.settings.iter().find_map(|setting| {
            let (name, value) = setting.split_once('=')?;
            let matters = name.eq_ignore_ascii_case(tenancy.setting.as_str())
                || (name == "session_replication_role" && value == "replica");
            (matters && !value.is_empty() && value != "\"\"").then_some(name)
        });
        let Some(name) = sets else { continue };
        let Some(caller) = runner(survey, *oid, function) else { continue };
        let signature = function.signature();
        let message = format!("{} can have {signature} run, which sets {name}", caller.name);
        let fix = Fix::Advice(format!("ALTER FUNCTION {signature} RESET {name}"));
        found.push(
            RULE.finding(survey.object("function", &signature), message, fix)
                .role(caller.name)
                .operation("EXECUTE"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_fixed_tenant_is_accused_and_none_is_not() {
        let mut world = World::new();
        let function = world.function("app", "report", "app_owner", "SELECT 1");
        let sets = |value: &str| vec![format!("app.tenant_id={value}")];
        world.catalog.functions.get_mut(&function).unwrap().settings = sets("\"\"");
        assert!(world.rules().is_empty());
        world.catalog.functions.get_mut(&function).unwrap().settings = sets("key-ann");
        assert_eq!(world.rules(), ["function-sets-context"]);
        world.catalog.functions.get_mut(&function).unwrap().grants.clear();
        assert!(world.rules().is_empty());
    }
}
