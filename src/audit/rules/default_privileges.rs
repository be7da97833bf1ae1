//! Privileges that tables made later will hand out across tenants.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Survey, Territory};
use crate::model::catalog::{DefaultPrivilege, Oid, PUBLIC};
use crate::model::ident::Ident;
use crate::sql;
use crate::sql::Sql;

pub(super) static RULE: Rule = Rule {
    id: "default-privileges",
    family: Family::Definitions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "tables made later will be granted to everybody or to another tenant",
    what: "ALTER DEFAULT PRIVILEGES will grant tables or sequences to PUBLIC where tenants' tables are made, or to another tenant's role on a tenant's own ground. Not reported: defaults in favour of the roles that belong there.",
    why: "The objects do not exist yet, so that the next migration opens what is closed today.",
    example: "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;",
    fix: "ALTER DEFAULT PRIVILEGES … REVOKE, for the same owner and schema.",
    references: &["https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html"],
    covers: &["ddl-default"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for default in survey.catalog.default_privileges.iter().filter(|d| "rS".contains(d.kind)) {
        let grounds = grounds(survey, default);
        let shared = shares(survey, default);
        for grant in &default.grants {
            let closed = grounds.iter().all(|ground| !survey.visited(ground));
            let reaches = if grant.grantee == PUBLIC {
                (shared || (!grounds.is_empty() && !closed)).then(|| "everybody".to_owned())
            } else {
                foreigner(survey, &grounds, grant.grantee)
            };
            let (Some(who), Some(owner)) = (reaches, survey.ident(default.owner)) else {
                continue;
            };
            let kind = if default.kind == 'S' { "SEQUENCES" } else { "TABLES" };
            let place = default.schema.and_then(|schema| survey.catalog.schemas.get(&schema));
            let at = place.map_or_else(String::new, |schema| format!(" in schema {}", schema.name));
            let message = format!(
                "{who} will hold {} on {} that {owner} makes{at}",
                grant.privileges,
                kind.to_lowercase()
            );
            let fix = revoke(survey, default, owner, grant.grantee);
            let object = match place {
                Some(schema) => survey.object("schema", &schema.name),
                None => survey.role(default.owner),
            };
            let tenants = grounds.iter().flat_map(|ground| &ground.tenants);
            found.push(
                RULE.finding(object, message, Fix::Sql(vec![fix]))
                    .role(survey.catalog.role_name(grant.grantee))
                    .operation(format!("{} ON {kind}", grant.privileges))
                    .tenants(tenants.map(|tenant| &tenant.id)),
            );
        }
    }
    found
}

fn revoke(
    survey: &Survey<'_>,
    default: &DefaultPrivilege,
    owner: &Ident,
    grantee: Oid,
) -> Sql {
    let whose = sql!("ALTER DEFAULT PRIVILEGES FOR ROLE {}", owner);
    let place = default.schema.and_then(|schema| survey.catalog.schemas.get(&schema));
    let place = place.map_or_else(|| sql!(""), |schema| sql!(" IN SCHEMA {}", schema.name));
    let what = if default.kind == 'S' { sql!("SEQUENCES") } else { sql!("TABLES") };
    match survey.ident(grantee) {
        Some(grantee) => sql!("{}{} REVOKE ALL ON {} FROM {}", whose, place, what, grantee),
        None => sql!("{}{} REVOKE ALL ON {} FROM PUBLIC", whose, place, what),
    }
}

/// The tenants' own grounds on which the default works: its schema's, or all that its owner has.
fn grounds<'s, 'a>(survey: &'s Survey<'a>, default: &DefaultPrivilege) -> Vec<&'s Territory<'a>> {
    match default.schema {
        Some(schema) => survey.ground(schema).into_iter().collect(),
        None => survey
            .territories
            .values()
            .filter(|ground| {
                ground.tenants.iter().any(|t| survey.number(&t.owner) == Some(default.owner))
            })
            .collect(),
    }
}

/// Whether tables that tenants share are made under it.
fn shares(survey: &Survey<'_>, default: &DefaultPrivilege) -> bool {
    survey.tables().any(|(_, table)| match default.schema {
        Some(schema) => table.schema == schema,
        None => table.owner == default.owner,
    })
}

/// Another tenant that can use a grantee's privileges.
fn foreigner(survey: &Survey<'_>, grounds: &[&Territory<'_>], grantee: Oid) -> Option<String> {
    grounds.iter().find_map(|ground| {
        // Whoever is a member of the tenant's own role is found by role-reaches-tenant.
        let mut own = ground.tenants.iter().flat_map(|t| t.roles.iter().chain([&t.owner]));
        if own.any(|role| survey.number(role) == Some(grantee)) {
            return None;
        }
        let foreign = survey.users_of(grantee).find(|subject| {
            !subject.tenants.is_empty()
                && ground.tenants.iter().all(|own| !subject.acts_for(&own.id))
        })?;
        Some(format!("role {} of tenant {}", foreign.name, foreign.tenants[0].id))
    })
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn everybody_and_another_tenant_are_accused_and_the_own_role_is_not() {
        let mut world = World::new();
        let cat = world.schema_oid("tenant_cat");
        let (owner, own, other) = (world.oid("own_cat"), world.oid("app_cat"), world.oid("app_dan"));
        let default = |schema, grantee| DefaultPrivilege {
            owner,
            schema,
            kind: 'r',
            grants: vec![Grant {
                grantee,
                privileges: Privileges::NONE.with(Privilege::Select),
                column: None,
            }],
        };
        world.catalog.default_privileges = vec![default(Some(cat), own), default(None, own)];
        assert!(world.rules().is_empty());
        world.catalog.default_privileges.push(default(Some(cat), other));
        world.catalog.default_privileges.push(default(None, PUBLIC));
        let found = world.findings("default-privileges");
        let fixes: Vec<_> = found.iter().map(|finding| finding.fix.to_string()).collect();
        assert_eq!(
            fixes,
            [
                "ALTER DEFAULT PRIVILEGES FOR ROLE own_cat REVOKE ALL ON TABLES FROM PUBLIC;",
                "ALTER DEFAULT PRIVILEGES FOR ROLE own_cat IN SCHEMA tenant_cat REVOKE ALL ON TABLES FROM app_dan;"
            ]
        );
    }
}
