//! A table that does not say when its rows were made and changed.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::schema::Table;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "timestamps-missing",
        severity: Severity::Low,
        title: "a table lacks created_at or updated_at, or they are not filled by themselves",
        why: "When a row was made, and when it was last changed, is the first question of support, of an incremental export and of retention. Both are timestamptz NOT NULL DEFAULT now(). Tables whose rows never change need no updated_at: allow it there. A matter of style: it never fails a run by itself.",
        example: "CREATE TABLE notes (id uuid PRIMARY KEY, created_at timestamp);",
        fix: "created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (made, table) in survey.made().filter(|(_, table)| !table.open) {
        let wrong: Vec<String> = ["created_at", "updated_at"]
            .iter()
            .filter_map(|name| complaint(table, name).map(|what| format!("{name} {what}")))
            .collect();
        if !wrong.is_empty() {
            let message = format!("{}: {}", table.name, wrong.join(", "));
            drafts.push(Draft::new(rule, made, message, "timestamptz NOT NULL DEFAULT now()"));
        }
    }
    drafts
}

fn complaint(table: &Table, name: &str) -> Option<&'static str> {
    let Some(column) = table.column(name) else { return Some("is missing") };
    if !column.is_timestamptz() {
        Some("is not timestamptz")
    } else if !column.not_null {
        Some("may be NULL")
    } else if column.default.is_none() {
        Some("has no default")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "timestamps-missing";

    #[test]
    fn both_columns_are_wanted_as_the_standard_has_them() {
        let right = "CREATE TABLE t (created_at timestamptz NOT NULL DEFAULT now(),
            updated_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp());";
        assert!(found(RULE, &schema(), &[right]).is_empty());
        for sql in [
            "CREATE TABLE t (id uuid);",
            "CREATE TABLE t (created_at timestamptz NOT NULL DEFAULT now());",
            "CREATE TABLE t (created_at timestamptz DEFAULT now(), updated_at timestamptz);",
        ] {
            assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:14 low"], "{sql}");
        }
    }
}
