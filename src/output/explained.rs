//! `explain` for people and as JSON.

use serde_json::{Value, json};

use super::layout::wrapped;
use super::style::Style;
use crate::report::Explained;

pub(super) fn json(rule: &Explained) -> Value {
    let mut value = json!({
        "format": super::json::FORMAT,
        "rule": rule.id,
        "severity": rule.severity,
        "evidence": rule.evidence,
        "title": rule.title,
        "docs": rule.docs,
    });
    value["example"] = rule.example.into();
    if let Some(instead) = rule.instead {
        value["fix"] = instead.into();
    }
    if !rule.see.is_empty() {
        value["see"] = json!(rule.see);
    }
    value
}

pub(super) fn human(rule: &Explained, style: &Style) -> String {
    let evidence = match rule.evidence {
        "static" => "read from the catalogues",
        "probe" => "observed by acting as the application",
        _ => "read from migration files",
    };
    let mut text = format!(
        "{} ({}, {evidence})\n{}\n{}",
        style.strong(rule.id),
        rule.severity,
        wrapped(rule.title, 0, style),
        wrapped(rule.docs, 0, style)
    );
    text.push_str(&format!("\n{}\n", style.attention("breaks it")));
    for line in rule.example.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    if !rule.see.is_empty() {
        text.push_str(&format!("{}\n", style.attention("see")));
        for page in rule.see {
            text.push_str(&format!("  {page}\n"));
        }
    }
    if let Some(instead) = rule.instead {
        text.push_str(&format!("{}\n{}", style.attention("instead"), wrapped(instead, 2, style)));
        let allow = format!("-- tenantctl:allow {} reason", rule.id);
        text.push_str(&format!("{}\n  {allow}\n", style.attention("meant so")));
    }
    text
}
