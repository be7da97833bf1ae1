//! Privileges that tables made later will hand out across tenants.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Survey, Territory};
use crate::model::catalog::{DefaultPrivilege, Oid, PUBLIC, Privilege, Privileges};
use crate::model::ident::Ident;
use crate::sql;
use crate::sql::Sql;

pub(super) static RULE: Rule = Rule {
    id: "default-privileges",
    family: Family::Definitions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "tables made later will be granted to everybody or to another tenant",
    what: "ALTER DEFAULT PRIVILEGES grants tables or sequences that are made later to PUBLIC where tenants' tables are made, or to another tenant's role on a tenant's own ground. Medium where tables that tenants share will come with TRUNCATE, TRIGGER, REFERENCES or MAINTAIN for the application, which no policy filters. Not reported: reading and writing for the roles that belong there.",
    why: "The objects do not exist yet, so that the next migration opens what is closed today.",
    example: "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC;",
    fix: "ALTER DEFAULT PRIVILEGES … REVOKE, for the same owner and schema.",
    references: &["https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html"],
    covers: &["ddl-default"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    // What no policy filters.
    let beyond: Privileges =
        [Privilege::Truncate, Privilege::Trigger, Privilege::References, Privilege::Maintain]
            .into_iter()
            .collect();
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
            let beyond = grant.privileges.and(beyond);
            let own = survey.users_of(grant.grantee).next().filter(|_| shared && !beyond.is_empty());
            let grave = if reaches.is_some() { RULE.severity } else { Severity::Medium };
            let privileges = if reaches.is_some() { grant.privileges } else { beyond };
            let reaches = reaches.or_else(|| own.map(|subject| format!("role {}", subject.name)));
            let (Some(who), Some(owner)) = (reaches, survey.ident(default.owner)) else {
                continue;
            };
            let kind = if default.kind == 'S' { "SEQUENCES" } else { "TABLES" };
            let place = default.schema.and_then(|schema| survey.catalog.schemas.get(&schema));
            let at = place.map_or_else(String::new, |schema| format!(" in schema {}", schema.name));
            let message = format!(
                "{who} will hold {} on {} that {owner} makes{at}",
                privileges,
                kind.to_lowercase()
            );
            let what = if privileges == beyond { keywords(beyond) } else { sql!("ALL") };
            let fix = revoke(survey, default, owner, grant.grantee, &what);
            let object = match place {
                Some(schema) => survey.object("schema", &schema.name),
                None => survey.role(default.owner),
            };
            let tenants = grounds.iter().flat_map(|ground| &ground.tenants);
            found.push(
                RULE.finding(object, message, Fix::Sql(vec![fix]))
                    .severity(grave)
                    .role(survey.catalog.role_name(grant.grantee))
                    .operation(format!("{privileges} ON {kind}"))
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
    privileges: &Sql,
) -> Sql {
    let whose = sql!("ALTER DEFAULT PRIVILEGES FOR ROLE {}", owner);
    let place = default.schema.and_then(|schema| survey.catalog.schemas.get(&schema));
    let place = place.map_or_else(|| sql!(""), |schema| sql!(" IN SCHEMA {}", schema.name));
    let what = if default.kind == 'S' { sql!("SEQUENCES") } else { sql!("TABLES") };
    match survey.ident(grantee) {
        Some(grantee) => sql!("{}{} REVOKE {} ON {} FROM {}", whose, place, privileges, what, grantee),
        None => sql!("{}{} REVOKE {} ON {} FROM PUBLIC", whose, place, privileges, what),
    }
}

/// Privileges that no policy filters, as SQL spells them.
fn keywords(privileges: Privileges) -> Sql {
    let words: Vec<Sql> = privileges
        .iter()
        .map(|privilege| match privilege {
            Privilege::Truncate => sql!("TRUNCATE"),
            Privilege::Trigger => sql!("TRIGGER"),
            Privilege::Maintain => sql!("MAINTAIN"),
            _ => sql!("REFERENCES"),
        })
        .collect();
    Sql::joined(&words, ", ")
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
    fn what_no_policy_filters_is_accused_in_the_applications_own_hands_as_well() {
        let mut world = World::new();
        let (schema, owner, grantee) =
            (world.schema_oid("app"), world.oid("app_owner"), world.oid("app_rw"));
        let mut default = DefaultPrivilege {
            owner,
            schema: Some(schema),
            kind: 'r',
            grants: vec![Grant { grantee, privileges: Privileges::ROWS, column: None }],
        };
        world.catalog.default_privileges = vec![default.clone()];
        assert!(world.rules().is_empty());
        default.grants[0].privileges = Privileges::ROWS.with(Privilege::Truncate);
        world.catalog.default_privileges = vec![default];
        let found = world.findings("default-privileges");
        assert_eq!(
            found[0].fix.to_string(),
            "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app REVOKE TRUNCATE ON TABLES FROM app_rw;"
        );
    }

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
