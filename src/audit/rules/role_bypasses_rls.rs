//! The application connects as a role that bypasses row-level security.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-bypasses-rls",
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "the application connects as a role that bypasses row-level security",
    docs: "BYPASSRLS switches off every policy for the role, FORCE ROW LEVEL SECURITY included. Backup roles may need it; the application's roles never do. Fix: ALTER ROLE … NOBYPASSRLS. Roles with the attribute that the application cannot become are not reported.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        if survey.catalog.roles.get(&subject.role).is_some_and(|role| role.bypass_rls) {
            let message = format!("role {} has BYPASSRLS: no policy binds it", subject.name);
            let fix = Fix::Sql(vec![sql!("ALTER ROLE {} NOBYPASSRLS", subject.name)]);
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
        world.role_mut("stranger").bypass_rls = true;
        assert!(world.findings("role-bypasses-rls").is_empty());
        world.role_mut("app_rw").bypass_rls = true;
        let found = world.findings("role-bypasses-rls");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app_rw");
    }
}
