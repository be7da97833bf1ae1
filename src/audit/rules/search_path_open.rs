//! A schema in which others may create things, where a tenant's sessions look names up.

use std::collections::BTreeMap;

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Subject, Survey};
use crate::model::catalog::{Oid, PUBLIC, Privilege, Schema};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "search-path-open",
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "tenants' sessions look names up in a schema in which others may create things",
    docs: "Whoever can create a table or function in a schema of somebody's search_path can have it used in place of what was meant: another tenant's session calls it with that tenant's rights. Reported is a search_path that was set for a role or database and holds such a schema: up to PostgreSQL 14 anybody may create objects in schema public. Fix: REVOKE CREATE ON SCHEMA public FROM PUBLIC, or set the role's search_path to its own schema. Roles without a setting, whose sessions choose their own path, and logins of a pool, which set it at checkout, are not reported (doctor warns of the open schema), nor is a tenant's own database to which no other tenant may connect.",
    example: "GRANT CREATE ON SCHEMA public TO PUBLIC;\nALTER ROLE app_rw SET search_path = app, public;",
    see: &["https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS"],
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
