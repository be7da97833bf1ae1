//! What `set` did, for people and for scripts.

use serde_json::{Value, json};

use super::grouped;
use super::json::{FORMAT, failure};
use super::layout::table;
use super::style::Style;
use crate::model::count;
use crate::model::tenant::TenantId;
use crate::report::{Settled, SettledStatus, SettledTarget};

/// So many rows are read one by one.
const READABLE: usize = 20;

pub(super) fn human(answer: &Settled, style: &Style) -> String {
    let mut text = String::new();
    for (changes, tenants) in alike(answer, |target| &target.changes) {
        text.push_str(&format!("{}\n", style.strong(&grouped::names(&tenants))));
        text.push_str(&changes.iter().map(|change| format!("  {change}\n")).collect::<String>());
    }
    let shown: Vec<&SettledTarget> = answer
        .targets
        .iter()
        .filter(|target| answer.targets.len() == 1 || target.status != SettledStatus::Unchanged)
        .collect();
    if !shown.is_empty() && (shown.len() <= READABLE || style.whole) {
        let rows = shown.iter().map(|target| row(target, style)).collect();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&table(&["tenant", "tier", "changes", "status"], rows, style));
        text.push('\n');
    }
    for (statements, tenants) in alike(answer, |target| &target.beyond) {
        let who = style.attention(&grouped::names(&tenants));
        text.push_str(&format!("{who}: only a superuser may do the rest:\n"));
        text.push_str(&statements.iter().map(|sql| format!("  {sql}\n")).collect::<String>());
    }
    for (reason, tenants) in alike(answer, |target| target.reason.as_slice()) {
        if answer.targets.iter().all(|target| target.beyond.is_empty()) {
            text.push_str(&format!("{}: {}\n", grouped::names(&tenants), reason[0]));
        }
    }
    let struck = answer
        .targets
        .iter()
        .filter_map(|target| Some((target.status.word(), &target.tenant, target.error.as_ref()?)));
    text.push_str(&grouped::failures(struck, style));
    text.push_str(&closing(answer, style));
    text
}

/// What is the same of several tenants, each once, with their names; nothing of those that have none.
fn alike<'a>(
    answer: &'a Settled,
    what: impl Fn(&'a SettledTarget) -> &'a [String],
) -> Vec<(&'a [String], Vec<&'a TenantId>)> {
    let mut groups: Vec<(&[String], Vec<&TenantId>)> = Vec::new();
    for target in &answer.targets {
        let lines = what(target);
        if lines.is_empty() {
            continue;
        }
        match groups.iter_mut().find(|(known, _)| *known == lines) {
            Some((_, tenants)) => tenants.push(&target.tenant),
            None => groups.push((lines, vec![&target.tenant])),
        }
    }
    groups.truncate(READABLE);
    groups
}

fn row(target: &SettledTarget, style: &Style) -> Vec<String> {
    let word = target.status.word();
    let status = match target.status {
        SettledStatus::Set | SettledStatus::Unchanged => style.good(word),
        SettledStatus::Differs | SettledStatus::Skipped => style.attention(word),
        SettledStatus::Beyond | SettledStatus::Failed => style.bad(word),
    };
    vec![
        target.tenant.to_string(),
        target.tier.clone().unwrap_or_else(|| "-".to_owned()),
        (target.changes.len() + target.beyond.len()).to_string(),
        status,
    ]
}

fn closing(answer: &Settled, style: &Style) -> String {
    let of = |status| answer.count(status);
    let mut parts = Vec::new();
    for (number, word, bad) in [
        (of(SettledStatus::Set), "set", false),
        (of(SettledStatus::Unchanged), "as they should be", false),
        (of(SettledStatus::Differs), "differ", true),
        (of(SettledStatus::Beyond), "not wholly set", true),
        (of(SettledStatus::Skipped), "skipped", false),
        (of(SettledStatus::Failed), "failed", true),
    ] {
        if number > 0 {
            let noun = if parts.is_empty() { count(number, "tenant") } else { number.to_string() };
            let word = match (word, number) {
                ("as they should be", 1) => "as it should be",
                ("differ", 1) => "differs",
                (word, _) => word,
            };
            let part = format!("{noun} {word}");
            parts.push(if bad { style.bad(&part) } else { part });
        }
    }
    let took = (!answer.dry_run).then_some(answer.took);
    grouped::closing(&parts, took, answer.stopped.as_deref(), answer.interrupted, style)
}

pub(super) fn json(answer: &Settled) -> Value {
    let of = |status| answer.count(status);
    let target = |target: &SettledTarget| {
        json!({
            "tenant": target.tenant.as_str(),
            "isolation": target.isolation.word(),
            "cluster": target.placement.cluster.as_str(),
            "database": target.placement.database.as_str(),
            "schema": target.placement.schema.as_str(),
            "tier": target.tier,
            "changes": target.changes,
            "not_permitted": target.beyond,
            "status": target.status.word(),
            "reason": target.reason,
            "error": target.error.as_ref().map(failure),
        })
    };
    json!({
        "format": FORMAT,
        "dry_run": answer.dry_run,
        "interrupted": answer.interrupted,
        "stopped": answer.stopped,
        "summary": {
            "set": of(SettledStatus::Set),
            "unchanged": of(SettledStatus::Unchanged),
            "differs": of(SettledStatus::Differs),
            "not_permitted": of(SettledStatus::Beyond),
            "skipped": of(SettledStatus::Skipped),
            "failed": of(SettledStatus::Failed),
        },
        "targets": answer.targets.iter().map(target).collect::<Vec<_>>(),
    })
}
