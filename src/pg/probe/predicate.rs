//! The condition that the server would apply, put together from the policies of a role.

use crate::audit::Survey;
use crate::model::catalog::{Command, Oid, Policy, Relation};
use crate::model::probe::Outcome;
use crate::sql;
use crate::sql::Sql;

/// What a row must fulfil for a role and a command: one permissive policy, and every restrictive one.
///
/// `None` when there is nothing to evaluate: the role lacks the privilege, or no policy admits rows.
pub(super) fn effective(
    survey: &Survey<'_>,
    role: Oid,
    (oid, table): (Oid, &Relation),
    command: Command,
    pick: fn(&Policy, Command) -> Option<&str>,
) -> Option<Sql> {
    let subject = survey.subjects.iter().find(|subject| subject.role == role)?;
    if !survey.usable(subject, table).has(command.privilege()) {
        return None;
    }
    let sides = |permissive: bool| -> Vec<Sql> {
        survey
            .policies(oid)
            .iter()
            .filter(|policy| policy.permissive == permissive && survey.applies(policy, role))
            .filter_map(|policy| pick(policy, command))
            .map(|text| sql!("({})", Sql::from_catalog(text)))
            .collect()
    };
    let either = sides(true).into_iter().reduce(|a, b| sql!("{} OR {}", a, b))?;
    Some(sides(false).into_iter().fold(sql!("({})", either), |a, b| sql!("{} AND {}", a, b)))
}

/// Reads a failure under a context that is no tenant: sound policies stumble over it (`''::uuid`).
pub(super) fn fails_closed(sqlstate: String, message: String) -> Outcome {
    if matches!(sqlstate.as_str(), "22P02" | "42704" | "P0001") {
        Outcome::Refused
    } else {
        Outcome::Failed { sqlstate, message }
    }
}
