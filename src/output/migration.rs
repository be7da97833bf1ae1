//! `migrate up` and `migrate status` for people.

use super::layout::{table, version};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::report::{MigrationRun, Status, TargetReport, Verb};

pub(super) fn migration(run: &MigrationRun, style: &Style) -> String {
    let mut text = String::new();
    let shown: Vec<&TargetReport> = match run.verb {
        Verb::Status => run.targets.iter().collect(),
        Verb::Up => run.targets.iter().filter(|target| target.status != Status::UpToDate).collect(),
    };
    if !shown.is_empty() {
        let rows = rows(&shown, run.verb, style);
        let header = match run.verb {
            Verb::Up => ["tenant", "schema", "from", "to", "status"],
            Verb::Status => ["tenant", "schema", "version", "pending", "status"],
        };
        text.push_str(&table(&header, rows, style));
        text.push('\n');
    }
    text.push_str(&failures(run, style));
    text.push_str(&closing(run, style));
    text
}

/// So many rows are read one by one; of more, those that stand alike are counted.
const READABLE: usize = 20;

/// One row per tenant; in a large fleet, one row for all that stand alike and well.
fn rows(shown: &[&TargetReport], verb: Verb, style: &Style) -> Vec<Vec<String>> {
    if shown.len() <= READABLE {
        return shown.iter().map(|target| row(target, verb, style)).collect();
    }
    let mut rows = Vec::new();
    let mut alike: Vec<(Vec<String>, usize)> = Vec::new();
    for target in shown {
        let row = row(target, verb, style);
        if matches!(target.status, Status::Diverged | Status::Missing | Status::Failed) {
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

fn row(target: &TargetReport, verb: Verb, style: &Style) -> Vec<String> {
    let status = match target.status {
        Status::Applied | Status::UpToDate => style.good(target.status.word()),
        Status::Pending | Status::Skipped => style.attention(target.status.word()),
        Status::Diverged | Status::Missing | Status::Failed => style.bad(target.status.word()),
    };
    let (third, fourth) = match verb {
        Verb::Up => (version(target.from), version(target.to)),
        Verb::Status => {
            let pending = if target.pending.is_empty() {
                "-".to_owned()
            } else {
                target.pending.len().to_string()
            };
            (version(target.from), pending)
        }
    };
    let schema = format!("{}.{}", target.placement.database, target.placement.schema);
    vec![target.tenant.to_string(), schema, third, fourth, status]
}

/// Each failure once, with the tenants that it struck.
fn failures(run: &MigrationRun, style: &Style) -> String {
    let mut text = String::new();
    let mut told: Vec<(&str, &str)> = Vec::new();
    for target in &run.targets {
        let Some(failure) = &target.error else {
            continue;
        };
        let schema = target.placement.schema.as_str();
        if told.contains(&(schema, failure.message.as_str())) {
            continue;
        }
        told.push((schema, &failure.message));
        let name = format!("{} {}", target.status.word(), target.tenant);
        text.push_str(&format!("{}: {}\n", style.bad(&name), failure.message));
        if let Some(file) = &failure.file {
            let place = match (failure.line, failure.column) {
                (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
                _ => file.clone(),
            };
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
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
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
    if run.interrupted {
        text.push_str("interrupted: what was begun was finished; run it again to go on\n");
    }
    text
}
