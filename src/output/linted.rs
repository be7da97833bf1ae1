//! `migrate lint` for people and as JSON.

use std::collections::BTreeMap;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::findings::tally;
use super::layout::wrapped;
use super::style::Style;
use crate::lint::Finding;
use crate::model::count;
use crate::model::severity::Severity;
use crate::report::Linted;

pub(super) fn json(answer: &Linted) -> Value {
    let sets: Vec<Value> = answer
        .sets
        .iter()
        .map(|set| json!({"name": set.name, "isolation": set.isolation.word(), "files": set.files}))
        .collect();
    json!({
        "format": super::json::FORMAT,
        "fail_on": answer.fail_on,
        "summary": answer.summary(),
        "sets": sets,
        "findings": answer.findings,
    })
}

/// So many places of one rule are named where it is only for information.
const NAMED: usize = 3;

pub(super) fn human(answer: &Linted, style: &Style) -> String {
    // What cannot fail the run is a matter of style: a line each is enough, or one for all.
    let shown = answer.fail_on.min(Severity::Medium);
    let mut text = String::new();
    for finding in answer.findings.iter().filter(|finding| finding.severity >= shown) {
        text.push_str(&snippet(finding, style));
        text.push_str("\n\n");
    }
    let light = |severity| {
        answer
            .findings
            .iter()
            .filter(move |found| found.severity < shown && found.severity == severity)
    };
    let mut notes: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in light(Severity::Info) {
        notes.entry(finding.rule).or_default().push(finding);
    }
    let low: Vec<String> = light(Severity::Low)
        .map(|found| format!("low   {}  {}: {}\n", place(found), found.rule, found.message))
        .collect();
    for line in low.iter().chain(&notes.values().map(|notes| noted(notes)).collect::<Vec<_>>()) {
        text.push_str(&style.faint(line.trim_end()));
        text.push('\n');
    }
    if !low.is_empty() || !notes.is_empty() {
        text.push('\n');
    }
    text.push_str(&verdict(answer, style));
    text
}

fn place(finding: &Finding) -> String {
    format!("{}:{}:{}", finding.file, finding.line, finding.column)
}

/// What one rule says for information, in one line.
fn noted(notes: &[&Finding]) -> String {
    let [first, ..] = notes else { return String::new() };
    if notes.len() == 1 {
        return format!("info  {}  {}: {}", place(first), first.rule, first.message);
    }
    let places: Vec<String> = notes.iter().take(NAMED).map(|note| place(note)).collect();
    let rest = notes.len().saturating_sub(NAMED);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("info  {} in {} places: {}{more}", first.rule, notes.len(), places.join(", "))
}

/// The number of findings, and what was looked at.
fn verdict(answer: &Linted, style: &Style) -> String {
    let summary = tally(&answer.summary());
    let gravest = answer.findings.iter().rev().max_by_key(|finding| finding.severity);
    let mut text = match gravest {
        Some(gravest) if gravest.severity >= answer.fail_on => style.bad(&summary),
        Some(_) => summary,
        None => style.good(&summary),
    };
    let sets: Vec<String> = answer
        .sets
        .iter()
        .map(|set| format!("{} of {} (as {})", count(set.files, "file"), set.name, set.isolation))
        .collect();
    text.push_str(&format!(" in {}\n", sets.join(", ")));
    if let Some(gravest) = gravest {
        text.push_str(&format!("what a rule means: tenantctl explain {}\n", gravest.rule));
    }
    text
}

/// The columns that stand before the text of a fix: a line's number, a bar, `= fix: `.
const FRAME: usize = 14;

/// A finding with its line of the file, and marks below what it is about.
fn snippet(finding: &Finding, style: &Style) -> String {
    let level = match finding.severity {
        Severity::Critical | Severity::High => Level::ERROR,
        Severity::Medium => Level::WARNING,
        Severity::Low | Severity::Info => Level::NOTE,
    };
    let byte = |column: usize| {
        let mut places = finding.source.char_indices().map(|(at, _)| at);
        places.nth(column.saturating_sub(1)).unwrap_or(finding.source.len())
    };
    let span = byte(finding.column)..byte(finding.end_column);
    let marked = Snippet::source(finding.source.as_str())
        .line_start(finding.line)
        .path(finding.file.as_str())
        .annotation(AnnotationKind::Primary.span(span));
    let fix = wrapped(&finding.fix, 0, &style.narrower(FRAME));
    let group: Group<'_> = level
        .with_name(finding.severity.word())
        .primary_title(finding.message.as_str())
        .id(finding.rule)
        .element(marked)
        .element(Level::HELP.with_name("fix").message(fix.trim_end()));
    let renderer = if style.colour() { Renderer::styled() } else { Renderer::plain() };
    renderer.term_width(style.width).render(&[group])
}
