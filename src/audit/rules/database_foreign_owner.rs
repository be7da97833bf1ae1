//! A tenant's database that another tenant owns, or may make schemas in.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Object, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;
use crate::model::tenant::Isolation;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "database-foreign-owner",
    family: Family::Databases,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a tenant's database belongs to a role of another tenant",
    what: "A tenant's own database belongs to a role that another tenant's role is or can act as, or lets such a role make schemas. Not reported: owners that no tenant's role reaches.",
    why: "The owner of a database may connect to it, grant others that right, make schemas in it and drop it.",
    example: "ALTER DATABASE tenant_eve OWNER TO app_fay;",
    fix: "ALTER DATABASE … OWNER TO the tenant's own owner; REVOKE CREATE.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["database-owner"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let own = survey.estate.of(Isolation::Database);
    for tenant in own.filter(|tenant| tenant.placement.cluster == survey.catalog.cluster) {
        let name = &tenant.placement.database;
        let Some(database) = survey.catalog.databases.iter().find(|other| other.name == *name)
        else {
            continue;
        };
        let creators = database.grants.iter().filter(|grant| grant.privileges.has(Privilege::Create));
        let mut holders: Vec<_> = creators.map(|grant| grant.grantee).collect();
        holders.retain(|role| *role != database.owner);
        holders.push(database.owner);
        for holder in holders {
            let foreign = survey.users_of(holder).find(|subject| {
                !subject.tenants.is_empty() && !subject.acts_for(&tenant.id)
            });
            let Some(foreign) = foreign else { continue };
            let who = survey.catalog.role_name(holder);
            let owns = holder == database.owner;
            let what = if owns { "belongs to" } else { "lets schemas be made by" };
            let message = format!(
                "database {name} of tenant {} {what} {who}: {} of tenant {} acts with its rights",
                tenant.id, foreign.name, foreign.tenants[0].id
            );
            let fix = match survey.ident(holder).filter(|_| !owns) {
                Some(holder) => sql!("REVOKE CREATE ON DATABASE {} FROM {}", name, holder),
                None if owns => sql!("ALTER DATABASE {} OWNER TO {}", name, tenant.owner),
                None => sql!("REVOKE CREATE ON DATABASE {} FROM PUBLIC", name),
            };
            let object = Object {
                database: Some(name.as_str().to_owned()),
                ..survey.object("database", name)
            };
            found.push(
                RULE.finding(object, message, Fix::Sql(vec![fix]))
                    .role(who)
                    .operation(if owns { "OWNER" } else { "CREATE" })
                    .tenants([&tenant.id, &foreign.tenants[0].id]),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn another_tenant_is_accused_and_a_stranger_is_not() {
        let mut world = World::new();
        world.catalog.databases[0].owner = world.oid("stranger");
        assert!(world.rules().is_empty());
        world.member("app_cat", "stranger", "i");
        let found = world.findings("database-foreign-owner");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].fix.to_string(), "ALTER DATABASE eve OWNER TO own_eve;");
    }
}
