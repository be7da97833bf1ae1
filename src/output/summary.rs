//! `--summary-md`: what a command did, for the page of a CI job.

use std::time::Duration;

use super::migration::{alike, and_others, place, resume};
use super::progress::duration;
use crate::error::Error;
use crate::model::count;
use crate::report::{MigrationRun, Status, TargetReport, Verb, Verdict};

/// So many tenants of one group are named.
const NAMED: usize = 10;
/// So many groups of failures, and of waits, are shown: the page of a job has its limits.
const GROUPS: usize = 20;

/// What there is to read before a command has ended: all that is left when it is killed.
pub(super) fn begun(command: &str) -> String {
    format!(
        "## {command}: not ended\n\nThe process was killed, or still runs. What it did is in the \
         tenants' histories: `tenantctl migrate status`\n"
    )
}

/// A command that has no answer.
pub(super) fn failed(command: &str, error: &anyhow::Error, took: Duration) -> String {
    let mut text = format!("## {command}: failed after {}\n\n", duration(took));
    let code = Error::find(error).map_or("bug", |error| error.code.id());
    text.push_str(&format!("`error[{code}]`: {}\n", code_span(&error.to_string())));
    if let Some(answer) = Error::find(error).and_then(|error| error.answer.as_deref()) {
        let said = code_span(&answer.message);
        text.push_str(&format!("- server: {said} (SQLSTATE `{}`)\n", answer.sqlstate));
    }
    for hint in Error::find(error).map(|error| error.hints.as_slice()).unwrap_or_default() {
        text.push_str(&format!("- hint: {}\n", code_span(hint)));
    }
    text
}

/// The answer of `migrate up` or `migrate status`.
pub(super) fn summary(run: &MigrationRun, verdict: Verdict) -> String {
    let mut text = headline(run, verdict);
    text.push_str(&counts(run));
    text.push_str(&versions(run));
    text.push_str(&failures(run));
    text.push_str(&past_failures(run));
    text.push_str(&waits(run));
    if let Some(command) = resume(run) {
        text.push_str(&format!("### How to go on\n\n```console\n{command}\n```\n\n"));
    }
    text.push_str(&match run.run {
        Some(id) => format!("Run `{id}`, {}\n", duration(run.took)),
        None => format!("Took {}\n", duration(run.took)),
    });
    text
}

fn headline(run: &MigrationRun, verdict: Verdict) -> String {
    let command = match run.verb {
        Verb::Up => "migrate up",
        Verb::Status => "migrate status",
    };
    let (summary, all) = (run.summary(), run.targets.len());
    let of = |number: usize| format!("{number} of {}", count(all, "tenant"));
    let said = match verdict {
        Verdict::Interrupted => format!("interrupted, {} done", of(summary.ok)),
        _ if run.stopped.is_some() && summary.pending > 0 => {
            format!("stopped early, {} left", of(summary.pending))
        }
        Verdict::Partial | Verdict::Failed(_) if summary.failed > 0 => {
            format!("{} failed", of(summary.failed))
        }
        Verdict::Partial | Verdict::Failed(_) => format!("{} not touched", of(summary.skipped)),
        _ if summary.pending > 0 => format!("{} pending", of(summary.pending)),
        Verdict::No => format!("{} not touched", of(summary.skipped)),
        Verdict::Done if all == 0 => "no tenant fits the selection".to_owned(),
        Verdict::Done => format!("{} up to date", count(summary.ok, "tenant")),
    };
    let mut text = format!("## {command}: {said}\n\n");
    if let Some(why) = &run.stopped {
        text.push_str(&format!("Stopped early: {}\n\n", code_span(why)));
    }
    text
}

fn counts(run: &MigrationRun) -> String {
    let used: Vec<(Status, usize)> = Status::ALL
        .into_iter()
        .map(|status| {
            let tenants = run.targets.iter().filter(|target| target.status == status).count();
            (status, tenants)
        })
        .filter(|(_, tenants)| *tenants > 0)
        .collect();
    if used.is_empty() {
        return String::new();
    }
    let mut text = "| status | tenants |\n|---|---:|\n".to_owned();
    for (status, tenants) in used {
        text.push_str(&format!("| {} | {tenants} |\n", status.word()));
    }
    text.push('\n');
    text
}

fn versions(run: &MigrationRun) -> String {
    let versions = run.versions();
    let most = versions.iter().map(|count| count.tenants).max().unwrap_or_default();
    if most == 0 {
        return String::new();
    }
    let mut text =
        "### Versions\n\n| isolation | version | tenants | |\n|---|---|---:|---|\n".to_owned();
    for count in versions.iter().rev() {
        let head = run.heads.get(&count.isolation).copied();
        let version = match count.version {
            Some(version) if Some(version) == head => format!("V{version} (head)"),
            Some(version) => format!("V{version}"),
            None => "none".to_owned(),
        };
        let bar = "█".repeat((count.tenants * 20).div_ceil(most));
        text.push_str(&format!(
            "| {} | {version} | {} | {bar} |\n",
            count.isolation, count.tenants
        ));
    }
    text.push('\n');
    text
}

