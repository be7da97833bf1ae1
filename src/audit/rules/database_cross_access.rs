//! Another tenant's privileges inside a tenant's own database.

use super::{Family, Rule};
use crate::audit::crossing::crossings;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::tenant::Isolation;

pub(super) static RULE: Rule = Rule {
    id: "database-cross-access",
    family: Family::Databases,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a tenant's role holds privileges in another tenant's database",
    what: "Inside the database of one tenant, a role of another tenant holds privileges. Not reported here: grants to PUBLIC (public-grant) and the right to connect (database-cross-connect).",
    why: "Roles belong to the cluster, so a grant inside one database can name another tenant's role. It is used by whoever can connect, and connections are one GRANT or one changed default away.",
    example: "GRANT SELECT ON app.users TO app_tenant_fay;  -- in the database of tenant eve",
    fix: "REVOKE it, in the database that the finding names.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["database-grant", "table-column-grant"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossings(survey, &RULE, Isolation::Database)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_foreign_role_is_accused_and_the_databases_own_is_not() {
        let mut world = World::new();
        world.catalog.database = ident("eve");
        for grants in world.catalog.schemas.values_mut() {
            grants.grants.clear();
            grants.owner = 16393;
        }
        let own = world.oid("own_eve");
        for schema in world.catalog.schemas.values_mut() {
            schema.owner = own;
        }
        for relation in world.catalog.relations.values_mut() {
            relation.owner = own;
            relation.grants.clear();
        }
        world.grant_schema("app", "app_eve", Privilege::Usage);
        world.grant("app.notes", "app_eve", Privilege::Select);
        assert!(world.rules().is_empty(), "{:?}", world.check());
        world.grant_schema("app", "app_cat", Privilege::Usage);
        world.grant("app.notes", "app_cat", Privilege::Select);
        assert_eq!(world.findings("database-cross-access").len(), 2);
    }
}
