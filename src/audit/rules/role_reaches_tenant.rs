//! A tenant's role that can use another tenant's role.

use std::collections::HashMap;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Oid;
use crate::model::tenant::Tenant;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-reaches-tenant",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a tenant's role reaches another tenant's role",
    what: "A tenant's role is a member of another tenant's role or owner: critical when the membership is inherited. Not reported here: logins of a pool, which become tenants' roles by design.",
    why: "Where each tenant has a role of its own, that role is the wall. A membership between two of them opens it: at once when it is inherited, by SET ROLE or by granting it to oneself otherwise.",
    example: "GRANT app_tenant_dan TO app_tenant_cat;",
    fix: "REVOKE the membership.",
    references: &["https://www.postgresql.org/docs/current/role-membership.html"],
    covers: &["schema-member", "who-path", "who-options"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let numbers: HashMap<_, Oid> =
        survey.catalog.roles.iter().map(|(oid, role)| (&role.name, *oid)).collect();
    let mut holders: HashMap<Oid, Vec<&Tenant>> = HashMap::new();
    let cluster = &survey.catalog.cluster;
    for tenant in survey.estate.tenants.iter().filter(|t| t.placement.cluster == *cluster) {
        for name in tenant.roles.iter().chain([&tenant.owner]) {
            if let Some(role) = numbers.get(name) {
                holders.entry(*role).or_default().push(tenant);
            }
        }
    }
    let mut found = Vec::new();
    for subject in survey.subjects.iter().filter(|subject| !subject.login) {
        for (reached, path) in &subject.closure {
            let Some(others) = holders.get(reached) else { continue };
            let foreign = others.iter().all(|other| !subject.acts_for(&other.id));
            // A pool's login may be the role of shared tenants as well; what it inherits is more.
            let pool = survey.estate.login_roles.contains(subject.name) && !path.inherited;
            if subject.tenants.is_empty() || !foreign || pool {
                continue;
            }
            let message = format!(
                "role {} of tenant {} can act as {}, which is tenant {}'s: {}",
                subject.name,
                subject.tenants[0].id,
                survey.catalog.role_name(*reached),
                others[0].id,
                survey.path(&path.roles)
            );
            let fix = match path.roles[..] {
                [.., member, last] => survey.ident(member).zip(survey.ident(last)).map(
                    |(member, last)| Fix::Sql(vec![sql!("REVOKE {} FROM {}", last, member)]),
                ),
                _ => None,
            };
            let fix = fix.unwrap_or_else(|| Fix::Advice("revoke the membership".to_owned()));
            let grave = if path.inherited { Severity::Critical } else { Severity::High };
            found.push(
                RULE.finding(survey.role(*reached), message, fix)
                    .severity(grave)
                    .role(subject.name)
                    .tenants(subject.tenants.iter().chain(others).map(|tenant| &tenant.id)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    use crate::audit::finding::Severity;

    #[test]
    fn a_membership_between_tenants_is_accused_and_a_pools_login_is_not() {
        let mut world = World::new();
        world.member("app_cat", "stranger", "is");
        assert!(world.findings("role-reaches-tenant").is_empty());
        world.member("stranger", "app_dan", "is");
        let found = world.findings("role-reaches-tenant");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Critical);
        let ids: Vec<_> = found[0].tenants.iter().map(crate::model::tenant::TenantId::as_str).collect();
        assert_eq!(ids, ["cat", "dan"]);
    }

    #[test]
    fn another_tenants_owner_counts_as_well() {
        let mut world = World::new();
        world.member("app_cat", "own_dan", "s");
        assert_eq!(world.findings("role-reaches-tenant")[0].severity, Severity::High);
    }
}
