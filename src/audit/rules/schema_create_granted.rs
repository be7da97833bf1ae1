//! The application may make objects where others look names up.

use std::collections::BTreeSet;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Oid, PUBLIC, Privilege};
use crate::model::tenant::Isolation;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "schema-create-granted",
    family: Family::Definitions,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application may make objects in a schema that tenants share",
    what: "A role of the application may make objects in a schema with tables that tenants share, or in schema public. Not reported: a tenant's own schema, what PUBLIC holds on other schemas (see public-grant), and schema public of PostgreSQL 14, which is open as it comes (doctor says so).",
    why: "Whoever may make functions, operators and tables where other sessions look names up has them run with those sessions' rights; and tables it makes have no row-level security.",
    example: "GRANT CREATE ON SCHEMA app TO app_rw;",
    fix: "REVOKE CREATE ON SCHEMA.",
    references: &["https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS"],
    covers: &["ddl-schema"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut shared: BTreeSet<Oid> = survey.tables().map(|(_, table)| table.schema).collect();
    // Until PostgreSQL 14 everybody may make objects in schema public, and doctor says so.
    let modern = survey.catalog.version >= 150_000;
    let several = survey.estate.tenants.iter().any(|t| t.isolation != Isolation::Database);
    shared.extend(survey.catalog.schemas.iter().filter_map(|(oid, schema)| {
        let common = schema.name.as_str() == "public" && survey.ground(*oid).is_none();
        (common && modern && several).then_some(*oid)
    }));
    let mut found = Vec::new();
    for oid in shared {
        let Some(schema) = survey.catalog.schemas.get(&oid) else { continue };
        for grant in &schema.grants {
            if !grant.privileges.has(Privilege::Create)
                || grant.grantee == schema.owner
                || (grant.grantee == PUBLIC && schema.name.as_str() != "public")
            {
                continue;
            }
            let user = survey
                .users_of(grant.grantee)
                .find(|subject| !subject.closure.contains_key(&schema.owner));
            let Some(subject) = user else { continue };
            let message = format!("{} may make objects in schema {}", subject.name, schema.name);
            let fix = match survey.ident(grant.grantee) {
                Some(grantee) => sql!("REVOKE CREATE ON SCHEMA {} FROM {}", schema.name, grantee),
                None => sql!("REVOKE CREATE ON SCHEMA {} FROM PUBLIC", schema.name),
            };
            found.push(
                RULE.finding(survey.object("schema", &schema.name), message, Fix::Sql(vec![fix]))
                    .role(subject.name)
                    .operation(Privilege::Create.word()),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn the_shared_schema_is_accused_and_ones_own_is_not() {
        let mut world = World::new();
        world.grant_schema("tenant_cat", "app_cat", Privilege::Create);
        world.grant_schema("app", "stranger", Privilege::Create);
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.grant_schema("app", "app_rw", Privilege::Create);
        assert_eq!(world.rules(), ["schema-create-granted"]);
    }
}
