//! A table whose rows cannot be told apart.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "table-without-primary-key",
        severity: Severity::Low,
        title: "a table has no primary key",
        why: "Logical replication cannot update or delete rows without one, so the tenant cannot be moved while it is in use; and of two equal rows nobody can correct the one. Partitions, temporary tables and tables made from a query are not reported.",
        example: "CREATE TABLE notes (id uuid NOT NULL, body text);",
        fix: "id uuid PRIMARY KEY DEFAULT gen_random_uuid()",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .made()
        .filter(|(_, table)| !table.open && !table.keys.iter().any(|key| key.what.primary))
        .map(|(made, table)| {
            Draft::new(rule, made, format!("{} has no primary key", table.name), rule.fix)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "table-without-primary-key";

    #[test]
    fn it_may_come_later_and_as_an_index() {
        let table = "CREATE TABLE t (id uuid);";
        assert_eq!(found(RULE, &schema(), &[table]), ["V1.sql:1:14 low"]);
        assert!(found(RULE, &schema(), &[table, "ALTER TABLE t ADD PRIMARY KEY (id);"]).is_empty());
        let index = "CREATE UNIQUE INDEX i ON t (id);
            ALTER TABLE t ADD CONSTRAINT k PRIMARY KEY USING INDEX i;";
        assert!(found(RULE, &schema(), &[table, index]).is_empty());
        assert!(found(RULE, &schema(), &["CREATE TABLE p PARTITION OF t DEFAULT;"]).is_empty());
    }
}
