//! A file that asks to run outside of a transaction, as one transaction makes the same objects.
//!
//! For a place where nobody works and nothing is to stay: there CONCURRENTLY spares nobody a wait.

use super::reading::without_concurrently;
use super::{Way, tasks};
use crate::sql::position::Position;

/// What no transaction makes as the file does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// Where the statement stands.
    pub position: Position,
    /// Why.
    pub why: &'static str,
}

/// The file without CONCURRENTLY, and without statements that change no definition (`VACUUM`,
/// `REINDEX`); every other character stays in its place.
///
/// # Errors
///
/// The first statement that leaves something behind which only it leaves.
pub fn inside(file: &str) -> Result<String, Outstanding> {
    let mut text = String::with_capacity(file.len());
    let mut end = 0;
    for task in tasks(file) {
        let statement = &task.statement;
        text.push_str(&file[end..statement.range.start]);
        end = statement.range.end;
        match &task.way {
            Way::BuildIndex(index) => text.push_str(&index.plain),
            Way::DropIndex(_) => text.push_str(&without_concurrently(statement)),
            Way::RebuildIndexes => text.push_str(&blank(statement.text)),
            // VALIDATE CONSTRAINT is a definition, the others are not.
            Way::Alone { repeatable: true }
                if statement.keywords.first().is_none_or(|word| word != "ALTER") =>
            {
                text.push_str(&blank(statement.text));
            }
            Way::Detach(_) => {
                return Err(Outstanding {
                    position: statement.position,
                    why: "DETACH PARTITION … CONCURRENTLY leaves a constraint on the partition that \
                          no transaction leaves",
                });
            }
            // The server refuses what may not run in a transaction.
            Way::Session | Way::Together | Way::Alone { .. } => text.push_str(statement.text),
        }
    }
    text.push_str(&file[end..]);
    Ok(text)
}

/// White space of the same length.
pub(in crate::plan) fn blank(text: &str) -> String {
    text.chars().map(|one| if one == '\n' { one } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_word_goes_and_nothing_moves() {
        let file = "CREATE INDEX CONCURRENTLY i ON t (a);\n-- CONCURRENTLY\n\
                    DROP INDEX CONCURRENTLY IF EXISTS j; VACUUM t;\nREINDEX TABLE CONCURRENTLY t;\n\
                    ALTER TABLE t VALIDATE CONSTRAINT c; ALTER TABLE t ADD b text DEFAULT 'ü'";
        let found = inside(file).unwrap();
        assert_eq!(found.chars().count(), file.chars().count());
        assert_eq!(found.lines().count(), file.lines().count());
        let words: Vec<&str> = found.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "CREATE INDEX i ON t (a); -- CONCURRENTLY DROP INDEX IF EXISTS j; \
             ALTER TABLE t VALIDATE CONSTRAINT c; ALTER TABLE t ADD b text DEFAULT 'ü'"
        );
        let place = |text: &str| text.chars().position(|one| one == 'ü');
        assert_eq!(place(&found), place(file));
    }

    #[test]
    fn a_detached_partition_keeps_what_no_transaction_leaves() {
        let file = "SELECT 1;\n  ALTER TABLE t DETACH PARTITION p CONCURRENTLY;";
        let outstanding = inside(file).unwrap_err();
        assert_eq!((outstanding.position.line, outstanding.position.column), (2, 3));
        assert!(inside("ALTER TABLE t DETACH PARTITION p").is_ok());
    }

    proptest! {
        #[test]
        fn what_does_not_ask_for_it_is_as_it_was(names in prop::collection::vec("[a-z]{1,5}", 0..6)) {
            let file: String =
                names.iter().map(|name| format!("CREATE TABLE x{name} (a int);\n")).collect();
            prop_assert_eq!(inside(&file).unwrap(), file);
        }
    }
}
