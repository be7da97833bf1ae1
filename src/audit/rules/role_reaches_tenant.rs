//! A tenant's role that can use another tenant's role.

use std::collections::HashMap;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::reach::Path;
use crate::audit::survey::Survey;
use crate::model::catalog::Oid;
use crate::model::tenant::{Isolation, Tenant};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-reaches-tenant",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a tenant's role reaches another tenant's role",
    what: "A tenant's role is a member of another tenant's role or owner: critical when the membership is inherited. A pool's login becomes tenants' roles by design, and is reported where it can be the owner of a tenant's schema or database.",
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
        // The owner of shared tables is nobody's in particular, and has a rule of its own.
        let owner = (tenant.isolation != Isolation::Shared).then_some(&tenant.owner);
        for name in survey.estate.roles_of(tenant).chain(owner) {
            if let Some(role) = numbers.get(name) {
                holders.entry(*role).or_default().push(tenant);
            }
        }
    }
    let mut found = Vec::new();
    for subject in &survey.subjects {
        for (reached, path) in &subject.closure {
            let Some(others) = holders.get(reached) else { continue };
            if subject.login {
                let own = |t: &&&Tenant| {
                    t.isolation != Isolation::Shared && numbers.get(&t.owner) == Some(reached)
                };
                let Some(tenant) = others.iter().find(own) else { continue };
                let message = format!(
                    "login {} can act as {}, which owns what tenant {} has: {}",
                    subject.name,
                    survey.catalog.role_name(*reached),
                    tenant.id,
                    survey.path(&path.roles)
                );
                found.push(
                    RULE.finding(survey.role(*reached), message, cut(survey, path))
                        .role(subject.name)
                        .tenants([&tenant.id]),
                );
                continue;
            }
            // An owner of several tenants' ground is others' as well.
            let foreign = others.iter().find(|other| !subject.acts_for(&other.id));
            // A pool's login may be the role of shared tenants as well; what it inherits is more.
            let pool = survey.estate.login_roles.contains(subject.name) && !path.inherited;
            let Some(other) = foreign.filter(|_| !subject.tenants.is_empty() && !pool) else {
                continue;
            };
            let message = format!(
                "role {} of tenant {} can act as {}, which is tenant {}'s: {}",
                subject.name,
                subject.tenants[0].id,
                survey.catalog.role_name(*reached),
                other.id,
                survey.path(&path.roles)
            );
            let fix = cut(survey, path);
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

/// Takes back the last step of a path.
fn cut(survey: &Survey<'_>, path: &Path) -> Fix {
    let fix = match path.roles[..] {
        [.., member, last] => survey
            .ident(member)
            .zip(survey.ident(last))
            .map(|(member, last)| Fix::Sql(vec![sql!("REVOKE {} FROM {}", last, member)])),
        _ => None,
    };
    fix.unwrap_or_else(|| Fix::Advice("revoke the membership".to_owned()))
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
    fn a_login_that_owns_what_a_tenant_has_is_accused() {
        let mut world = World::new();
        world.member("pool", "app_owner", "s");
        assert!(world.findings("role-reaches-tenant").is_empty());
        world.member("pool", "own_dan", "s");
        let found = world.findings("role-reaches-tenant");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].severity, found[0].role.as_deref()), (Severity::High, Some("pool")));
    }

    #[test]
    fn another_tenants_owner_counts_as_well() {
        let mut world = World::new();
        world.member("app_cat", "own_dan", "s");
        assert_eq!(world.findings("role-reaches-tenant")[0].severity, Severity::High);
    }
}
