//! `runs list` and `runs show`, for people and as JSON.

use serde_json::{Value, json};
use uuid::Uuid;

use super::json::FORMAT;
use super::layout::{table, version};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::model::migration::Version;
use crate::model::run::{RunError, RunOverview, RunState, RunTarget, TargetState};
use crate::report::{Runs, ShownRun};

/// So many rows are read one by one; of more, those that stand alike are counted.
const READABLE: usize = 20;

/// So many tenants that stand alike are named.
const NAMED: usize = 10;

/// So much of an id no two runs share that did not begin in the same millisecond.
const SHORT: usize = 13;

/// How a run stands, in one word: a process that died left none itself.
fn standing(overview: &RunOverview) -> &'static str {
    if overview.was_killed() { "killed" } else { overview.run.state.word() }
}

/// How a tenant stands. What a killed run was at, nobody knows before its history is read.
fn state(overview: &RunOverview, state: TargetState) -> &'static str {
    if overview.was_killed() && state == TargetState::Running { "unknown" } else { state.word() }
}

fn short(overview: &RunOverview) -> String {
    shortened(overview.run.id)
}

/// As much of an id as people need.
pub(super) fn shortened(id: Uuid) -> String {
    id.to_string().chars().take(SHORT).collect()
}

fn painted_run(overview: &RunOverview, style: &Style) -> String {
    let word = standing(overview);
    match overview.run.state {
        RunState::Done => style.good(word),
        RunState::Failed => style.bad(word),
        RunState::Running if overview.was_killed() => style.bad(word),
        RunState::Running | RunState::Stopped | RunState::Interrupted => style.attention(word),
    }
}

fn painted(overview: &RunOverview, of: TargetState, style: &Style) -> String {
    let word = state(overview, of);
    match of {
        TargetState::Applied | TargetState::UpToDate => style.good(word),
        TargetState::Failed => style.bad(word),
        TargetState::Pending
        | TargetState::Running
        | TargetState::Waiting
        | TargetState::Skipped => style.attention(word),
    }
}

fn done(overview: &RunOverview) -> usize {
    overview.tenants() - overview.left()
}

/// A column's name, whether it says anything, and what it says of a run.
type Column<'a> = (&'static str, bool, Box<dyn Fn(&RunOverview) -> String + 'a>);

/// What a narrow screen goes without, first things first; `runs show` tells it.
const DISPENSABLE: [&str; 4] = ["asked", "kind", "took", "left"];

/// What was asked for may be broken, into lines that are not shorter than this.
const BREAKABLE: (&str, usize) = ("asked", 24);

pub(super) fn runs(answer: &Runs, style: &Style) -> String {
    let Some(newest) = answer.runs.first() else {
        let why = if answer.remembered { "yet" } else { "yet, and no registry to remember them" };
        return format!("no runs {why}\n");
    };
    let mut text = listing(&answer.runs, style);
    if answer.more {
        text.push_str("there are older ones: see more with --limit\n");
    }
    if can_go_on(newest) {
        let hint = style.attention("hint");
        let id = short(newest);
        text.push_str(&format!("{hint}: see what is left with: tenantctl runs show {id}\n"));
        text.push_str(&go_on(newest, style));
    }
    text
}

/// Runs as a table, one row each.
pub(super) fn listing(runs: &[RunOverview], style: &Style) -> String {
    let any = |told: &dyn Fn(&RunOverview) -> bool| runs.iter().any(told);
    let failed = |one: &RunOverview| one.count(TargetState::Failed);
    let left = move |one: &RunOverview| one.left() - failed(one);
    let kind = runs.first().map(|newest| newest.run.kind);
    let columns: [Column<'_>; 9] = [
        ("run", true, Box::new(short)),
        ("kind", any(&|one| Some(one.run.kind) != kind), Box::new(|one| one.run.kind.to_string())),
        ("state", true, Box::new(|one| painted_run(one, style))),
        ("begun", true, Box::new(|one| one.run.started.clone())),
        ("took", true, Box::new(took)),
        ("done", true, Box::new(|one| format!("{} of {}", done(one), one.tenants()))),
        ("failed", any(&|one| failed(one) > 0), Box::new(move |one| failed(one).to_string())),
        ("left", any(&|one| left(one) > 0), Box::new(move |one| left(one).to_string())),
        ("asked", any(&|one| !one.run.asked.is_empty()), Box::new(|one| asked(one).to_owned())),
    ];
    let mut shown: Vec<(&str, Vec<String>)> = columns
        .iter()
        .filter(|(_, says_something, _)| *says_something)
        .map(|(name, _, cell)| (*name, runs.iter().map(cell).collect()))
        .collect();
    for dispensable in DISPENSABLE {
        if shown.iter().map(|(name, cells)| needed(name, cells)).sum::<usize>() > style.width {
            shown.retain(|(name, _)| *name != dispensable);
        }
    }
    let header: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
    let row = |at: usize| shown.iter().filter_map(|(_, cells)| cells.get(at).cloned()).collect();
    table(&header, (0..runs.len()).map(row).collect(), style)
}

