//! Parameters of the server that the application may set.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Object, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;

pub(super) static RULE: Rule = Rule {
    id: "parameter-granted",
    family: Family::Server,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application may set a parameter that is a superuser's",
    what: "A role of the application may set a parameter that is a superuser's (PostgreSQL 15 and newer). High for session_replication_role, lo_compat_privileges, preloaded libraries and for ALTER SYSTEM, low for others.",
    why: "session_replication_role switches triggers and foreign keys off, lo_compat_privileges opens every large object, preloaded libraries run code, and ALTER SYSTEM changes the server for everybody.",
    example: "GRANT SET ON PARAMETER session_replication_role TO app_rw;",
    fix: "REVOKE SET, ALTER SYSTEM ON PARAMETER … FROM the role.",
    references: &["https://www.postgresql.org/docs/current/sql-grant.html"],
    covers: &["ddl-parameter"],
    check,
};

/// Parameters with which what keeps tenants apart can be switched off.
const GRAVE: [&str; 5] = [
    "session_replication_role", "lo_compat_privileges", "session_preload_libraries",
    "local_preload_libraries", "dynamic_library_path",
];

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for parameter in &survey.catalog.around.parameters {
        for grant in &parameter.grants {
            let Some(subject) = survey.users_of(grant.grantee).next() else { continue };
            let alters = grant.privileges.has(Privilege::Create);
            let what = if alters { "ALTER SYSTEM" } else { "SET" };
            let grave = if alters || GRAVE.contains(&parameter.name.as_str()) {
                Severity::High
            } else {
                Severity::Low
            };
            let message = format!("{} may {what} {}", subject.name, parameter.name);
            let fix = Fix::Advice(format!(
                "REVOKE SET, ALTER SYSTEM ON PARAMETER {} FROM {}",
                parameter.name,
                survey.catalog.role_name(grant.grantee)
            ));
            let object = Object { database: None, ..survey.object("parameter", &parameter.name) };
            found.push(
                RULE.finding(object, message, fix)
                    .severity(grave)
                    .role(subject.name)
                    .operation(what),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::catalog::*;
    use crate::model::surroundings::Parameter;

    #[test]
    fn what_switches_triggers_off_is_high_and_a_strangers_is_nothing() {
        let mut world = World::new();
        let grant = |world: &World, role: &str| world.granted(role, &[Privilege::Update]);
        let parameter = |name: &str, grants| Parameter { name: name.to_owned(), grants };
        let stranger = vec![grant(&world, "stranger")];
        world.catalog.around.parameters = vec![parameter("session_replication_role", stranger)];
        assert!(world.rules().is_empty());
        let own = vec![grant(&world, "app_rw")];
        world.catalog.around.parameters = vec![parameter("session_replication_role", own.clone())];
        assert_eq!(world.findings("parameter-granted")[0].severity, Severity::High);
        world.catalog.around.parameters = vec![parameter("log_min_duration_statement", own)];
        assert_eq!(world.findings("parameter-granted")[0].severity, Severity::Low);
    }
}
