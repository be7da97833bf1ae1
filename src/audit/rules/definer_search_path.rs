//! A definer function whose names its caller can make mean something else.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::routine::{confusion, powerful, relation_names, runner};
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "definer-search-path",
    family: Family::Functions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a caller can have a definer function use other tables than were meant",
    what: "A SECURITY DEFINER routine that somebody of the application can run names a table without its schema and sets no search_path, or one in which temporary tables come first, or one with a schema where its caller may make things. High where no policy binds its owner or the owner has several tenants' schemas, medium otherwise. Not reported: routines that name every table's schema.",
    why: "A caller who names another tenant's schema in the search_path, or makes a temporary table of that name, has the owner's rights work on it, or has a check of membership answered by a table of his own.",
    example: "CREATE FUNCTION app.is_member(uuid) RETURNS bool LANGUAGE sql SECURITY DEFINER\n  SET search_path = app AS 'SELECT EXISTS (SELECT FROM members WHERE …)';",
    fix: "Name the schema of each table, and SET search_path = pg_catalog, pg_temp.",
    references: &["https://www.postgresql.org/docs/current/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY"],
    covers: &["code-search-path", "code-shadow"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let known = relation_names(survey);
    let mut found = Vec::new();
    for (oid, function) in survey.catalog.functions.iter().filter(|(_, f)| f.definer) {
        let Some(caller) = runner(survey, *oid, function) else { continue };
        // Who can act as the owner gains nothing.
        if caller.closure.contains_key(&function.owner) {
            continue;
        }
        let Some(confusion) = confusion(survey, function, caller, &known) else { continue };
        let grave = if powerful(survey, function.owner) { RULE.severity } else { Severity::Medium };
        let name = function.signature();
        let message = format!(
            "{name}, which runs as {} and which {} can have run, {}",
            survey.catalog.role_name(function.owner),
            caller.name,
            confusion.phrase()
        );
        let fix = Fix::Advice(format!(
            "name the schema of every table in {name}, and ALTER FUNCTION {name} SET search_path = pg_catalog, pg_temp"
        ));
        found.push(
            RULE.finding(survey.object("function", &name), message, fix)
                .severity(grave)
                .role(caller.name)
                .operation("EXECUTE"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    fn temporary(world: &mut World) {
        let grant = world.granted("public", &[Privilege::Temporary]);
        world.catalog.databases[1].grants.push(grant);
    }

    #[test]
    fn a_bare_name_is_accused_and_a_full_one_is_not() {
        let mut world = World::new();
        temporary(&mut world);
        let filter = "SELECT count(*) FROM app.notes WHERE tenant_id = current_setting('app.tenant_id')::uuid";
        world.function("app", "full", "admin", filter);
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.function("app", "bare", "admin", &filter.replace("app.notes", "notes"));
        let found = world.findings("definer-search-path");
        assert_eq!((found.len(), found[0].severity), (1, Severity::High));
    }

    #[test]
    fn a_path_that_ends_with_pg_temp_is_sound() {
        let mut world = World::new();
        temporary(&mut world);
        let body = "SELECT current_setting('app.tenant_id'), count(*) FROM countries";
        let function = world.function("app", "bare", "app_owner", body);
        let path = |path: &str| vec![format!("search_path={path}")];
        world.catalog.functions.get_mut(&function).unwrap().settings = path("app");
        assert_eq!(world.findings("definer-search-path")[0].severity, Severity::Medium);
        world.catalog.functions.get_mut(&function).unwrap().settings = path("app, pg_temp");
        assert!(world.rules().is_empty());
        world.grant_schema("app", "app_rw", Privilege::Create);
        assert_eq!(world.findings("definer-search-path").len(), 1);
    }
}