/// How wide a column is that nothing breaks, with the gap behind it.
fn needed(name: &str, cells: &[String]) -> usize {
    let widest = cells.iter().map(|cell| console::measure_text_width(cell)).max();
    let widest = widest.unwrap_or_default().max(name.len());
    let (breakable, least) = BREAKABLE;
    2 + if name == breakable { widest.min(least) } else { widest }
}

fn asked(overview: &RunOverview) -> &str {
    if overview.run.asked.is_empty() { "-" } else { &overview.run.asked }
}

fn took(overview: &RunOverview) -> String {
    // A run that was killed ended at a time that nobody noted.
    if overview.was_killed() { "?".to_owned() } else { duration(overview.took) }
}

/// Whether there is something left for somebody who resumes it.
fn can_go_on(overview: &RunOverview) -> bool {
    overview.process.is_none() && (overview.left() > 0 || overview.was_killed())
}

fn go_on(overview: &RunOverview, style: &Style) -> String {
    let hint = style.attention("hint");
    format!("{hint}: go on with it: tenantctl runs resume {}\n", short(overview))
}

pub(super) fn run(answer: &ShownRun, style: &Style) -> String {
    let overview = &answer.overview;
    let id = overview.run.id.to_string();
    let mut text = format!("run {}\n{}", style.strong(&id), facts(overview, style));
    let mut sections = vec![failures(answer, style), waits(answer, style), left(answer, style)];
    sections.push(if answer.targets.is_empty() && overview.tenants() > 0 {
        "no tenant of it stands like that\n".to_owned()
    } else {
        rows(answer, style)
    });
    if can_go_on(overview) {
        sections.push(go_on(overview, style));
    }
    for section in sections.iter().filter(|section| !section.is_empty()) {
        text.push('\n');
        text.push_str(section);
    }
    text
}

fn facts(overview: &RunOverview, style: &Style) -> String {
    let run = &overview.run;
    let word = painted_run(overview, style);
    let standing = match (&run.finished, overview.process) {
        (Some(finished), _) => format!("{word} at {finished}, after {}", duration(overview.took)),
        (None, Some(pid)) => {
            format!("{word} for {}, pid {pid} of the server", duration(overview.took))
        }
        (None, None) => {
            format!("{word}: its process died, and only a resumed run finds out how far it came")
        }
    };
    let goal = run.to.map_or_else(|| "the newest of the files".to_owned(), |to| format!("V{to}"));
    let mut counts: Vec<(&TargetState, &usize)> = overview.counts.iter().collect();
    counts.sort_by_key(|(of, _)| urgency(**of));
    let counts: Vec<String> = counts
        .iter()
        .map(|(of, number)| format!("{number} {}", painted(overview, **of, style)))
        .collect();
    let tenants = match overview.tenants() {
        0 => "0".to_owned(),
        number => format!("{number}: {}", counts.join(", ")),
    };
    let facts = [
        ("state", standing),
        ("kind", run.kind.to_string()),
        ("asked", asked(overview).to_owned()),
        ("goal", goal),
        ("begun", format!("{} by {}", run.started, run.actor)),
        ("tenants", tenants),
    ];
    facts.iter().map(|(name, fact)| format!("  {name:<8} {fact}\n")).collect()
}

/// Tenants of which the same is to be said, in the order in which they come.
fn alike<'a, K: PartialEq>(
    targets: impl Iterator<Item = &'a RunTarget>,
    key: impl Fn(&RunTarget) -> K,
) -> Vec<(K, Vec<&'a RunTarget>)> {
    let mut groups: Vec<(K, Vec<&RunTarget>)> = Vec::new();
    for target in targets {
        let key = key(target);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(target),
            None => groups.push((key, vec![target])),
        }
    }
    groups
}

