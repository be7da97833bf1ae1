//! A schema in which others may create things, where a tenant's sessions look names up.

use std::collections::BTreeMap;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Subject, Survey};
use crate::model::catalog::{Oid, PUBLIC, Privilege, Schema};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "search-path-open",
    family: Family::Schemas,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "tenants' sessions look names up in a schema in which others may create things",
    what: "A search_path that was set for a role or a database holds a schema in which others may create objects: up to PostgreSQL 14 anybody may in schema public. Not reported: roles without a setting, whose sessions choose their own path, logins of a pool, which set it at checkout (doctor warns of the open schema), and a tenant's own database to which no other tenant may connect.",
    why: "Whoever can create a table or function in a schema of somebody's search_path can have it used in place of what was meant: another tenant's session calls it with that tenant's rights.",
    example: "ALTER ROLE app_tenant_cat SET search_path = tenant_cat, public;\nGRANT CREATE ON SCHEMA public TO PUBLIC;",
    fix: "REVOKE CREATE ON SCHEMA public FROM PUBLIC, or set the role's search_path to its own schema.",
    references: &["https://www.postgresql.org/docs/current/ddl-schemas.html"],
    covers: &["ddl-schema"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut met: BTreeMap<Oid, (&Schema, &Subject<'_>, usize)> = BTreeMap::new();
    for subject in survey.subjects.iter().filter(|subject| !subject.login) {
        let path = survey.path_of(subject.role);
        for (oid, schema) in &survey.catalog.schemas {
            let looked_up = path.iter().any(|part| part == schema.name.as_str());
            if !looked_up || !survey.enters(subject, *oid) || !open(survey, *oid, schema) {
                continue;
            }
            met.entry(*oid).and_modify(|(_, _, more)| *more += 1).or_insert((schema, subject, 0));
        }
    }
    met.into_values()
        .map(|(schema, subject, more)| {
            let others = match more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let message = format!(
                "{}{others} look names up in schema {}, where anybody may create them",
                subject.name, schema.name
            );
            let fix = Fix::Sql(vec![sql!("REVOKE CREATE ON SCHEMA {} FROM PUBLIC", schema.name)]);
            RULE.finding(survey.object("schema", &schema.name), message, fix)
                .role(subject.name)
                .operation(Privilege::Create.word())
        })
        .collect()
}

/// Whether anybody may create things there, and it is not for public-grant to say so.
fn open(survey: &Survey<'_>, oid: Oid, schema: &Schema) -> bool {
    survey.ground(oid).is_none()
        && survey.estate.shared_schema() != Some(&schema.name)
        && schema
            .grants
            .iter()
            .any(|grant| grant.grantee == PUBLIC && grant.privileges.has(Privilege::Create))
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_path_through_an_open_schema_is_accused_and_one_without_it_is_not() {
        let mut world = World::new();
        world.catalog.version = 140_023;
        world.add_schema("public", "admin");
        world.grant_schema("public", "public", Privilege::Usage);
        world.catalog.session_defaults.push(SessionDefault {
            role: Some(world.oid("app_rw")),
            database: None,
            name: "search_path".to_owned(),
            value: "app, \"public\"".to_owned(),
        });
        assert!(world.rules().is_empty());
        world.grant_schema("public", "public", Privilege::Create);
        assert_eq!(world.rules(), ["search-path-open"]);
        world.catalog.session_defaults[0].value = "app".to_owned();
        assert!(world.rules().is_empty());
    }
}
