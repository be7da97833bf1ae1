//! Sessions that refuse every query which a policy would filter.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "row-security-off",
    family: Family::Context,
    severity: Severity::Low,
    evidence: Evidence::Static,
    title: "sessions of the application begin with row_security off",
    what: "Sessions of the application begin with row_security off, by a default of the role or of the database. Not reported: roles that the application does not use, such as a backup's.",
    why: "It lets nobody past a policy: it makes every statement fail that a policy would have filtered. For an application that is an outage, and an invitation to give it BYPASSRLS.",
    example: "ALTER ROLE app_rw SET row_security = off;",
    fix: "RESET row_security for the role or database.",
    references: &["https://www.postgresql.org/docs/current/runtime-config-client.html"],
    covers: &["policy-row-security"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for default in &survey.catalog.session_defaults {
        let off = ["off", "false", "no", "0"].contains(&default.value.to_ascii_lowercase().as_str());
        let here = default.database.as_ref().is_none_or(|own| *own == survey.catalog.database);
        if default.name != "row_security" || !off || !here {
            continue;
        }
        let (object, who, fix) = match (default.role, &default.database) {
            (Some(role), place) => {
                let listed = survey.subjects.iter().any(|subject| subject.role == role);
                let Some(name) = survey.ident(role).filter(|_| listed) else { continue };
                let fix = match place {
                    Some(place) => sql!("ALTER ROLE {} IN DATABASE {} RESET row_security", name, place),
                    None => sql!("ALTER ROLE {} RESET row_security", name),
                };
                (survey.role(role), format!("role {name}"), fix)
            }
            (None, Some(place)) => (
                survey.object("database", place),
                format!("database {place}"),
                sql!("ALTER DATABASE {} RESET row_security", place),
            ),
            (None, None) => continue,
        };
        let message = format!("sessions of {who} begin with row_security off: filtered queries fail");
        found.push(RULE.finding(object, message, Fix::Sql(vec![fix])));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn the_applications_role_is_accused_and_a_backups_is_not() {
        let mut world = World::new();
        let off = |role| SessionDefault {
            role: Some(role),
            database: None,
            name: "row_security".to_owned(),
            value: "off".to_owned(),
        };
        world.catalog.session_defaults.push(off(world.oid("stranger")));
        assert!(world.rules().is_empty());
        world.catalog.session_defaults.push(off(world.oid("app_rw")));
        assert_eq!(world.rules(), ["row-security-off"]);
    }
}
