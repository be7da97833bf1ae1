//! A role of the application that can make roles, and so grant itself others.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-creates-roles",
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application reaches a role with CREATEROLE",
    docs: "Up to PostgreSQL 15 a role with CREATEROLE may grant itself any role but a superuser: every other tenant's role, and every owner. From 16 on it needs ADMIN OPTION on the role it grants, which it has on those that it made; the finding is lighter there. Fix: keep CREATEROLE for the role that provisions tenants.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        for (reached, path) in &subject.closure {
            let Some(role) = survey.catalog.roles.get(reached) else { continue };
            // A superuser is worse, and has rules of its own.
            if !role.create_role || role.superuser || !path.becomes {
                continue;
            }
            let message = format!(
                "role {} can make and grant roles as {}",
                subject.name,
                survey.path(&path.roles)
            );
            let fix = Fix::Sql(vec![sql!("ALTER ROLE {} NOCREATEROLE", role.name)]);
            let grave =
                if survey.catalog.version < 160_000 { Severity::High } else { Severity::Medium };
            found.push(
                RULE.finding(survey.role(*reached), message, fix)
                    .severity(grave)
                    .role(subject.name)
                    .tenants(subject.tenants.iter().map(|tenant| &tenant.id)),
            );
        }
    }
    found
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
