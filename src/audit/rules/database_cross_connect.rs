//! A tenant's database to which others may connect.

use std::collections::BTreeSet;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Subject, Survey};
use crate::model::catalog::{Oid, PUBLIC, Privilege};
use crate::model::tenant::Isolation;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "database-cross-connect",
    family: Family::Databases,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "others than its tenant may connect to a tenant's database",
    what: "Others than its tenant may connect to a database that is a tenant's own. Not reported: owners and superusers, who need no grant, and the databases of shared tables or schemas.",
    why: "CREATE DATABASE lets PUBLIC connect. Inside, catalogues show every table's name and size, and whatever is granted to PUBLIC is open: the wall of a database of one's own is the right to connect.",
    example: "CREATE DATABASE tenant_eve;  -- and no REVOKE after it",
    fix: "REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC, and grant CONNECT to the tenant's own roles.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html", "https://www.postgresql.org/docs/current/sql-createdatabase.html"],
    covers: &["database-connect"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let tenants = survey
        .estate
        .of(Isolation::Database)
        .filter(|tenant| tenant.placement.cluster == survey.catalog.cluster);
    for tenant in tenants {
        let database = survey
            .catalog
            .databases
            .iter()
            .find(|database| database.name == tenant.placement.database);
        let Some(database) = database else { continue };
        let own: BTreeSet<Oid> = tenant
            .roles
            .iter()
            .chain([&tenant.owner])
            .filter_map(|role| survey.number(role))
            .collect();
        for grant in &database.grants {
            if !grant.privileges.has(Privilege::Connect) || own.contains(&grant.grantee) {
                continue;
            }
            let connects = if grant.grantee == PUBLIC {
                let message =
                    format!("every role may connect to {}, tenant {}'s", database.name, tenant.id);
                let fix =
                    sql!("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC", database.name);
                Some(("PUBLIC".to_owned(), message, fix, None))
            } else {
                let foreigner = survey.users_of(grant.grantee).find(|subject| {
                    !subject.tenants.is_empty() && !subject.acts_for(&tenant.id)
                });
                foreigner.zip(survey.ident(grant.grantee)).map(|(subject, grantee)| {
                    let other = &subject.tenants[0].id;
                    let message = format!(
                        "role {} of tenant {other} may connect to {}, tenant {}'s",
                        subject.name, database.name, tenant.id
                    );
                    let fix =
                        sql!("REVOKE CONNECT ON DATABASE {} FROM {}", database.name, grantee);
                    (subject.name.to_string(), message, fix, Some(other))
                })
            };
            let Some((role, message, fix, other)) = connects else { continue };
            let object = crate::audit::finding::Object {
                database: Some(database.name.as_str().to_owned()),
                ..survey.object("database", &database.name)
            };
            found.push(
                RULE.finding(object, message, Fix::Sql(vec![fix]))
                    .role(role)
                    .operation("CONNECT")
                    .tenants(std::iter::once(&tenant.id).chain(other)),
            );
        }
    }
    found.extend(strays(survey));
    found
}

/// Roles of tenants with a database of their own that may connect to the database of others.
fn strays(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let own = |subject: &Subject<'_>| {
        !subject.tenants.is_empty()
            && subject.tenants.iter().all(|tenant| {
                tenant.isolation == Isolation::Database
                    && tenant.placement.database != survey.catalog.database
            })
    };
    let common = survey.estate.tenants.iter().any(|tenant| {
        tenant.isolation != Isolation::Database
            && tenant.placement.database == survey.catalog.database
    });
    let Some(database) = survey.here().filter(|_| common) else { return found };
    for grant in &database.grants {
        if grant.grantee == PUBLIC || !grant.privileges.has(Privilege::Connect) {
            continue;
        }
        let stray = survey.users_of(grant.grantee).find(|subject| own(subject));
        let (Some(stray), Some(grantee)) = (stray, survey.ident(grant.grantee)) else { continue };
        let message = format!(
            "role {} of tenant {}, which has a database of its own, may connect to {}",
            stray.name, stray.tenants[0].id, database.name
        );
        let fix = sql!("REVOKE CONNECT ON DATABASE {} FROM {}", database.name, grantee);
        found.push(
            RULE.finding(survey.object("database", &database.name), message, Fix::Sql(vec![fix]))
                .severity(Severity::Medium)
                .role(stray.name)
                .operation("CONNECT")
                .tenants([&stray.tenants[0].id]),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn everybody_and_another_tenant_are_accused_and_an_operator_is_not() {
        let mut world = World::new();
        let grant = |grantee| Grant {
            grantee,
            privileges: Privileges::NONE.with(Privilege::Connect),
            column: None,
        };
        let (stranger, cat) = (world.oid("stranger"), world.oid("app_cat"));
        world.catalog.databases[0].grants.push(grant(stranger));
        assert!(world.rules().is_empty());
        world.catalog.databases[0].grants.push(grant(PUBLIC));
        world.catalog.databases[0].grants.push(grant(cat));
        let found = world.findings("database-cross-connect");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].object.name, "eve");
    }
}
