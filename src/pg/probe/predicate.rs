//! The condition that the server would apply, put together from the policies of a role.

use crate::audit::Survey;
use crate::model::catalog::{Command, Oid, Policy, Relation};
use crate::model::layout::Tenancy;
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

/// Whether a table's policies depend on more than the tenant setting: a user, a membership, a flag.
///
/// A made-up row has none of it, so that its own tenant may rightly not see it.
pub(super) fn asks_more(survey: &Survey<'_>, table: Oid, tenancy: &Tenancy) -> bool {
    const READS: &str = "current_setting('";
    survey.policies(table).iter().any(|policy| {
        let texts = [policy.using.as_deref(), policy.check.as_deref()];
        let other_setting = texts.into_iter().flatten().any(|text| {
            text.match_indices(READS)
                .any(|(at, found)| !text[at + found.len()..].starts_with(tenancy.setting.as_str()))
        });
        let other_source = !policy.reads.is_empty()
            || policy.functions.iter().any(|function| !survey.reads_context(*function));
        // A policy that is for the tenant alone must let the tenant see its row.
        other_setting && texts.iter().flatten().any(|text| text.contains(tenancy.setting.as_str()))
            || other_source
    })
}

/// Reads a failure under a context that is no tenant: sound policies stumble over it (`''::uuid`).
pub(super) fn fails_closed(sqlstate: String, message: String) -> Outcome {
    if matches!(sqlstate.as_str(), "22P02" | "42704" | "P0001") {
        Outcome::Refused
    } else {
        Outcome::Failed { sqlstate, message }
    }
}
