//! The application connects as a superuser.

use super::{Family, Rule};
use crate::audit::attribute::held;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-superuser",
    family: Family::Roles,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "the application connects as a superuser",
    what: "A role of the application is a superuser. Not reported: roles that the application does not use and cannot become.",
    why: "A superuser skips every privilege check and every policy, so each statement of the application sees all tenants.",
    example: "DATABASE_URL=postgres://postgres@db/app  -- as the application's connection",
    fix: "Use a role without SUPERUSER for the application, and keep superusers for people.",
    references: &["https://www.postgresql.org/docs/current/role-attributes.html", "https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["who-superuser"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let said = "is a superuser: no policy and no privilege binds it";
    held(survey, &RULE, |role| role.superuser, &sql!("NOSUPERUSER"), said)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn the_applications_role_is_accused_and_another_is_not() {
        let mut world = World::new();
        world.role_mut("stranger").superuser = true;
        assert!(world.findings("role-superuser").is_empty());
        world.role_mut("app_rw").superuser = true;
        let found = world.findings("role-superuser");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app_rw");
    }
}
