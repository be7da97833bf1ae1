//! Another tenant's privileges inside a tenant's own database.

use super::Rule;
use crate::audit::crossing::crossings;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::tenant::Isolation;

pub(super) static RULE: Rule = Rule {
    id: "database-cross-access",
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a tenant's role holds privileges in another tenant's database",
    docs: "Roles belong to the cluster, so a grant inside one tenant's database can name another tenant's role. It is used by whoever can connect, and connections are one GRANT or one changed default away. Fix: REVOKE it. Grants to PUBLIC are reported by public-grant, and the right to connect by database-cross-connect.",
    example: "-- in the database of tenant eve\nGRANT SELECT ON ALL TABLES IN SCHEMA app TO app_fay;",
    see: &["https://www.postgresql.org/docs/current/ddl-priv.html"],
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