fn failures(run: &MigrationRun) -> String {
    let groups = alike(run.targets.iter(), TargetReport::failure_alike);
    let mut text = String::new();
    for struck in groups.iter().take(GROUPS) {
        let Some((first, failure)) =
            struck.first().and_then(|first| Some((first, first.error.as_ref()?)))
        else {
            continue;
        };
        let (status, tenants) = (first.status.word(), count(struck.len(), "tenant"));
        let said = code_span(&failure.message);
        text.push_str(&format!("**{status}, {tenants}**: {}\n", and_others(struck, NAMED)));
        text.push_str(&format!("- {said}\n"));
        if let Some(place) = place(failure) {
            text.push_str(&format!("- at {}\n", code_span(&place)));
        }
        if let Some(sqlstate) = &failure.sqlstate {
            text.push_str(&format!("- SQLSTATE {}\n", code_span(sqlstate)));
        }
        for line in &failure.details {
            text.push_str(&format!("- {}\n", code_span(line)));
        }
        for hint in &failure.hints {
            text.push_str(&format!("- hint: {}\n", code_span(hint)));
        }
        text.push('\n');
    }
    match groups.len().saturating_sub(GROUPS) {
        _ if text.is_empty() => text,
        0 => format!("### Failures\n\n{text}"),
        more => format!("### Failures\n\n{text}And {}.\n\n", count(more, "other failure")),
    }
}

fn past_failures(run: &MigrationRun) -> String {
    let groups = alike(run.targets.iter(), TargetReport::past_failure_alike);
    let mut text = String::new();
    for struck in groups.iter().take(GROUPS) {
        let Some(past) = struck.first().and_then(|first| first.last_failure.as_ref()) else {
            continue;
        };
        let (names, run) = (and_others(struck, NAMED), past.run);
        text.push_str(&format!("- {names}, in run `{run}`: {}\n", code_span(&past.message)));
    }
    if text.is_empty() { text } else { format!("### Failed last time\n\n{text}\n") }
}

fn waits(run: &MigrationRun) -> String {
    let groups = alike(run.targets.iter(), |target| target.waited.clone());
    let mut text = String::new();
    for waited in groups.iter().take(GROUPS) {
        let cause = waited.first().and_then(|first| first.waited.as_deref()).unwrap_or_default();
        let names = and_others(waited, NAMED);
        text.push_str(&format!("| {} | {names} |\n", code_span(cause).replace('|', "\\|")));
    }
    if text.is_empty() {
        return text;
    }
    format!("### Waits\n\n| waited for | tenants |\n|---|---|\n{text}\n")
}

/// Text as it is, on one line, whatever it holds: the words of servers are no markup.
fn code_span(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    // A blank keeps a backtick at an end apart from the fence.
    let blank = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{blank}{text}{blank}{fence}")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::board::tests::{failed as failing, row};
    use super::*;
    use crate::error::Code;
    use crate::model::migration::Version;
    use crate::model::tenant::Isolation;
    use crate::report::{PastFailure, Report};

    fn at(mut target: TargetReport, version: i64) -> TargetReport {
        target.to = Some(Version(version));
        target
    }

    fn run(targets: Vec<TargetReport>) -> MigrationRun {
        let mut run = MigrationRun::new(Verb::Up, targets);
        run.heads.insert(Isolation::Schema, Version(2));
        run.run = Some(Uuid::nil());
        run.resumable = true;
        run.took = Duration::from_secs(125);
        run
    }

    fn summary_of(run: MigrationRun) -> String {
        let report = Report::Migration(run);
        let verdict = report.verdict();
        let Report::Migration(run) = &report else { unreachable!() };
        summary(run, verdict)
    }

    #[test]
    fn a_run_with_failures_and_waits() {
        let mut targets: Vec<TargetReport> =
            (0..30).map(|at| row(&format!("t{at}"), Status::Applied)).collect();
        for target in &mut targets {
            target.to = Some(Version(2));
        }
        targets.extend((10..25).map(|id| at(failing(&format!("f{id}"), "tags"), 1)));
        let mut waited = at(failing("late", "a`b"), 1);
        waited.waited = Some("pid 7 (psql) has held notes: SELECT 1 | 2".to_owned());
        targets.push(waited);
        let mut run = run(targets);
        run.stopped = Some("16 failures, and --max-failures allows 15".to_owned());
        insta::assert_snapshot!(summary_of(run));
    }

    #[test]
    fn a_run_that_went_well() {
        let text = summary_of(run(vec![at(row("cat", Status::Applied), 2)]));
        assert!(text.starts_with("## migrate up: 1 tenant up to date\n"), "{text}");
        assert!(!text.contains("###  Failures") && !text.contains("How to go on"), "{text}");
    }

    #[test]
    fn a_run_that_was_interrupted() {
        let mut pending = row("dog", Status::Pending);
        let message = "apply V2 to tenant_dog: no".to_owned();
        pending.last_failure = Some(PastFailure { run: Uuid::nil(), message });
        let mut run = run(vec![at(row("cat", Status::Applied), 2), pending]);
        run.interrupted = true;
        let text = summary_of(run);
        assert!(text.starts_with("## migrate up: interrupted, 1 of 2 tenants done\n"), "{text}");
        assert!(text.contains("--resume 00000000-0000-0000-0000-000000000000\n"), "{text}");
        assert!(text.contains("### Failed last time\n\n- dog, in run `0"), "{text}");
    }

    #[test]
    fn a_run_that_never_began() {
        let error = Error::new(Code::Unreachable, "reach cluster eu-1").hint("start it");
        let text = failed("migrate up", &error.into(), Duration::from_secs(3));
        assert_eq!(
            text,
            "## migrate up: failed after 3.0 s\n\n`error[unreachable]`: `reach cluster eu-1`\n\
             - hint: `start it`\n"
        );
    }

    #[test]
    fn the_words_of_servers_are_no_markup() {
        assert_eq!(code_span("a <b> | *c*\nd"), "`a <b> | *c* d`");
        assert_eq!(code_span("say `x`"), "`` say `x` ``");
    }
}
