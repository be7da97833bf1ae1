//! The application connects as a superuser.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-superuser",
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "the application connects as a superuser",
    docs: "A superuser skips every privilege check and every policy, so each statement of the application sees all tenants. Fix: use a role without SUPERUSER for the application and keep superusers for people. Roles that the application does not use and cannot become are not reported.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        if survey.catalog.roles.get(&subject.role).is_some_and(|role| role.superuser) {
            let message = format!("role {} is a superuser: no policy and no privilege binds it", subject.name);
            let fix = Fix::Sql(vec![sql!("ALTER ROLE {} NOSUPERUSER", subject.name)]);
            found.push(
                RULE.finding(survey.role(subject.role), message, fix)
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
