//! A role whose sessions begin as another role.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Subject, Survey};
use crate::model::catalog::SessionDefault;
use crate::model::credential::second_login;
use crate::model::ident::Ident;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-default",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "sessions of the application begin as another role",
    what: "A default (ALTER ROLE … SET role, ALTER DATABASE … SET role) makes sessions of a role of the application begin as another role. Critical when no policy binds that role or it belongs to another tenant, high when a pool begins as one of its tenants, informational otherwise. Not reported: a default that the login may not become, which has no effect, one that names the role of the only tenant for which it acts, and that of a second login (<role>-b), which begins as its role.",
    why: "Nothing in the application says whose rights it works with, and what is tested with SET ROLE looks sound: only a real login shows it.",
    example: "ALTER ROLE app_rw SET role = 'app_owner';",
    fix: "RESET the default, and let the application say SET ROLE.",
    references: &["https://www.postgresql.org/docs/current/sql-alterrole.html"],
    covers: &["who-default-role"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let defaults = survey.catalog.session_defaults.iter();
    for default in defaults.filter(|default| default.name.eq_ignore_ascii_case("role")) {
        let elsewhere =
            default.database.as_ref().is_some_and(|database| *database != survey.catalog.database);
        let Some(role) = Ident::new(default.value.as_str()).ok().and_then(|n| survey.number(&n))
        else {
            continue;
        };
        let subjects =
            survey.subjects.iter().filter(|s| default.role.is_none_or(|own| own == s.role));
        for subject in subjects.filter(|_| !elsewhere) {
            // For a login, tenants' roles are left out of what it can use: it becomes them by design.
            let tenant = survey.subjects.iter().find(|other| other.role == role);
            let path = subject.closure.get(&role).map(|path| path.becomes);
            let becomes = path.unwrap_or(subject.login && tenant.is_some());
            let own = tenant.is_some_and(|other| {
                other.tenants.len() == 1 && subject.acts_for(&other.tenants[0].id)
            });
            // The second login of a role is that role by another name.
            let second = survey
                .ident(role)
                .and_then(|role| second_login(role).ok())
                .is_some_and(|second| second == *subject.name);
            if role == subject.role || own || second || !becomes {
                continue;
            }
            let exempt = survey.rows().any(|(_, table)| {
                survey.exempt(role, table) && !survey.exempt(subject.role, table)
            });
            let foreign = tenant.is_some_and(|other| {
                !subject.login && other.tenants.iter().all(|tenant| !subject.acts_for(&tenant.id))
            });
            // A login that begins with fewer rights, or with others that policies bind, loses nothing.
            let grave = match (exempt || foreign, tenant.is_some()) {
                (true, _) => Severity::Critical,
                (false, true) => RULE.severity,
                (false, false) => Severity::Info,
            };
            let bound = if exempt { ", which no policy binds" } else { "" };
            let message = format!("sessions of {} begin as {}{bound}", subject.name, default.value);
            found.push(
                RULE.finding(survey.role(subject.role), message, reset(survey, subject, default))
                    .severity(grave)
                    .role(survey.catalog.role_name(role))
                    .tenants(subject.tenants.iter().map(|tenant| &tenant.id)),
            );
        }
    }
    found
}

fn reset(survey: &Survey<'_>, subject: &Subject<'_>, default: &SessionDefault) -> Fix {
    let role = default.role.and_then(|role| survey.ident(role));
    Fix::Sql(vec![match (role, &default.database) {
        (Some(role), None) => sql!("ALTER ROLE {} RESET role", role),
        (Some(role), Some(database)) => {
            sql!("ALTER ROLE {} IN DATABASE {} RESET role", role, database)
        }
        (None, Some(database)) => sql!("ALTER DATABASE {} RESET role", database),
        (None, None) => sql!("ALTER ROLE {} SET role = 'none'", subject.name),
    }])
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_default_that_can_be_taken_is_accused_and_one_that_cannot_is_not() {
        let mut world = World::new();
        world.role_mut("stranger").bypass_rls = true;
        world.catalog.session_defaults.push(SessionDefault {
            role: Some(world.oid("app_rw")),
            database: None,
            name: "role".to_owned(),
            value: "stranger".to_owned(),
        });
        assert!(world.rules().is_empty(), "app_rw is no member");
        world.member("app_rw", "stranger", "s");
        let found = world.findings("role-default");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(found[0].fix.to_string(), "ALTER ROLE app_rw RESET role;");
    }
}
