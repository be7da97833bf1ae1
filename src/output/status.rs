//! `migrate status` of a fleet that is too large for a line per tenant: how many have which version,
//! who lags, and who is in trouble.

use super::layout::wrapped;
use super::migration::{alike, and_others, failures, named};
use super::style::Style;
use crate::model::count;
use crate::model::migration::Version;
use crate::model::tenant::Isolation;
use crate::report::{MigrationRun, Status, TargetReport, VersionCount};

/// The histogram, and everybody who is not where the files are.
pub(super) fn fleet(run: &MigrationRun, style: &Style) -> String {
    let mut text = histogram(run, style);
    text.push_str(&laggards(run, style));
    text.push_str(&failures(run, style));
    text.push_str(&past_failures(run, style));
    text
}

/// No bar is longer.
const LONGEST_BAR: usize = 40;

/// How many tenants have which version, the newest first.
fn histogram(run: &MigrationRun, style: &Style) -> String {
    let rows = rows(run);
    let most = rows.iter().map(|row| row.tenants).max().unwrap_or_default();
    let label =
        rows.iter().map(|row| row.label.len()).max().unwrap_or_default().max("VERSION".len());
    let number = most.to_string().len().max("TENANTS".len());
    let room = style.width.saturating_sub(label + number + 4).min(LONGEST_BAR);
    let mut isolations: Vec<Isolation> = rows.iter().map(|row| row.isolation).collect();
    isolations.dedup();
    let mut text = String::new();
    for isolation in &isolations {
        // One model needs no name: what is below it is all there is.
        if isolations.len() > 1 {
            text.push_str(&format!("{}\n", style.strong(isolation.word())));
        }
        let header = format!("{:<label$}  {:>number$}", "VERSION", "TENANTS");
        text.push_str(&format!("{}\n", style.faint(&header)));
        for row in rows.iter().filter(|row| row.isolation == *isolation) {
            let bar = bar(row.tenants, most, room);
            let bar = if row.is_head { style.good(&bar) } else { style.attention(&bar) };
            let line = format!("{:<label$}  {:>number$}  {bar}", row.label, row.tenants);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// One line of the histogram.
struct Row {
    isolation: Isolation,
    label: String,
    is_head: bool,
    tenants: usize,
}

fn rows(run: &MigrationRun) -> Vec<Row> {
    let counts = run.versions();
    let mut rows = Vec::new();
    for isolation in Isolation::ALL {
        let here = |target: &&TargetReport| target.isolation == isolation;
        let tenants = run.targets.iter().filter(here).count();
        if tenants == 0 {
            continue;
        }
        let head = run.heads.get(&isolation).copied();
        let row = |label: String, is_head, tenants| Row { isolation, label, is_head, tenants };
        let own: Vec<&VersionCount> =
            counts.iter().filter(|count| count.isolation == isolation).rev().collect();
        // Where everybody would be, also when nobody is.
        if let Some(head) = head
            && own.iter().all(|count| count.version != Some(head))
        {
            rows.push(row(format!("V{head} head"), true, 0));
        }
        rows.extend(own.iter().map(|count| {
            let is_head = head.is_some() && count.version == head;
            row(label(count.version, is_head), is_head, count.tenants)
        }));
        let unread = tenants - own.iter().map(|count| count.tenants).sum::<usize>();
        if unread > 0 {
            rows.push(row("unknown".to_owned(), false, unread));
        }
    }
    rows
}

fn label(version: Option<Version>, is_head: bool) -> String {
    match version {
        Some(version) if is_head => format!("V{version} head"),
        Some(version) => format!("V{version}"),
        None => "nothing yet".to_owned(),
    }
}

/// A bar in eighths of a column; whoever is there is seen.
fn bar(part: usize, whole: usize, room: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part * room * 8).checked_div(whole).unwrap_or_default();
    let eighths = eighths.max(usize::from(part > 0));
    let rest = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// Who has migrations to come, by how many.
fn laggards(run: &MigrationRun, style: &Style) -> String {
    let pending = run.targets.iter().filter(|target| target.status == Status::Pending);
    let mut groups = alike(pending, |target| Some(target.pending.len()));
    groups.sort_by_key(|group| group.first().map(|target| target.pending.len()));
    let mut text = String::new();
    for group in &groups {
        let behind = group.first().map_or(0, |target| target.pending.len());
        let head =
            format!("behind by {} ({})", count(behind, "migration"), count(group.len(), "tenant"));
        let names = and_others(group, named(style));
        text.push_str(&style.attention(&head));
        text.push_str(":\n");
        text.push_str(&wrapped(&names, 2, style));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Whose last run failed, although nothing but pending migrations is to be seen of it now.
pub(super) fn past_failures(run: &MigrationRun, style: &Style) -> String {
    let groups = alike(run.targets.iter(), TargetReport::past_failure_alike);
    let mut text = String::new();
    for struck in &groups {
        let Some(past) = struck.first().and_then(|first| first.last_failure.as_ref()) else {
            continue;
        };
        let head = format!("failed last time {}", and_others(struck, named(style)));
        text.push_str(&format!("{}: {}\n", style.bad(&head), past.message));
        text.push_str(&format!("  run: {}\n", past.run));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::super::board::tests::{failed, row};
    use super::super::human;
    use super::*;
    use crate::error::{Code, Error};
    use crate::report::{Failure, PastFailure, Report, Verb};

    fn fleet() -> Report {
        let mut targets = Vec::new();
        let mut add = |number: usize, at: Option<i64>, pending: &[i64]| {
            for id in 0..number {
                let status = if pending.is_empty() { Status::UpToDate } else { Status::Pending };
                let mut target = row(&format!("t{}-{id}", at.unwrap_or_default()), status);
                target.to = at.map(Version);
                target.pending = pending.iter().copied().map(Version).collect();
                targets.push(target);
            }
        };
        add(1_950, Some(12), &[]);
        add(40, Some(11), &[12]);
        add(3, None, &[1, 11, 12]);
        for target in targets.iter_mut().filter(|target| target.to.is_none()).skip(1) {
            let message = format!("apply V1 to {}: no room", target.placement.schema);
            target.last_failure = Some(PastFailure { run: Uuid::nil(), message });
        }
        let mut shared = row("small", Status::Pending);
        shared.isolation = Isolation::Shared;
        shared.to = Some(Version(2));
        shared.pending = vec![Version(3)];
        targets.push(shared);
        for id in 0..12 {
            let mut gone = row(&format!("gone{id}"), Status::Missing);
            let what = format!("there is no schema tenant_gone{id} in database app");
            gone.error = Some(Failure::from(&Error::new(Code::NotFound, what)));
            targets.push(gone);
        }
        targets.push(failed("odd", "tags"));
        let mut run = MigrationRun::new(Verb::Status, targets);
        run.heads.extend([
            (Isolation::Schema, Version(12)),
            (Isolation::Shared, Version(3)),
            (Isolation::Database, Version(12)),
        ]);
        run.took = Duration::from_millis(840);
        Report::Migration(run)
    }

    #[test]
    fn a_fleet_is_read_at_a_glance() {
        insta::assert_snapshot!(human::render(&fleet(), &Style::new(false, 80)));
    }

    #[test]
    fn a_fleet_fits_a_narrow_screen() {
        let text = human::render(&fleet(), &Style::new(false, 40));
        for line in text.lines().take_while(|line| !line.starts_with("missing")) {
            assert!(line.chars().count() <= 40, "{line}");
        }
    }

    #[test]
    fn everybody_is_named_to_whoever_asks() {
        let text = human::render(&fleet(), &Style::new(false, 80).whole(true));
        assert!(text.contains("t11-39") && text.contains("gone11") && !text.contains(" more"));
    }

    #[test]
    fn a_few_among_thousands_are_seen() {
        assert_eq!(bar(1, 5_000, 40), "▏");
        assert_eq!(bar(0, 5_000, 40), "");
        assert_eq!(bar(5_000, 5_000, 4), "████");
        assert_eq!(bar(3, 8, 1), "▍");
    }
}
