//! A function that reads tenants' rows with rights other than its caller's.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::routine::touched;
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "definer-function",
    family: Family::Functions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a function that the application may call works past row-level security",
    what: "The application may call a SECURITY DEFINER routine whose owner no policy binds, and which names a table that tenants share or builds its statements at run time. Not reported: trigger functions, which nobody can call, routines that filter by the tenant setting, and routines that touch no tenant table.",
    why: "A SECURITY DEFINER routine runs as its owner, so it can answer with any tenant's rows. EXECUTE is granted to PUBLIC unless it is revoked.",
    example: "CREATE FUNCTION app.all_notes() RETURNS SETOF app.notes LANGUAGE sql SECURITY DEFINER\n    AS 'SELECT * FROM app.notes';  -- owned by a superuser",
    fix: "SECURITY INVOKER, an owner that the policies bind, or REVOKE EXECUTE.",
    references: &["https://www.postgresql.org/docs/current/sql-createfunction.html", "https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["code-definer", "code-dynamic"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, function) in survey.catalog.functions.iter().filter(|(_, f)| f.definer && !f.for_triggers) {
        let Some(touched) = touched(survey, *oid, function) else { continue };
        let home = survey.ground(function.schema);
        let caller = survey.entering(function.schema).find(|subject| {
            // In its own schema a tenant may call what works on its own tables.
            let own = home.is_some_and(|g| g.tenants.iter().any(|t| subject.acts_for(&t.id)));
            (!own || touched.foreign) && survey.calls(subject, function)
        });
        let Some(caller) = caller else { continue };
        let name = function.signature();
        let message = format!(
            "{} may call {name}, which runs as {} and {}",
            caller.name,
            survey.catalog.role_name(function.owner),
            touched.what
        );
        let fix = Fix::Advice(format!(
            "ALTER FUNCTION {name} SECURITY INVOKER, or REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC, {}",
            caller.name
        ));
        found.push(
            RULE.finding(survey.object("function", &name), message, fix)
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
    fn a_dump_is_accused_and_its_sound_neighbours_are_not() {
        let mut world = World::new();
        world.function("app", "bound", "app_owner", "SELECT * FROM app.notes");
        world.function("app", "harmless", "admin", "SELECT now()");
        let filter = "SELECT * FROM app.notes WHERE tenant_id = current_setting('app.tenant_id')::uuid";
        world.function("app", "filtered", "admin", filter);
        let trigger = world.function("app", "stamp", "admin", "INSERT INTO app.notes …");
        world.catalog.functions.get_mut(&trigger).unwrap().for_triggers = true;
        let closed = world.function("app", "closed", "admin", "SELECT * FROM app.notes");
        world.catalog.functions.get_mut(&closed).unwrap().grants.clear();
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.function("app", "dump", "admin", "SELECT * FROM app.notes");
        let found = world.findings("definer-function");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app.dump()");
    }

    #[test]
    fn another_tenants_schema_counts_as_well() {
        let mut world = World::new();
        world.function("tenant_cat", "peek", "admin", "SELECT * FROM tenant_dan.notes");
        world.function("tenant_cat", "own", "own_cat", "SELECT * FROM tenant_cat.notes");
        assert_eq!(world.rules(), ["definer-function"]);
    }
}
