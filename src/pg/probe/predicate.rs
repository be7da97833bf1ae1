//! The condition that the server would apply, put together from the policies of a role.

use super::canary::Known;
use super::guess::{self, Clues};
use super::shape::Shape;
use crate::audit::Survey;
use crate::model::catalog::{Command, Oid, Policy, Relation};
use crate::model::ident::Ident;
use crate::model::layout::{Setting, Tenancy};
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

/// Rows like one that is known, varied where policies look: a hole may be open for public rows only.
pub(super) fn variations(
    shape: &Shape,
    base: &Known,
    texts: &[&str],
    tenant: Option<&Ident>,
) -> Vec<Known> {
    let mut rows = vec![base.clone()];
    for column in &shape.columns {
        let name = column.name.as_str();
        // It stays the target's row, and points where it points.
        if Some(&column.name) == tenant
            || base.contains_key(&column.name) && shape.is_reference(&column.name)
        {
            continue;
        }
        let spoken: Vec<&&str> = texts.iter().filter(|text| names(text, name)).collect();
        if spoken.is_empty() {
            continue;
        }
        let kind = shape.kind(column);
        let clues = Clues::of(spoken.iter().map(|text| **text));
        let values = std::iter::once(None).chain(
            guess::first(&kind).into_iter().chain(guess::others(name, &kind, &clues)).map(Some),
        );
        for value in values.take(VALUES) {
            let mut row = base.clone();
            match value {
                Some(value) => row.insert(column.name.clone(), value),
                None => row.remove(&column.name),
            };
            rows.push(row);
        }
        rows.truncate(ROWS);
    }
    rows
}

/// So many values are tried in each column that a policy looks at,
const VALUES: usize = 12;

/// and so many rows in all.
const ROWS: usize = 60;

/// Whether a text speaks of a column.
fn names(text: &str, column: &str) -> bool {
    text.match_indices(column).any(|(at, _)| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        !text[..at].ends_with(word) && !text[at + column.len()..].starts_with(word)
    })
}

/// The custom settings that texts read besides one, each with values that are worth trying.
pub(super) fn switches(texts: &[&str], tenancy: &Tenancy) -> Vec<(Setting, Vec<String>)> {
    const READS: &str = "current_setting('";
    let mut found: Vec<(Setting, Vec<String>)> = Vec::new();
    for text in texts {
        for (at, _) in text.match_indices(READS) {
            let rest = &text[at + READS.len()..];
            let Some(name) = rest.split('\'').next() else { continue };
            let Ok(setting) = Setting::new(name) else { continue };
            if setting.as_str().eq_ignore_ascii_case(tenancy.setting.as_str())
                || found.iter().any(|(known, _)| *known == setting)
            {
                continue;
            }
            let mut values: Vec<String> = ["on", "true", "1"].map(str::to_owned).into();
            values
                .extend(Clues::of([*text]).texts().iter().filter(|text| text.len() <= 40).cloned());
            values.retain(|value| !value.is_empty() && *value != setting.as_str());
            values.dedup();
            values.truncate(8);
            found.push((setting, values));
        }
    }
    found
}
