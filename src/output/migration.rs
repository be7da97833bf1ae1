//! `migrate up` and `migrate status`, for people and for scripts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::json::{FORMAT, failure as failure_json};
use super::layout::{table, version};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::model::migration::Version;
use crate::report::{Failure, MigrationRun, Status, TargetReport, Verb};

pub(super) fn migration(run: &MigrationRun, style: &Style) -> String {
    if run.verb == Verb::Status && run.targets.len() > READABLE {
        return super::status::fleet(run, style) + &closing(run, style);
    }
    let mut text = String::new();
    let shown: Vec<&TargetReport> = match run.verb {
        Verb::Status => run.targets.iter().collect(),
        Verb::Up => run.targets.iter().filter(|target| target.status != Status::UpToDate).collect(),
    };
    if !shown.is_empty() {
        let rows = rows(&shown, run, style);
        let header = match run.verb {
            Verb::Up => ["tenant", "schema", "from", "to", "status"],
            Verb::Status => ["tenant", "schema", "version", "pending", "status"],
        };
        text.push_str(&table(&header, rows, style));
        text.push('\n');
    }
    text.push_str(&failures(run, style));
    if run.verb == Verb::Status {
        text.push_str(&super::status::past_failures(run, style));
    }
    text.push_str(&closing(run, style));
    text
}

/// So many rows are read one by one; of more, those that stand alike are counted.
const READABLE: usize = 20;

/// One row per tenant; in a large fleet, one row for all that stand alike, and well where those that
/// do not are few.
fn rows(shown: &[&TargetReport], run: &MigrationRun, style: &Style) -> Vec<Vec<String>> {
    if shown.len() <= READABLE {
        return shown.iter().map(|target| row(target, run, style)).collect();
    }
    let mut rows = Vec::new();
    let mut alike: Vec<(Vec<String>, usize)> = Vec::new();
    let ill = |target: &&&TargetReport| {
        matches!(target.status, Status::Diverged | Status::Missing | Status::Failed)
    };
    let few = shown.iter().filter(ill).count() <= READABLE;
    for target in shown {
        let row = row(target, run, style);
        if few && ill(&target) {
            rows.push(row);
            continue;
        }
        match alike.iter_mut().find(|(other, _)| other[2..] == row[2..]) {
            Some((_, number)) => *number += 1,
            None => alike.push((row, 1)),
        }
    }
    for (mut row, number) in alike {
        if number > 1 {
            row.splice(..2, [count(number, "tenant"), "-".to_owned()]);
        }
        rows.push(row);
    }
    rows
}

fn row(target: &TargetReport, run: &MigrationRun, style: &Style) -> Vec<String> {
    let status = match target.status {
        Status::Applied | Status::UpToDate => style.good(target.status.word()),
        Status::Pending | Status::Skipped => style.attention(target.status.word()),
        Status::Diverged | Status::Missing | Status::Failed => style.bad(target.status.word()),
    };
    let (third, fourth) = match run.verb {
        // Nothing has moved in a check: what is asked is where everybody would go.
        Verb::Up if run.check && target.status == Status::Pending => {
            (version(target.from), version(target.pending.last().copied().or(target.to)))
        }
        Verb::Up => (version(target.from), version(target.to)),
        Verb::Status => {
            let waiting = target.status == Status::Pending;
            let repeatables = if waiting { target.repeatables.len() } else { 0 };
            let pending = if target.pending.len() + repeatables == 0 {
                "-".to_owned()
            } else {
                (target.pending.len() + repeatables).to_string()
            };
            (version(target.from), pending)
        }
    };
    let schema = format!("{}.{}", target.placement.database, target.placement.schema);
    vec![target.tenant.to_string(), schema, third, fourth, status]
}

/// Tenants of which the same is to be said, in the order in which they come.
pub(super) fn alike<'a, K: Ord>(
    targets: impl Iterator<Item = &'a TargetReport>,
    said: impl Fn(&TargetReport) -> Option<K>,
) -> Vec<Vec<&'a TargetReport>> {
    let mut known: BTreeMap<K, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&TargetReport>> = Vec::new();
    for target in targets {
        let Some(key) = said(target) else {
            continue;
        };
        let at = *known.entry(key).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups
}

