//! A pool's login that uses tenants' privileges without becoming them.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::tenant::Isolation;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "login-inherits-tenants",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a login inherits the privileges of several tenants",
    what: "The login of a connection pool inherits the roles of several tenants. Not reported: a login that inherits one tenant's role, or only roles that work under row-level security.",
    why: "A pool's login should have nothing until it becomes a tenant's role. When it inherits the roles, a request that forgot SET ROLE reads every tenant's schema.",
    example: "CREATE ROLE pool LOGIN;\nGRANT app_tenant_cat, app_tenant_dan TO pool;",
    fix: "From PostgreSQL 16 on GRANT … WITH INHERIT FALSE, SET TRUE; before, ALTER ROLE pool NOINHERIT.",
    references: &["https://www.postgresql.org/docs/current/role-membership.html", "https://www.postgresql.org/docs/current/sql-set-role.html"],
    covers: &["schema-login", "who-options"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for login in survey.subjects.iter().filter(|subject| subject.login) {
        let inherited = survey.reach.inherits(login.role);
        let mut tenants: Vec<_> = survey
            .subjects
            .iter()
            .filter(|subject| subject.role != login.role && inherited.contains(&subject.role))
            .flat_map(|subject| &subject.tenants)
            .filter(|tenant| tenant.isolation != Isolation::Shared)
            .map(|tenant| &tenant.id)
            .collect();
        tenants.sort();
        tenants.dedup();
        if let [first, second, ..] = tenants[..] {
            let message = format!(
                "login {} inherits the roles of {} tenants, {first} and {second} among them: \
                 a session that forgot SET ROLE reads them all",
                login.name,
                tenants.len()
            );
            let fix = if survey.catalog.version < 160_000 {
                Fix::Sql(vec![sql!("ALTER ROLE {} NOINHERIT", login.name)])
            } else {
                Fix::Advice(format!(
                    "grant each role again: GRANT … TO {} WITH INHERIT FALSE, SET TRUE",
                    login.name
                ))
            };
            found.push(
                RULE.finding(survey.role(login.role), message, fix)
                    .role(login.name)
                    .tenants(tenants),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn two_inherited_tenants_are_accused_and_one_is_not() {
        let mut world = World::new();
        world.member("pool", "app_cat", "is");
        assert!(world.findings("login-inherits-tenants").is_empty());
        world.member("pool", "app_dan", "is");
        assert_eq!(world.findings("login-inherits-tenants").len(), 1);
        assert_eq!(world.rules(), ["login-inherits-tenants"]);
    }
}
