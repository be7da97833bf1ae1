//! An index that stops writes while it is built.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "require-concurrent-index-creation",
        severity: Severity::High,
        title: "an index of an existing table is not built CONCURRENTLY",
        why: "CREATE INDEX lets nobody write to the table until it is done, in every tenant. On a table that the same file makes there is nothing to wait for, and nothing is reported. On a table that another of the judged files makes it depends on whether that file was applied before: low, and high once the file is known to be applied (--since, or when only the new files are named).",
        example: "CREATE INDEX notes_recent ON notes (updated_at DESC);",
        fix: "A file of its own, with -- tenantctl:no-transaction in its head: CREATE INDEX CONCURRENTLY notes_recent ON notes (updated_at DESC);",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for made in survey.schema.indexes_made.iter().filter(|made| !made.index.concurrently) {
        let table = &made.index.table.name;
        let blocks = format!("nobody can write to {table} until this index is built");
        let fix = "build it CONCURRENTLY, in a file with -- tenantctl:no-transaction in its head";
        let earlier = made.table_made.as_ref().map(|place| place.file);
        let draft = match earlier {
            Some(file) if file == made.at.file => continue,
            Some(file) if survey.scripts.get(file).is_some_and(|script| script.source.judged) => {
                let message = format!("{blocks}, if {} was applied before", survey.path(file));
                Draft::new(rule, &made.at, message, fix).severity(Severity::Low)
            }
            _ => Draft::new(rule, &made.at, blocks, fix),
        };
        drafts.push(draft);
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{after, found, schema};

    const RULE: &str = "require-concurrent-index-creation";
    const TABLE: &str = "CREATE TABLE t (id uuid PRIMARY KEY, a int);";
    const INDEX: &str = "CREATE INDEX ON t (a);";

    #[test]
    fn an_index_of_a_table_that_exists_is_grave() {
        assert_eq!(found(RULE, &schema(), &[INDEX]), ["V1.sql:1:1 high"]);
        assert_eq!(after(1, RULE, &schema(), &[TABLE, INDEX]), ["V2.sql:1:1 high"]);
        assert_eq!(found(RULE, &schema(), &[TABLE, INDEX]), ["V2.sql:1:1 low"]);
    }

    #[test]
    fn a_new_table_has_nobody_to_wait_for() {
        assert!(found(RULE, &schema(), &[&format!("{TABLE}{INDEX}")]).is_empty());
        let sql = "-- tenantctl:no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);";
        assert!(found(RULE, &schema(), &[sql]).is_empty());
    }
}
