//! A failure, for people and for scripts.

use serde::Serialize;
use serde_json::{Value, json};

use super::Format;
use super::layout::hanging;
use super::style::Style;
use crate::error::{Code, Error};
use crate::report::Failure;

/// A failure for people: what was attempted, what the server said, where, and what to do next.
pub fn failure_human(error: &anyhow::Error, style: &Style) -> String {
    let typed = Error::find(error);
    let code = typed.map_or(Code::Bug, |typed| typed.code);
    let head = format!("{}: ", style.bad(&format!("error[{code}]")));
    let mut text = broken(&head, &error.to_string(), 2, style);
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let line = cause.to_string();
        // The driver calls whatever the server refuses "db error"; its own words come below.
        if line != "db error" && line != last && !is_server_words(cause) {
            text.push_str(&indented(style, "caused by", &line));
        }
        last = line;
    }
    let Some(typed) = typed else {
        text.push_str(&indented(style, "hint", "this is a mistake in tenantctl: please report it"));
        return text;
    };
    if let Some(location) = &typed.location {
        text.push_str(&indented(style, "at", &location.to_string()));
    }
    if let Some(answer) = &typed.answer {
        text.push_str(&indented(
            style,
            "server",
            &format!("{} (SQLSTATE {})", answer.message, answer.sqlstate),
        ));
        let said = [
            ("detail", &answer.detail),
            ("server hint", &answer.hint),
            ("context", &answer.context),
        ];
        for (name, words) in said {
            if let Some(words) = words {
                text.push_str(&indented(style, name, words));
            }
        }
    }
    for hint in &typed.advice() {
        text.push_str(&indented(style, &style.attention("hint"), hint));
    }
    text
}

fn is_server_words(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.to_string().starts_with("ERROR: ") || cause.to_string().starts_with("FATAL: ")
}

fn indented(style: &Style, name: &str, words: &str) -> String {
    broken(&format!("  {name}: "), words, 4, style)
}

/// Broken where a screen would break it in the middle of a word; a log keeps its lines.
fn broken(head: &str, words: &str, indent: usize, style: &Style) -> String {
    if style.is_bound() {
        return hanging(head, words, indent, style);
    }
    let between = format!("\n{}", " ".repeat(indent));
    format!("{head}{}\n", words.lines().collect::<Vec<_>>().join(&between))
}

/// A failure for scripts.
#[derive(Serialize)]
struct Fields {
    code: &'static str,
    sqlstate: Option<String>,
    message: String,
    causes: Vec<String>,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    details: Vec<String>,
    hints: Vec<String>,
}

fn fields(error: &anyhow::Error) -> Fields {
    let causes = error.chain().skip(1).map(ToString::to_string);
    match Error::find(error).map(Failure::from) {
        Some(failure) => Fields {
            code: failure.code.id(),
            sqlstate: failure.sqlstate,
            message: failure.message,
            causes: causes.filter(|cause| cause != "db error").collect(),
            file: failure.file,
            line: failure.line,
            column: failure.column,
            details: failure.details,
            hints: failure.hints,
        },
        None => Fields {
            code: Code::Bug.id(),
            sqlstate: None,
            message: error.to_string(),
            causes: causes.collect(),
            file: None,
            line: None,
            column: None,
            details: Vec::new(),
            hints: Vec::new(),
        },
    }
}

/// A failure as a part of a document.
pub(super) fn failure_value(error: &anyhow::Error) -> Value {
    json!(fields(error))
}

/// A failure for scripts: one document, on one line where every line is one.
pub fn failure_json(error: &anyhow::Error, format: Format) -> String {
    #[derive(Serialize)]
    struct Document {
        format: u32,
        error: Fields,
    }
    let document = Document { format: super::json::FORMAT, error: fields(error) };
    match format {
        Format::Ndjson => format!("{}\n", json!(document)),
        _ => super::json::text(&document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Location, ServerAnswer};

    #[test]
    fn a_failure_says_what_where_why_and_what_next() {
        let answer = ServerAnswer {
            sqlstate: "42703".to_owned(),
            message: "column \"x\" does not exist".to_owned(),
            detail: Some("two\nlines".to_owned()),
            ..ServerAnswer::default()
        };
        let error = Error::new(Code::Server, "apply migrations/V2__b.sql to tenant_acme")
            .answered(answer)
            .at(Location { file: "migrations/V2__b.sql".to_owned(), line: 3, column: 8 })
            .hint("fix the file");
        let text = failure_human(&anyhow::Error::new(error), &Style::new(false, 80));
        assert_eq!(
            text,
            "error[server]: apply migrations/V2__b.sql to tenant_acme\n  \
             at: migrations/V2__b.sql:3:8\n  \
             server: column \"x\" does not exist (SQLSTATE 42703)\n  \
             detail: two\n    lines\n  \
             hint: fix the file\n"
        );
    }
}
