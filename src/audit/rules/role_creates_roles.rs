//! A role of the application that can make roles, and so grant itself others.

use super::{Family, Rule};
use crate::audit::attribute::reached;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-creates-roles",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application reaches a role with CREATEROLE",
    what: "A role of the application has CREATEROLE, or can become one that has. Lighter from PostgreSQL 16 on.",
    why: "Up to PostgreSQL 15 a role with CREATEROLE may grant itself any role but a superuser: every other tenant's role, and every owner. From 16 on it needs ADMIN OPTION on the role it grants, which it has on those that it made.",
    example: "ALTER ROLE app_rw CREATEROLE;",
    fix: "Keep CREATEROLE for the role that provisions tenants: ALTER ROLE … NOCREATEROLE.",
    references: &["https://www.postgresql.org/docs/current/role-attributes.html"],
    covers: &["who-createrole"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let said = "can make and grant roles";
    let grave = if survey.catalog.version < 160_000 { Severity::High } else { Severity::Medium };
    reached(survey, &RULE, |role| role.create_role, &sql!("NOCREATEROLE"), said)
        .into_iter()
        .map(|finding| finding.severity(grave))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_role_that_can_be_become_is_accused_and_an_inherited_one_is_not() {
        let mut world = World::new();
        world.catalog.version = 150_020;
        world.role_mut("stranger").create_role = true;
        world.member("app_rw", "stranger", "i");
        assert!(world.findings("role-creates-roles").is_empty());
        world.member("app_rw", "stranger", "s");
        assert_eq!(world.findings("role-creates-roles").len(), 1);
    }
}
