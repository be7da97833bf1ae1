//! A shared table whose rows do not say whose they are.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "tenant-column-missing",
        severity: Severity::High,
        title: "a shared table has no tenant column",
        why: "Rows that do not say whose they are can be kept apart by nobody: tenantctl neither guards nor grants such a table, and a grant in a file would open it to all tenants. Data that is the same for all of them (countries, currencies) is the exception: allow it, with that reason, and grant it read-only.",
        example: "CREATE TABLE notes (id uuid PRIMARY KEY, body text NOT NULL);",
        fix: "Add tenant_id uuid NOT NULL, and begin the primary key with it.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let Some(tenancy) = survey.tenancy() else { return Vec::new() };
    let column = tenancy.column.as_str();
    survey
        .made()
        .filter(|(_, table)| !table.open && table.column(column).is_none())
        .map(|(made, table)| {
            let message = format!("rows of {} do not say whose they are", table.name);
            let fix = format!(
                "add {column} and begin the primary key with it; for data common to all tenants: \
                 -- tenantctl:allow {} common data",
                rule.id
            );
            Draft::new(rule, made, message, fix)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "tenant-column-missing";

    #[test]
    fn every_shared_table_says_whose_its_rows_are() {
        let sql = "CREATE TABLE notes (id uuid PRIMARY KEY);";
        assert_eq!(found(RULE, &shared(), &[sql]), ["V1.sql:1:14 high"]);
        assert!(found(RULE, &schema(), &[sql]).is_empty());
        let later = "ALTER TABLE notes ADD COLUMN tenant_id uuid;";
        assert!(found(RULE, &shared(), &[sql, later]).is_empty());
    }

    #[test]
    fn columns_that_are_copied_count_and_unknown_ones_are_not_accused() {
        let first = "CREATE TABLE a (tenant_id uuid, id uuid);";
        let copy = "CREATE TABLE b (LIKE a INCLUDING ALL);";
        assert!(found(RULE, &shared(), &[first, copy]).is_empty());
        for sql in ["CREATE TABLE c (LIKE elsewhere);", "CREATE TABLE d AS SELECT 1 AS x;"] {
            assert!(found(RULE, &shared(), &[sql]).is_empty(), "{sql}");
        }
    }
}
