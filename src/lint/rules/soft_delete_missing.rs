//! A table whose rows are gone when they are deleted.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "soft-delete-missing",
        severity: Severity::Info,
        title: "a table has no deleted_at",
        why: "A row that is marked as deleted can be audited, restored, and erased for good when its retention ends. Logs, settings and tables that only join others need no such mark; therefore this is for your information, and never fails a run by itself.",
        example: "CREATE TABLE notes (id uuid PRIMARY KEY, body text NOT NULL);",
        fix: "deleted_at timestamptz",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .made()
        .filter(|(_, table)| !table.open && table.column("deleted_at").is_none())
        .map(|(made, table)| {
            let message = format!("rows of {} are gone when they are deleted", table.name);
            Draft::new(rule, made, message, rule.fix)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "soft-delete-missing";

    #[test]
    fn the_column_may_come_later() {
        let sql = "CREATE TABLE t (id uuid PRIMARY KEY);";
        assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:14 info"]);
        let later = "ALTER TABLE t ADD COLUMN deleted_at timestamptz;";
        assert!(found(RULE, &schema(), &[sql, later]).is_empty());
        assert!(found(RULE, &schema(), &["CREATE TEMP TABLE t (id uuid);"]).is_empty());
    }
}
