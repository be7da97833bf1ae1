//! Privileges of everybody on what belongs to tenants.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Grant, PUBLIC, Privilege, Privileges};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "public-grant",
    family: Family::Definitions,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "PUBLIC holds privileges on tenants' tables or schemas",
    what: "PUBLIC holds privileges on tenants' tables or schemas; critical on a single tenant's own where the schema can be entered, too. Not reported: reading reference tables without a tenant column, and what stands open inside a tenant's own database while no other tenant may connect to it.",
    why: "PUBLIC is every role of the cluster: every other tenant's, and each one made later. On shared tables it makes roles that nobody audits subject to the policies alone. CREATE on a schema lets anybody put functions and tables where others look names up.",
    example: "GRANT SELECT ON tenant_dan.users TO PUBLIC;",
    fix: "REVOKE it from PUBLIC, and grant it to the roles that need it by name.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html", "https://www.postgresql.org/docs/current/sql-grant.html"],
    covers: &["schema-public", "table-column-grant"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let shared = survey.estate.shared_schema();
    for (oid, schema) in &survey.catalog.schemas {
        let held = public(&schema.grants);
        let ground = survey.ground(*oid);
        let matters = if ground.is_some() && schema.name.as_str() != "public" {
            held
        } else if ground.is_some() || shared == Some(&schema.name) {
            held.and(Privileges::NONE.with(Privilege::Create))
        } else {
            Privileges::NONE
        };
        if matters.is_empty() || ground.is_some_and(|ground| !survey.visited(ground)) {
            continue;
        }
        let tenants: Vec<_> =
            ground.iter().flat_map(|g| &g.tenants).map(|tenant| &tenant.id).collect();
        let message = format!("everybody holds {matters} on schema {}", schema.name);
        let fix = sql!("REVOKE ALL ON SCHEMA {} FROM PUBLIC", schema.name);
        found.push(
            RULE.finding(survey.object("schema", &schema.name), message, Fix::Sql(vec![fix]))
                .role("PUBLIC")
                .operation(matters)
                .tenants(tenants),
        );
    }
    for (oid, relation) in &survey.catalog.relations {
        let ground = survey.ground(relation.schema);
        let held = public(&relation.grants);
        let matters = match ground {
            Some(ground) => survey.visited(ground),
            None => survey.tenant_tables.contains(oid),
        };
        if held.is_empty() || !matters {
            continue;
        }
        let open = survey
            .catalog
            .schemas
            .get(&relation.schema)
            .is_some_and(|schema| public(&schema.grants).has(Privilege::Usage));
        let grave = if ground.is_some() && open { Severity::Critical } else { RULE.severity };
        let tenants: Vec<_> =
            ground.iter().flat_map(|g| &g.tenants).map(|tenant| &tenant.id).collect();
        let message = format!("everybody holds {held} on {}", relation.name);
        // This takes back what is granted on columns as well.
        let fix = sql!("REVOKE ALL ON {} FROM PUBLIC", relation.name);
        found.push(
            RULE.finding(survey.relation(relation), message, Fix::Sql(vec![fix]))
                .severity(grave)
                .role("PUBLIC")
                .operation(held)
                .tenants(tenants),
        );
    }
    found
}

fn public(grants: &[Grant]) -> Privileges {
    grants
        .iter()
        .filter(|grant| grant.grantee == PUBLIC)
        .fold(Privileges::NONE, |sum, grant| sum.or(grant.privileges))
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn tenants_tables_are_accused_and_reference_tables_are_not() {
        let mut world = World::new();
        world.grant("app.countries", "public", Privilege::Select);
        world.grant_schema("app", "public", Privilege::Usage);
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.grant("app.notes", "public", Privilege::Select);
        world.grant("tenant_cat.notes", "public", Privilege::Select);
        let found = world.findings("public-grant");
        let names: Vec<_> = found.iter().map(|finding| finding.object.name.as_str()).collect();
        assert_eq!(names, ["app.notes", "tenant_cat.notes"]);
        assert_eq!(found[1].fix.to_string(), "REVOKE ALL ON tenant_cat.notes FROM PUBLIC;");
    }

    #[test]
    fn a_tenants_schema_is_nobody_elses() {
        let mut world = World::new();
        world.grant_schema("tenant_cat", "public", Privilege::Usage);
        assert_eq!(world.rules(), ["public-grant"]);
    }
}
