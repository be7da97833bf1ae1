//! A default that puts every session into some tenant's context.

use std::collections::BTreeSet;

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::ident::Ident;
use crate::sql;
use crate::sql::Sql;

pub(super) static RULE: Rule = Rule {
    id: "context-default",
    family: Family::Context,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "sessions begin in a tenant's context",
    what: "ALTER ROLE … SET or ALTER DATABASE … SET gives sessions a value of the tenant setting before they set their own, of another setting that a policy asks for, or session_replication_role = replica, which switches triggers and foreign keys off. Not reported: a role that acts for one tenant only, with that tenant's own key, and settings that are off.",
    why: "A request that forgot to set its tenant silently works as somebody else, instead of seeing nothing.",
    example: "ALTER ROLE app_rw SET app.tenant_id = '11111111-1111-1111-1111-111111111111';",
    fix: "RESET the default, so that a session without a tenant sees no rows.",
    references: &["https://www.postgresql.org/docs/current/sql-alterrole.html", "https://www.postgresql.org/docs/current/sql-alterdatabase.html"],
    covers: &["context-default"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    let switches = switches(survey);
    for default in &survey.catalog.session_defaults {
        let elsewhere =
            default.database.as_ref().is_some_and(|database| *database != survey.catalog.database);
        let tenant = default.name.eq_ignore_ascii_case(tenancy.setting.as_str());
        let off = ["", "off", "false", "no", "0"].contains(&default.value.as_str());
        let switch = !off && switches.contains(&default.name.to_ascii_lowercase());
        let unbinds = default.name == "session_replication_role" && default.value == "replica";
        let watched = (tenant && !default.value.is_empty()) || switch || unbinds;
        if elsewhere || !watched {
            continue;
        }
        let subject = match default.role {
            None => None,
            Some(role) => match survey.subjects.iter().find(|subject| subject.role == role) {
                Some(subject) => Some(subject),
                None => continue,
            },
        };
        let bound = subject.is_some_and(|subject| {
            tenant && matches!(subject.tenants.as_slice(), [only] if only.key == default.value)
        });
        if bound {
            continue;
        }
        let Some(setting) = name_of(&default.name) else { continue };
        let (object, who, fix) = match (subject, &default.database) {
            (Some(subject), _) => (
                survey.role(subject.role),
                format!("role {}", subject.name),
                match &default.database {
                    Some(database) => sql!(
                        "ALTER ROLE {} IN DATABASE {} RESET {}",
                        subject.name,
                        database,
                        setting
                    ),
                    None => sql!("ALTER ROLE {} RESET {}", subject.name, setting),
                },
            ),
            (None, Some(database)) => (
                survey.object("database", database),
                format!("database {database}"),
                sql!("ALTER DATABASE {} RESET {}", database, setting),
            ),
            (None, None) => (
                survey.object("setting", &default.name),
                "every role".to_owned(),
                sql!("ALTER ROLE ALL RESET {}", setting),
            ),
        };
        let message = format!("sessions of {who} begin with {} set", default.name);
        let finding = RULE.finding(object, message, Fix::Sql(vec![fix]));
        found.push(match subject {
            Some(subject) => finding.role(subject.name),
            None => finding,
        });
    }
    found
}

/// The settings that policies ask for, themselves or through their functions.
fn switches(survey: &Survey<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for policy in &survey.catalog.policies {
        let functions = policy.functions.iter().filter_map(|f| survey.catalog.functions.get(f));
        let texts = [policy.using.as_deref(), policy.check.as_deref()].into_iter().flatten();
        for text in texts.chain(functions.map(|function| function.body.as_str())) {
            let text = text.to_ascii_lowercase();
            for (at, call) in text.match_indices("current_setting(") {
                let name = text[at + call.len()..].trim_start().trim_start_matches('\'');
                found.extend(name.split('\'').next().map(str::to_owned));
            }
        }
    }
    found
}

/// A setting's name, as a statement takes it.
fn name_of(setting: &str) -> Option<Sql> {
    let parts = setting.split('.').map(Ident::new).collect::<Result<Vec<_>, _>>().ok()?;
    parts.iter().map(|part| sql!("{}", part)).reduce(|before, part| sql!("{}.{}", before, part))
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_default_is_accused_and_a_role_bound_to_its_own_tenant_is_not() {
        let mut world = World::new();
        let default = |role: Oid, value: &str| SessionDefault {
            role: Some(role),
            database: None,
            name: "app.tenant_id".to_owned(),
            value: value.to_owned(),
        };
        let (cat, rw) = (world.oid("app_cat"), world.oid("app_rw"));
        world.catalog.session_defaults = vec![default(cat, "key-cat")];
        assert!(world.rules().is_empty());
        world.catalog.session_defaults.push(default(rw, "key-ann"));
        assert_eq!(world.rules(), ["context-default"]);
        let switch = |value: &str| SessionDefault {
            name: "app.staff".to_owned(),
            ..default(rw, value)
        };
        world.catalog.session_defaults = vec![switch("on")];
        assert!(world.rules().is_empty(), "no policy asks");
        world.policy_mut().check = Some(format!("{TIED} AND current_setting('app.staff', true) = 'on'"));
        assert_eq!(world.rules(), ["context-default"]);
        world.catalog.session_defaults = vec![switch("off")];
        assert!(world.rules().is_empty());
    }
}
