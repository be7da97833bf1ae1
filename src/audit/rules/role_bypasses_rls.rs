//! The application connects as a role that bypasses row-level security.

use super::{Family, Rule};
use crate::audit::attribute::held;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-bypasses-rls",
    family: Family::Roles,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "the application connects as a role that bypasses row-level security",
    what: "A role of the application has BYPASSRLS. Not reported: roles with the attribute that the application cannot become.",
    why: "BYPASSRLS switches off every policy for the role, FORCE ROW LEVEL SECURITY included. Backup roles may need it; the application's roles never do.",
    example: "ALTER ROLE app_rw BYPASSRLS;",
    fix: "ALTER ROLE … NOBYPASSRLS.",
    references: &["https://www.postgresql.org/docs/current/role-attributes.html", "https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["who-bypassrls"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let said = "has BYPASSRLS: no policy binds it";
    held(survey, &RULE, |role| role.bypass_rls, &sql!("NOBYPASSRLS"), said)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn the_applications_role_is_accused_and_another_is_not() {
        let mut world = World::new();
        world.role_mut("stranger").bypass_rls = true;
        assert!(world.findings("role-bypasses-rls").is_empty());
        world.role_mut("app_rw").bypass_rls = true;
        let found = world.findings("role-bypasses-rls");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app_rw");
    }
}