fn names(targets: &[&RunTarget]) -> String {
    let named: Vec<&str> = targets.iter().take(NAMED).map(|one| one.tenant.as_str()).collect();
    match targets.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// A text as it would read for any other tenant: what must agree for two to be one.
fn without_its_place(text: &str, target: &RunTarget) -> String {
    text.replace(target.placement.schema.as_str(), "").replace(target.tenant.as_str(), "")
}

/// Each failure once, with the tenants that it struck.
fn failures(answer: &ShownRun, style: &Style) -> String {
    let failed = answer.targets.iter().filter(|target| target.error.is_some());
    let mut groups = alike(failed, |target| {
        let told = target.error.as_ref().map(|error| {
            (
                &error.code,
                &error.sqlstate,
                without_its_place(&error.message, target),
                &error.location,
            )
        });
        format!("{:?} {told:?}", target.state)
    });
    groups.sort_by_key(|(_, struck)| struck.first().map(|one| urgency(one.state)));
    let mut text = String::new();
    for (_, struck) in groups {
        let Some((first, error)) = struck.first().and_then(|one| Some((one, one.error.as_ref()?)))
        else {
            continue;
        };
        let name = format!("{} {}", first.state.word(), names(&struck));
        let name = if first.state == TargetState::Failed {
            style.bad(&name)
        } else {
            style.attention(&name)
        };
        text.push_str(&format!("{name}: {}\n", error.message));
        if let Some(location) = &error.location {
            text.push_str(&format!("  at: {location}\n"));
        }
        match &error.sqlstate {
            Some(sqlstate) => text.push_str(&format!("  sqlstate: {sqlstate}\n")),
            None => text.push_str(&format!("  code: {}\n", error.code)),
        }
        if let Some(cause) = &first.cause {
            text.push_str(&format!("  waited for: {cause}\n"));
        }
    }
    text
}

/// Whom tenants wait for.
fn waits(answer: &ShownRun, style: &Style) -> String {
    let waiting = answer.targets.iter().filter(|target| target.state == TargetState::Waiting);
    let mut text = String::new();
    for (cause, group) in alike(waiting, |target| target.cause.clone()) {
        let whom = cause.unwrap_or_else(|| "somebody who is not known".to_owned());
        let name = style.attention(&format!("waiting {}", names(&group)));
        text.push_str(&format!("{name}: for {whom}\n"));
    }
    text
}

/// What was begun and not ended, and what was not begun.
fn left(answer: &ShownRun, style: &Style) -> String {
    let overview = &answer.overview;
    let of = |state: TargetState| -> Vec<&RunTarget> {
        answer
            .targets
            .iter()
            .filter(|target| target.state == state && target.error.is_none())
            .collect()
    };
    let mut text = String::new();
    let killed = overview.was_killed();
    for (which, told, told_of_a_killed_run) in [
        (TargetState::Running, "begun, not ended", "begun when the run was killed"),
        (TargetState::Skipped, "not touched", "not touched"),
        (TargetState::Pending, "not begun", "not begun, as far as it was noted"),
    ] {
        let left = of(which);
        if left.is_empty() {
            continue;
        }
        let told = if killed { told_of_a_killed_run } else { told };
        let name = format!("{} {}", state(overview, which), names(&left));
        text.push_str(&format!("{}: {told}\n", style.attention(&name)));
    }
    text
}

/// Every tenant; of many, those that stand alike are counted, and come last when they stand well.
fn rows(answer: &ShownRun, style: &Style) -> String {
    let mut order: Vec<&RunTarget> = answer.targets.iter().collect();
    order.sort_by_key(|target| urgency(target.state));
    let row = |target: &RunTarget, name: String, schema: String| {
        vec![
            name,
            schema,
            version(target.from),
            version(target.goal),
            painted(&answer.overview, target.state, style),
            target.attempts.to_string(),
            duration(target.took),
        ]
    };
    let mut rows = Vec::new();
    if order.len() <= READABLE {
        for target in order {
            let placement = &target.placement;
            let schema = format!("{}.{}", placement.database, placement.schema);
            rows.push(row(target, target.tenant.to_string(), schema));
        }
    } else {
        let key = |target: &RunTarget| (target.state, target.from, target.goal);
        for (_, group) in alike(order.into_iter(), key) {
            let [first, ..] = group.as_slice() else { continue };
            let mut row = row(first, count(group.len(), "tenant"), "-".to_owned());
            if group.len() > 1 {
                row[5] = most(group.iter().map(|one| one.attempts), |tries| tries.to_string());
                row[6] = most(group.iter().map(|one| one.took), duration);
            } else {
                row[0] = first.tenant.to_string();
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    table(&["tenant", "schema", "from", "goal", "state", "tries", "took"], rows, style)
}

/// What all have, or what none has more of.
fn most<V: Ord + Copy>(of: impl Iterator<Item = V> + Clone, said: impl Fn(V) -> String) -> String {
    match (of.clone().min(), of.max()) {
        (Some(least), Some(most)) if least != most => format!("up to {}", said(most)),
        (_, Some(alike)) => said(alike),
        _ => String::new(),
    }
}

/// What a reader wants to see first.
fn urgency(state: TargetState) -> u8 {
    match state {
        TargetState::Failed => 0,
        TargetState::Waiting => 1,
        TargetState::Running => 2,
        TargetState::Skipped => 3,
        TargetState::Pending => 4,
        TargetState::Applied => 5,
        TargetState::UpToDate => 6,
    }
}

pub(super) fn runs_json(answer: &Runs) -> Value {
    json!({
        "format": FORMAT,
        "more": answer.more,
        "runs": answer.runs.iter().map(overview_json).collect::<Vec<_>>(),
    })
}

pub(super) fn run_json(answer: &ShownRun) -> Value {
    let mut value = overview_json(&answer.overview);
    let targets: Vec<Value> =
        answer.targets.iter().map(|target| target_json(&answer.overview, target)).collect();
    value["format"] = FORMAT.into();
    value["targets"] = targets.into();
    value
}

pub(super) fn overview_json(overview: &RunOverview) -> Value {
    let run = &overview.run;
    let killed = overview.was_killed();
    let running = overview.count(TargetState::Running);
    json!({
        "run": run.id.to_string(),
        "kind": run.kind.word(),
        "state": standing(overview),
        "started": run.started,
        "finished": run.finished,
        "took_ms": if killed { Value::Null } else { milliseconds(overview.took) },
        "actor": run.actor,
        "asked": run.asked,
        "goal": run.to.map(|version| version.0),
        "server_process": overview.process,
        "left": overview.left(),
        "summary": {
            "applied": overview.count(TargetState::Applied),
            "failed": overview.count(TargetState::Failed),
            "pending": overview.count(TargetState::Pending),
            "running": if killed { 0 } else { running },
            "skipped": overview.count(TargetState::Skipped),
            "unknown": if killed { running } else { 0 },
            "up_to_date": overview.count(TargetState::UpToDate),
            "waiting": overview.count(TargetState::Waiting),
        },
    })
}

fn target_json(overview: &RunOverview, target: &RunTarget) -> Value {
    json!({
        "tenant": target.tenant.as_str(),
        "cluster": target.placement.cluster.as_str(),
        "database": target.placement.database.as_str(),
        "schema": target.placement.schema.as_str(),
        "from": target.from.map(|version| version.0),
        "goal": target.goal.map(|version| version.0),
        "applied": target.applied.iter().map(|Version(number)| number).collect::<Vec<_>>(),
        "status": state(overview, target.state),
        "cause": target.cause,
        "attempts": target.attempts,
        "took_ms": milliseconds(target.took),
        "error": target.error.as_ref().map(error_json),
    })
}

fn error_json(error: &RunError) -> Value {
    let place = error.location.as_deref().map(place);
    json!({
        "code": error.code,
        "sqlstate": error.sqlstate,
        "message": error.message,
        "file": place.map(|(file, ..)| file),
        "line": place.and_then(|(_, line, _)| line),
        "column": place.and_then(|(.., column)| column),
    })
}

/// A location apart: file, line, column.
fn place(location: &str) -> (&str, Option<usize>, Option<usize>) {
    let mut parts = location.rsplitn(3, ':');
    let (column, line, file) = (parts.next(), parts.next(), parts.next());
    match (file, line.map(str::parse), column.map(str::parse)) {
        (Some(file), Some(Ok(line)), Some(Ok(column))) => (file, Some(line), Some(column)),
        _ => (location, None, None),
    }
}

fn milliseconds(took: std::time::Duration) -> Value {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into()
}