/// The names of tenants, so many of them, and how many others there are.
pub(super) fn and_others(targets: &[&TargetReport], named: usize) -> String {
    let names: Vec<&str> =
        targets.iter().take(named).map(|target| target.tenant.as_str()).collect();
    match targets.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// So many tenants of which the same is said are named, unless all are asked for.
pub(super) fn named(style: &Style) -> usize {
    if style.whole { usize::MAX } else { 10 }
}

/// So many different failures are shown, unless all are asked for.
const FAILURES: usize = 20;

/// Each failure once, with the tenants that it struck.
pub(super) fn failures(run: &MigrationRun, style: &Style) -> String {
    let groups = alike(run.targets.iter(), TargetReport::failure_alike);
    let shown = if style.whole { groups.len() } else { FAILURES };
    let mut text: String = groups.iter().take(shown).map(|struck| failure(struck, style)).collect();
    if groups.len() > shown {
        let more = count(groups.len() - shown, "other failure");
        text.push_str(&format!("and {more}: -v or -o json shows all\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn failure(struck: &[&TargetReport], style: &Style) -> String {
    let Some((first, failure)) =
        struck.first().and_then(|first| Some((first, first.error.as_ref()?)))
    else {
        return String::new();
    };
    let name = format!("{} {}", first.status.word(), and_others(struck, named(style)));
    let mut text = format!("{}: {}\n", style.bad(&name), failure.message);
    if let Some(place) = place(failure) {
        text.push_str(&format!("  at: {place}\n"));
    }
    if let Some(sqlstate) = &failure.sqlstate {
        text.push_str(&format!("  sqlstate: {sqlstate}\n"));
    }
    for detail in &failure.details {
        text.push_str(&format!("  {detail}\n"));
    }
    for hint in &failure.hints {
        text.push_str(&format!("  {}: {hint}\n", style.attention("hint")));
    }
    text
}

/// Where in which file a failure is.
pub(super) fn place(failure: &Failure) -> Option<String> {
    let file = failure.file.as_ref()?;
    Some(match (failure.line, failure.column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => file.clone(),
    })
}

fn closing(run: &MigrationRun, style: &Style) -> String {
    if run.targets.is_empty() {
        return "nothing to do: no tenant fits the selection\n".to_owned();
    }
    let summary = run.summary();
    let applied: usize = run.targets.iter().filter(|target| !target.applied.is_empty()).count();
    let mut parts = Vec::new();
    if run.verb == Verb::Up
        && summary.failed + summary.pending + summary.skipped == 0
        && applied == 0
    {
        return format!(
            "nothing to do: {} up to date\n",
            if summary.ok == 1 {
                "1 tenant is".to_owned()
            } else {
                format!("all {} tenants are", summary.ok)
            }
        );
    }
    if run.verb == Verb::Up {
        parts.push(format!("{} migrated", count(applied, "tenant")));
        parts.push(format!("{} up to date", summary.ok.saturating_sub(applied)));
    } else {
        parts.push(format!("{} up to date", count(summary.ok, "tenant")));
    }
    for (number, word) in
        [(summary.pending, "pending"), (summary.skipped, "skipped"), (summary.failed, "failed")]
    {
        if number > 0 {
            let text = format!("{number} {word}");
            parts.push(if word == "failed" { style.bad(&text) } else { style.attention(&text) });
        }
    }
    let mut text = format!("{} in {}\n", parts.join(", "), duration(run.took));
    if let Some(why) = &run.stopped {
        text.push_str(&format!("{}: {why}\n", style.attention("stopped early")));
    }
    if run.interrupted {
        let again = if resume(run).is_some() { "" } else { "; run it again to go on" };
        text.push_str(&format!("interrupted: what was begun was finished, or cancelled{again}\n"));
    }
    if let Some(command) = resume(run) {
        text.push_str(&format!("go on with: {command}\n"));
    }
    if run.verb == Verb::Status && summary.pending > 0 {
        text.push_str("bring them up with: tenantctl migrate up\n");
    }
    text
}

/// What goes on where the run ended, when something is left.
pub(super) fn resume(run: &MigrationRun) -> Option<String> {
    let id = run.run.filter(|_| run.has_rest())?;
    Some(format!("tenantctl migrate up --resume {id}"))
}

/// The answer as one document: its parts are promised.
pub(super) fn json(run: &MigrationRun) -> Value {
    let versions: Vec<Value> = run
        .versions()
        .iter()
        .map(|count| {
            json!({
                "isolation": count.isolation.word(),
                "version": count.version.map(|version| version.0),
                "tenants": count.tenants,
            })
        })
        .collect();
    let heads: BTreeMap<&str, i64> =
        run.heads.iter().map(|(isolation, head)| (isolation.word(), head.0)).collect();
    json!({
        "format": FORMAT,
        "command": match run.verb { Verb::Up => "up", Verb::Status => "status" },
        "run": run.run.map(|run| run.to_string()),
        "interrupted": run.interrupted,
        "stopped": run.stopped,
        "summary": summary_json(run),
        "head": heads,
        "versions": versions,
        "targets": run.targets.iter().map(target_json).collect::<Vec<_>>(),
    })
}

pub(super) fn summary_json(run: &MigrationRun) -> Value {
    let summary = run.summary();
    json!({
        "ok": summary.ok,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "pending": summary.pending,
    })
}

/// One tenant of the answer, and of the stream of events.
pub(super) fn target_json(target: &TargetReport) -> Value {
    let numbers =
        |versions: &[Version]| versions.iter().map(|version| version.0).collect::<Vec<_>>();
    let last_failure = target
        .last_failure
        .as_ref()
        .map(|past| json!({"run": past.run.to_string(), "message": past.message}));
    json!({
        "tenant": target.tenant.as_str(),
        "isolation": target.isolation.word(),
        "cluster": target.placement.cluster.as_str(),
        "database": target.placement.database.as_str(),
        "schema": target.placement.schema.as_str(),
        "from": target.from.map(|version| version.0),
        "to": target.to.map(|version| version.0),
        "applied": numbers(&target.applied),
        "pending": numbers(&target.pending),
        "repeatables": target.repeatables,
        "status": target.status.word(),
        "attempts": target.attempts,
        "waited_for": target.waited,
        "duration_ms": milliseconds(target.took),
        "last_failure": last_failure,
        "error": target.error.as_ref().map(failure_json),
    })
}

/// A duration as JSON has it.
pub(super) fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::failed;
    use super::*;

    #[test]
    fn a_thousand_failures_are_still_read() {
        let style = Style::new(false, 80);
        let failing = |tables: usize| {
            let row = |at: usize| failed(&format!("t{at}"), &format!("table_{}", at % tables));
            MigrationRun::new(Verb::Up, (0..1_000).map(row).collect())
        };
        let text = migration(&failing(1), &style);
        assert!(text.lines().count() < 10, "{text}");
        assert!(text.contains("1000 tenants  -") && text.contains(" and 990 more: "), "{text}");
        let text = migration(&failing(1_000), &style);
        assert!(text.lines().count() < 80, "{text}");
        assert!(text.contains("\nand 980 other failures: -v or -o json shows all\n"), "{text}");
        assert!(migration(&failing(1_000), &style.whole(true)).contains("table_999"));
    }
}
