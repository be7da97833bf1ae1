//! Attributes that no role of the application should have, or be able to put on. The rules differ
//! in which attribute, and what it allows.

use super::finding::{Finding, Fix};
use super::rules::Rule;
use super::survey::{Subject, Survey};
use crate::model::catalog::{Oid, Role};
use crate::sql;
use crate::sql::Sql;

/// Reports every role of the application that has an attribute; `takes` is the keyword that takes
/// it away, and `said` is what it means.
pub(super) fn held(
    survey: &Survey<'_>,
    rule: &Rule,
    has: fn(&Role) -> bool,
    takes: &Sql,
    said: &str,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        let Some(role) = survey.catalog.roles.get(&subject.role).filter(|role| has(role)) else {
            continue;
        };
        let message = format!("role {} {said}", subject.name);
        found.push(accused(survey, rule, subject, (subject.role, role), takes, message));
    }
    found
}

/// Reports every role of the application that has an attribute or can become a role that has it;
/// `said` is what it can do then. Attributes are not inherited, so that membership alone is nothing.
pub(super) fn reached(
    survey: &Survey<'_>,
    rule: &Rule,
    has: fn(&Role) -> bool,
    takes: &Sql,
    said: &str,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for subject in &survey.subjects {
        for (reached, path) in &subject.closure {
            let Some(role) = survey.catalog.roles.get(reached) else { continue };
            // A superuser is worse, and has rules of its own.
            if !has(role) || role.superuser || !path.becomes {
                continue;
            }
            let message = format!("role {} {said} as {}", subject.name, survey.path(&path.roles));
            found.push(accused(survey, rule, subject, (*reached, role), takes, message));
        }
    }
    found
}

fn accused(
    survey: &Survey<'_>,
    rule: &Rule,
    subject: &Subject<'_>,
    (oid, role): (Oid, &Role),
    takes: &Sql,
    message: String,
) -> Finding {
    let fix = Fix::Sql(vec![sql!("ALTER ROLE {} {}", role.name, takes)]);
    rule.finding(survey.role(oid), message, fix)
        .role(subject.name)
        .tenants(subject.tenants.iter().map(|tenant| &tenant.id))
}
