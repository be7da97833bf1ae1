//! A role of the application that holds one of the server's own roles.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-predefined",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application holds a predefined role that reaches past tenants",
    what: "A role of the application is a member of a predefined role that works across schemas; the path of memberships is in the message.",
    why: "pg_read_all_data and pg_write_all_data need no grant, the server-file and program roles read any database from disk, pg_monitor shows other sessions' statements. None belongs to an application.",
    example: "GRANT pg_read_all_data TO app_rw;",
    fix: "REVOKE the predefined role, at the step of the path that is not needed.",
    references: &["https://www.postgresql.org/docs/current/predefined-roles.html"],
    covers: &["who-predefined", "who-server-files"],
    check,
};

/// The roles that cross tenants, how gravely, and how.
const CROSSING: [(&str, Severity, &str); 14] = [
    (
        "pg_read_all_data",
        Severity::Critical,
        "reads every schema, and samples of every table's rows in pg_statistic",
    ),
    ("pg_write_all_data", Severity::Critical, "writes every schema, without a grant"),
    ("pg_execute_server_program", Severity::Critical, "runs programs as the server's account"),
    ("pg_read_server_files", Severity::Critical, "reads every database from disk"),
    ("pg_write_server_files", Severity::Critical, "writes the server's files"),
    ("pg_create_subscription", Severity::High, "brings rows in past every policy"),
    ("pg_maintain", Severity::Medium, "locks and rebuilds every table"),
    ("pg_monitor", Severity::Medium, "sees the statements of all sessions, with what stands in them"),
    ("pg_read_all_stats", Severity::Medium, "sees the statements of all sessions, with what stands in them"),
    ("pg_signal_backend", Severity::Medium, "ends other tenants' sessions"),
    ("pg_signal_autovacuum_worker", Severity::Low, "ends the server's own upkeep"),
    ("pg_read_all_settings", Severity::Low, "reads settings that are a superuser's"),
    ("pg_stat_scan_tables", Severity::Low, "holds locks on every table for long"),
    ("pg_use_reserved_connections", Severity::Low, "takes the connections kept for who mends"),
];

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        for (reached, path) in &subject.closure {
            let Some(role) = survey.catalog.roles.get(reached) else { continue };
            let Some((_, severity, does)) =
                CROSSING.iter().find(|(name, ..)| *name == role.name.as_str())
            else {
                continue;
            };
            // pg_monitor holds others of the list; the outermost says it all.
            let inner = path.roles.iter().rev().skip(1).any(|step| {
                survey
                    .ident(*step)
                    .is_some_and(|name| CROSSING.iter().any(|(known, ..)| *known == name.as_str()))
            });
            let Some(holder) =
                path.roles.iter().rev().nth(1).and_then(|step| survey.ident(*step))
            else {
                continue;
            };
            if inner {
                continue;
            }
            let message =
                format!("role {} holds {}, which {does}: {}", subject.name, role.name, survey.path(&path.roles));
            let fix = Fix::Sql(vec![sql!("REVOKE {} FROM {}", role.name, holder)]);
            found.push(
                RULE.finding(survey.role(*reached), message, fix)
                    .severity(*severity)
                    .role(subject.name)
                    .tenants(subject.tenants.iter().map(|tenant| &tenant.id)),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn reading_all_data_is_accused_and_a_harmless_role_is_not() {
        let mut world = World::new();
        world.role("pg_checkpoint");
        world.role("pg_read_all_data");
        world.member("app_rw", "pg_checkpoint", "is");
        world.member("stranger", "pg_read_all_data", "is");
        assert!(world.findings("role-predefined").is_empty());
        world.member("app_rw", "stranger", "is");
        let found = world.findings("role-predefined");
        assert_eq!(found.len(), 1);
        assert!(found[0].message.ends_with("app_rw -> stranger (inherited, SET ROLE) -> pg_read_all_data (inherited, SET ROLE)"));
        assert_eq!(found[0].fix.to_string(), "REVOKE pg_read_all_data FROM stranger;");
    }
}
