//! A view of statistics that an upgrade of the server's programs did not mend.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "statistics-view-open",
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a view of the server shows statistics of tables that one may not read",
    docs: "CVE-2024-4317: pg_stats_ext_exprs shows most common values of expressions to whoever asks. New minor releases mend it in databases made later; in older ones the view must be replaced by hand, so that the view is looked at and not the version. Fix: the script fix-CVE-2024-4317.sql that came with PostgreSQL 14.12, 15.7 and 16.3, in every database and in template1.",
    example: "SELECT pg_get_viewdef('pg_stats_ext_exprs'::regclass) ~ 'pg_has_role'; -- f",
    see: &["https://www.postgresql.org/support/security/CVE-2024-4317/"],
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
