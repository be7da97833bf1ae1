//! SARIF 2.1.0, for code scanning and editors.

use serde_json::{Value, json};

use super::notice::{Notice, Notices, Place, justification};
use crate::audit::Suppression;
use crate::model::severity::Severity;
use crate::report::Explained;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn render(notices: &Notices<'_>) -> String {
    let rules = notices.rules();
    let described: Vec<Value> = rules
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": full(rule)},
                "help": {"text": format!("{}\n\ntenantctl explain {}", rule.fix, rule.id)},
                "defaultConfiguration": {"level": level(rule.severity)},
                "properties": {
                    "tags": ["security", rule.family],
                    "security-severity": score(rule.severity),
                },
            })
        })
        .collect();
    let results: Vec<Value> = notices
        .all
        .iter()
        .map(|notice| {
            let mut result = json!({
                "ruleId": notice.rule,
                "level": level(notice.severity),
                "message": {"text": format!("{}. {}", notice.message, notice.fix)},
                "locations": [location(notice)],
                "partialFingerprints": {"tenantctl/v1": notice.fingerprint},
                "properties": {"severity": notice.severity.word()},
            });
            if let Some(statements) = notice.reproduce {
                result["properties"]["reproduce"] = statements.into();
            }
            if let Some(suppression) = notice.suppressed {
                result["suppressions"] = json!([{
                    "kind": "external",
                    "status": "accepted",
                    "justification": justification(suppression),
                }]);
            }
            if notices.compared {
                let known = notice.suppressed == Some(&Suppression::Baseline);
                result["baselineState"] = if known { "unchanged" } else { "new" }.into();
            }
            if let Some(index) = rules.iter().position(|rule| rule.id == notice.rule) {
                result["ruleIndex"] = index.into();
            }
            result
        })
        .collect();
    super::json::text(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tenantctl",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "invocations": [{
                "executionSuccessful": notices.whole,
                "toolExecutionNotifications": notifications(notices),
            }],
            "automationDetails": {"id": format!("tenantctl {}/", notices.command)},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

/// What a rule is about and what it costs, as one text.
fn full(rule: &Explained) -> String {
    rule.what.map_or_else(|| rule.why.to_owned(), |what| format!("{what} {}", rule.why))
}

/// What is to be said about the run itself.
fn notifications(notices: &Notices<'_>) -> Vec<Value> {
    let remarks = notices.remarks.iter();
    remarks
        .map(|remark| {
            json!({
                "level": if remark.grave { "error" } else { "note" },
                "message": {"text": format!("{}: {}", remark.title, remark.message)},
            })
        })
        .collect()
}

/// How code scanning ranks severities: a number from 0 to 10.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "0.0",
    }
}

fn location(notice: &Notice<'_>) -> Value {
    match &notice.place {
        Place::File { path, line, column, end_column } => json!({
            "physicalLocation": {
                "artifactLocation": {"uri": uri(path)},
                "region": {"startLine": line, "startColumn": column, "endColumn": end_column},
            },
        }),
        Place::Object { kind, name } => json!({
            "logicalLocations": [{"fullyQualifiedName": name, "kind": kind}],
        }),
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// A path as a reference: what a URI cannot hold is escaped.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_references() {
        assert_eq!(uri("./migrations/V1__a b.sql"), "migrations/V1__a%20b.sql");
        assert_eq!(uri("/srv/ü.sql"), "file:///srv/%C3%BC.sql");
    }
}
