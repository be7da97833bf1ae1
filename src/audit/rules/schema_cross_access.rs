//! Another tenant's privileges in a tenant's own schema.

use super::{Family, Rule};
use crate::audit::crossing::crossings;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::tenant::Isolation;

pub(super) static RULE: Rule = Rule {
    id: "schema-cross-access",
    family: Family::Schemas,
    severity: Severity::Critical,
    evidence: Evidence::Static,
    title: "a tenant's role holds privileges in another tenant's schema",
    what: "A role of another tenant, or a pool's login by itself, can use a relation in a tenant's own schema: through a grant, a group, a column, or ownership. Low where the grant cannot be used because the schema is closed, for one GRANT USAGE opens it. Not reported here: grants to PUBLIC and memberships between tenants' roles, which have rules of their own.",
    why: "A schema of one's own keeps a tenant apart by privileges alone.",
    example: "GRANT USAGE ON SCHEMA tenant_dan TO app_tenant_cat;\nGRANT SELECT ON tenant_dan.users TO app_tenant_cat;",
    fix: "REVOKE the privilege from the role, or from the group through which it comes.",
    references: &["https://www.postgresql.org/docs/current/ddl-schemas.html", "https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["schema-grant", "table-column-grant"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossings(survey, &RULE, Isolation::Schema)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    use crate::audit::finding::Severity;

    #[test]
    fn a_usable_grant_is_critical_and_one_behind_a_closed_schema_is_low() {
        let mut world = World::new();
        world.grant("tenant_dan.notes", "app_cat", Privilege::Select);
        let found = world.findings("schema-cross-access");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Low);
        world.grant_schema("tenant_dan", "app_cat", Privilege::Usage);
        let found = world.findings("schema-cross-access");
        assert_eq!(found.len(), 2, "the table and the schema: {found:?}");
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(found[0].object.name, "tenant_dan.notes");
        assert_eq!(found[0].role.as_deref(), Some("app_cat"));
        assert_eq!(found[0].fix.to_string(), "REVOKE ALL ON tenant_dan.notes FROM app_cat;");
    }

    #[test]
    fn a_group_of_many_tenants_is_one_finding_and_a_role_of_no_tenant_is_none() {
        let mut world = World::new();
        world.grant_schema("tenant_dan", "stranger", Privilege::Usage);
        world.grant("tenant_dan.notes", "stranger", Privilege::Select);
        assert!(world.rules().is_empty());
        world.member("app_cat", "stranger", "is");
        world.member("app_rw", "stranger", "is");
        assert_eq!(world.rules(), ["schema-cross-access", "schema-cross-access"]);
    }

    #[test]
    fn a_login_that_reads_a_tenant_by_itself_is_accused() {
        let mut world = World::new();
        world.grant_schema("tenant_dan", "pool", Privilege::Usage);
        world.grant("tenant_dan.notes", "pool", Privilege::Select);
        assert_eq!(world.findings("schema-cross-access").len(), 2);
    }

    #[test]
    fn a_tenants_read_only_role_is_at_home_with_it_and_nowhere_else() {
        let mut world = World::new();
        world.estate.readonly_roles.insert(id("dan"), ident("stranger"));
        world.grant_schema("tenant_dan", "stranger", Privilege::Usage);
        world.grant("tenant_dan.notes", "stranger", Privilege::Select);
        world.member("pool", "stranger", "s");
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.grant_schema("tenant_cat", "stranger", Privilege::Usage);
        world.grant("tenant_cat.notes", "stranger", Privilege::Select);
        let found = world.findings("schema-cross-access");
        let names: Vec<_> = found.iter().map(|finding| finding.object.name.as_str()).collect();
        assert_eq!(names, ["tenant_cat.notes", "tenant_cat"]);
    }
}
