//! `migrate lint` for people and as JSON.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::findings::tally;
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

pub(super) fn human(answer: &Linted, style: &Style) -> String {
    // What cannot fail the run is a matter of style: a line each is enough.
    let shown = answer.fail_on.min(Severity::Medium);
    let (grave, light): (Vec<&Finding>, Vec<&Finding>) =
        answer.findings.iter().partition(|finding| finding.severity >= shown);
    let mut text = String::new();
    for finding in &grave {
        text.push_str(&snippet(finding, style));
        text.push_str("\n\n");
    }
    for finding in &light {
        let place = format!("{}:{}:{}", finding.file, finding.line, finding.column);
        let line =
            format!("{:<4} {}  {}: {}", finding.severity, place, finding.rule, finding.message);
        text.push_str(&format!("{}\n", style.faint(&line)));
    }
    if !light.is_empty() {
        text.push('\n');
    }
    let summary = tally(&answer.summary());
    let failed = answer.findings.iter().any(|finding| finding.severity >= answer.fail_on);
    text.push_str(&if failed {
        style.bad(&summary)
    } else if answer.findings.is_empty() {
        style.good(&summary)
    } else {
        summary
    });
    let sets: Vec<String> = answer
        .sets
        .iter()
        .map(|set| format!("{} of {} (as {})", count(set.files, "file"), set.name, set.isolation))
        .collect();
    text.push_str(&format!(" in {}\n", sets.join(", ")));
    if let Some(first) = grave.first().or(light.first()) {
        text.push_str(&format!("what a rule means: tenantctl explain {}\n", first.rule));
    }
    text
}

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
    let group: Group<'_> = level
        .with_name(finding.severity.word())
        .primary_title(finding.message.as_str())
        .id(finding.rule)
        .element(marked)
        .element(Level::HELP.with_name("fix").message(finding.fix.as_str()));
    let renderer = if style.colour() { Renderer::styled() } else { Renderer::plain() };
    renderer.term_width(style.width).render(&[group])
}
