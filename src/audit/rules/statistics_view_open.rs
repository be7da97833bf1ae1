//! A view of statistics that an upgrade of the server's programs did not mend.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "statistics-view-open",
    family: Family::Server,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a view of the server shows statistics of tables that one may not read",
    what: "The view pg_stats_ext_exprs does not ask whether its reader may read the table (CVE-2024-4317). The view is looked at and not the version: a new release mends it only in databases that are made later.",
    why: "It shows most common values of expressions, of tables that its reader may not read.",
    example: "SELECT pg_get_viewdef('pg_stats_ext_exprs'::regclass) ~ 'pg_has_role'; -- f",
    fix: "Run fix-CVE-2024-4317.sql, which came with PostgreSQL 14.12, 15.7 and 16.3, in every database and in template1.",
    references: &["https://www.postgresql.org/support/security/CVE-2024-4317/"],
    covers: &["version-statistics", "version-cve"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    if survey.catalog.around.statistics_guarded {
        return Vec::new();
    }
    let message = "pg_stats_ext_exprs shows values of tables that its reader may not read".to_owned();
    let fix = Fix::Advice("run fix-CVE-2024-4317.sql in this database and in template1".to_owned());
    vec![RULE.finding(survey.object("view", &"pg_catalog.pg_stats_ext_exprs"), message, fix)]
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn the_old_view_is_accused() {
        let mut world = World::new();
        assert!(world.rules().is_empty());
        world.catalog.around.statistics_guarded = false;
        assert_eq!(world.rules(), ["statistics-view-open"]);
    }
}
