//! One role that acts for several tenants which should each have their own.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::tenant::Isolation;

pub(super) static RULE: Rule = Rule {
    id: "role-shared",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "tenants with a schema or database of their own act through one role",
    what: "Several tenants with a schema or database of their own act through one role. Not reported: shared tables, where row-level security tells tenants apart.",
    why: "Schemas and databases keep tenants apart by privileges, and privileges belong to roles. With one role only the search path or the connection string tells tenants apart, and a forgotten SET shows one tenant's data to another.",
    example: "GRANT USAGE ON SCHEMA tenant_cat, tenant_dan TO app;",
    fix: "Put {tenant} into the role template of [isolation.schema] or [isolation.database].",
    references: &["https://www.postgresql.org/docs/current/ddl-schemas.html", "https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["schema-role"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in survey.subjects.iter().filter(|subject| !subject.login) {
        let own: Vec<_> = subject
            .tenants
            .iter()
            .filter(|tenant| tenant.isolation != Isolation::Shared)
            .map(|tenant| &tenant.id)
            .collect();
        if own.len() < 2 {
            continue;
        }
        let message = format!(
            "role {} acts for {} tenants that have a {} each, {} and {} among them",
            subject.name,
            own.len(),
            subject.tenants[0].isolation,
            own[0],
            own[1]
        );
        let fix = Fix::Advice(
            "give each tenant a role: put {tenant} into the role template in tenants.toml"
                .to_owned(),
        );
        found.push(
            RULE.finding(survey.role(subject.role), message, fix).role(subject.name).tenants(own),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn one_role_for_two_schemas_is_accused_and_one_for_shared_tables_is_not() {
        let mut world = World::new();
        assert!(world.findings("role-shared").is_empty());
        world.estate.tenants[3].roles = vec![ident("app_cat")];
        assert_eq!(world.findings("role-shared").len(), 1);
    }
}
