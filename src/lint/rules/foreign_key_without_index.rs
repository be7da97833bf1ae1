//! A foreign key that no index serves.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::schema::Table;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "foreign-key-without-index",
        severity: Severity::Medium,
        title: "no index begins with the columns of a foreign key",
        why: "PostgreSQL indexes the side that is referred to, and not the side that refers. Every DELETE of, or change of a key in, the other table then reads this one from end to end, while it holds a lock. An index serves when its first columns are those of the key, in any order; one with a predicate serves only if it merely leaves out NULL. For a table that was there before all files the finding is low: its indexes are not known.",
        example: "CREATE TABLE notes (id uuid PRIMARY KEY, author_id uuid REFERENCES users (id));",
        fix: "CREATE INDEX notes_author ON notes (author_id);",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for table in survey.schema.tables().filter(|table| !table.temporary) {
        for key in &table.foreign_keys {
            let columns = &key.what.columns;
            if columns.is_empty() || is_served(table, columns) {
                continue;
            }
            let list = columns.join(", ");
            let message =
                format!("no index of {} begins with ({list}), its foreign key", table.name);
            let fix = format!("CREATE INDEX ON {} ({list});", table.name);
            let draft = Draft::new(rule, &key.at, message, fix);
            drafts.push(if table.made.is_none() { draft.severity(Severity::Low) } else { draft });
        }
    }
    drafts
}

fn is_served(table: &Table, columns: &[String]) -> bool {
    table.leads().any(|lead| {
        lead.get(..columns.len()).is_some_and(|first| {
            columns.iter().all(|column| first.contains(&Some(column.as_str())))
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "foreign-key-without-index";

    #[test]
    fn the_referring_side_needs_an_index() {
        let bare = "CREATE TABLE n (id uuid PRIMARY KEY, u uuid REFERENCES users (id));";
        assert_eq!(found(RULE, &schema(), &[bare]), ["V1.sql:1:45 medium"]);
        let added = "ALTER TABLE n ADD FOREIGN KEY (u) REFERENCES users (id);";
        assert_eq!(found(RULE, &schema(), &[added]), ["V1.sql:1:19 low"]);
    }

    #[test]
    fn any_index_that_begins_with_its_columns_serves() {
        for index in [
            "CREATE INDEX ON n (u);",
            "CREATE INDEX ON n (u, at DESC);",
            "CREATE INDEX ON n (u) WHERE u IS NOT NULL;",
            "ALTER TABLE n ADD UNIQUE (u);",
        ] {
            let table = "CREATE TABLE n (id uuid PRIMARY KEY, u uuid REFERENCES users (id));";
            assert!(found(RULE, &schema(), &[table, index]).is_empty(), "{index}");
        }
        let pair = "CREATE TABLE n (a uuid, b uuid, PRIMARY KEY (b, a),
            FOREIGN KEY (a, b) REFERENCES m (a, b));";
        assert!(found(RULE, &schema(), &[pair]).is_empty());
    }

    #[test]
    fn one_that_leaves_rows_out_does_not() {
        let sql = "CREATE TABLE n (id uuid PRIMARY KEY, u uuid REFERENCES users (id), gone bool);
            CREATE INDEX ON n (u) WHERE gone IS NULL;";
        assert_eq!(found(RULE, &schema(), &[sql]).len(), 1);
    }
}
