//! The application may lock and rebuild a table that tenants share.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::granted::granted;
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "maintain-granted",
    family: Family::Tables,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application may lock and rebuild a table that tenants share",
    what: "A role of the application holds MAINTAIN (PostgreSQL 17 and newer) on a table that tenants share. Not reported: owners, who have a rule of their own.",
    why: "MAINTAIN allows VACUUM FULL, CLUSTER, REINDEX and LOCK TABLE in the strongest mode: one tenant's session keeps all others out for as long as it likes.",
    example: "GRANT MAINTAIN ON app.notes TO app_rw;",
    fix: "REVOKE MAINTAIN; the privilege usually came with GRANT ALL.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["write-maintain"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    granted(survey, &RULE, Privilege::Maintain, &sql!("MAINTAIN"), |role, table| {
        format!("role {role} may rebuild and lock {table} for every tenant")
    })
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn the_grant_is_accused_where_the_table_is_shared() {
        let mut world = World::new();
        world.grant("app.countries", "app_rw", Privilege::Maintain);
        assert!(world.rules().is_empty());
        world.grant("app.notes", "app_rw", Privilege::Maintain);
        assert_eq!(world.rules(), ["maintain-granted"]);
    }
}
