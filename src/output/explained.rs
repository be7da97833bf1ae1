//! `explain` for people, as JSON and in Markdown: every rule in the same order of parts.

use serde_json::{Value, json};

use super::layout::wrapped;
use super::style::Style;
use crate::model::count;
use crate::report::Explained;

fn value(rule: &Explained) -> Value {
    let mut value = json!({
        "rule": rule.id,
        "family": rule.family,
        "severity": rule.severity,
        "evidence": rule.evidence,
        "title": rule.title,
        "why": rule.why,
        "example": rule.example,
        "fix": rule.fix,
        "references": rule.references,
    });
    if let Some(what) = rule.what {
        value["what"] = what.into();
    }
    value
}

pub(super) fn json(rule: &Explained) -> Value {
    let mut value = value(rule);
    value["format"] = super::json::FORMAT.into();
    value
}

pub(super) fn list_json(rules: &[Explained]) -> Value {
    json!({
        "format": super::json::FORMAT,
        "rules": rules.iter().map(value).collect::<Vec<_>>(),
    })
}

/// What stands below the title of a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Prose(&'a str),
    Code(&'a str),
    List(&'a [&'a str]),
}

/// The parts of an explanation with their headings, in the order in which they are always told.
fn parts(rule: &Explained) -> impl Iterator<Item = (&'static str, Part<'_>)> {
    let references = (!rule.references.is_empty()).then_some(rule.references);
    [
        rule.what.map(|what| ("what", Part::Prose(what))),
        Some(("why", Part::Prose(rule.why))),
        Some(("example", Part::Code(rule.example))),
        Some(("fix", Part::Prose(rule.fix))),
        references.map(|references| ("references", Part::List(references))),
    ]
    .into_iter()
    .flatten()
}

/// How a rule is known, in words.
fn evidence(rule: &Explained) -> &'static str {
    match rule.evidence {
        "static" => "read from the catalogues",
        "probe" => "observed by acting as the application",
        _ => "read from migration files",
    }
}

/// How somebody says that the finding is meant so.
fn meant(rule: &Explained) -> String {
    match rule.evidence {
        "file" => format!("-- tenantctl:allow {} reason", rule.id),
        _ => format!(
            "[[verify.allow]]\nrule = \"{}\"\nreason = \"why it is safe here\"\nexpires = \"2030-01-31\"",
            rule.id
        ),
    }
}

pub(super) fn human(rule: &Explained, style: &Style) -> String {
    let mut text = format!(
        "{} ({}, {}, {})\n{}",
        style.strong(rule.id),
        rule.severity,
        rule.family,
        evidence(rule),
        wrapped(rule.title, 0, style),
    );
    for (heading, part) in parts(rule) {
        text.push_str(&format!("\n{}\n", style.attention(heading)));
        match part {
            Part::Prose(prose) => text.push_str(&wrapped(prose, 2, style)),
            Part::Code(code) => text.push_str(&indented(code)),
            Part::List(items) => items.iter().for_each(|item| text.push_str(&indented(item))),
        }
    }
    text.push_str(&format!("\n{}\n{}", style.attention("meant so"), indented(&meant(rule))));
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The width of the widest id of a list.
fn widest<'a>(rules: impl IntoIterator<Item = &'a Explained>) -> usize {
    rules.into_iter().map(|rule| rule.id.len()).max().unwrap_or_default()
}

pub(super) fn list(rules: &[Explained], style: &Style) -> String {
    let widest = widest(rules);
    let mut text = String::new();
    for family in rules.chunk_by(|a, b| a.family == b.family) {
        let name = family.first().map_or("", |rule| rule.family);
        text.push_str(&format!("{}\n", style.strong(name)));
        for rule in family {
            let head = format!("  {:<widest$}  {:<8}  ", rule.id, rule.severity);
            let title = wrapped(rule.title, 0, &style.narrower(head.len()));
            for (at, line) in title.lines().enumerate() {
                let before = if at == 0 { head.clone() } else { " ".repeat(head.len()) };
                text.push_str(&format!("{before}{line}\n"));
            }
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "{}; more about one: tenantctl explain {}\n",
        count(rules.len(), "rule"),
        rules.first().map_or("RULE", |rule| rule.id)
    ));
    text
}

pub(super) fn markdown(rule: &Explained) -> String {
    let mut text = format!(
        "### `{}`\n\n{} ({}, {}, {})\n",
        rule.id,
        rule.title,
        rule.severity,
        rule.family,
        evidence(rule)
    );
    for (heading, part) in parts(rule) {
        text.push_str(&format!("\n**{heading}**\n\n"));
        match part {
            Part::Prose(prose) => text.push_str(&format!("{prose}\n")),
            Part::Code(code) => text.push_str(&format!("```sql\n{code}\n```\n")),
            Part::List(items) => items.iter().for_each(|item| {
                let link = if item.starts_with("https://") {
                    format!("<{item}>")
                } else {
                    (*item).to_owned()
                };
                text.push_str(&format!("- {link}\n"));
            }),
        }
    }
    text
}

pub(super) fn list_markdown(rules: &[Explained]) -> String {
    let mut text = String::from(
        "| family | rule | severity | evidence | what is wrong |\n|---|---|---|---|---|\n",
    );
    for rule in rules {
        text.push_str(&format!(
            "| {} | `{}` | {} | {} | {} |\n",
            rule.family,
            rule.id,
            rule.severity,
            rule.evidence,
            super::markdown::cell(rule.title)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The headings of an explanation, in the order in which they stand.
    fn headings(text: &str) -> Vec<&str> {
        let known = ["what", "why", "example", "fix", "references", "meant so"];
        text.lines().filter(|line| known.contains(line)).collect()
    }

    #[test]
    fn every_rule_is_told_in_the_same_order() {
        for rule in Explained::all() {
            let told = human(&rule, &Style::new(false, 80));
            let mut order = vec!["why", "example", "fix"];
            if rule.family != "files" {
                order.insert(0, "what");
                order.push("references");
            }
            let with_references = order.contains(&"references") || !rule.references.is_empty();
            if with_references && !order.contains(&"references") {
                order.push("references");
            }
            order.push("meant so");
            assert_eq!(headings(&told), order, "{}", rule.id);
            let marked = markdown(&rule);
            let places: Vec<usize> = order
                .iter()
                .filter(|heading| **heading != "meant so")
                .map(|heading| marked.find(&format!("**{heading}**")).unwrap())
                .collect();
            assert!(places.is_sorted(), "{marked}");
            assert!(json(&rule)["why"].is_string());
        }
    }

    #[test]
    fn the_list_is_every_rule_with_its_severity() {
        let rules = Explained::all();
        let text = list(&rules, &Style::new(false, 80));
        for rule in &rules {
            let line =
                text.lines().find(|line| line.trim_start().starts_with(&format!("{} ", rule.id)));
            assert!(line.unwrap().contains(rule.severity.word()), "{}", rule.id);
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(list_markdown(&rules).lines().count(), rules.len() + 2);
        assert_eq!(list_json(&rules)["rules"].as_array().unwrap().len(), rules.len());
    }
}
