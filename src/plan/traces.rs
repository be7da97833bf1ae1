//! Whether a script changes more of its session than its own transaction.

use crate::sql::scan::statements;

/// First words of statements whose effect outlives their transaction, or belongs to the session.
const SESSION_WORDS: [&str; 7] =
    ["RESET", "LISTEN", "UNLISTEN", "PREPARE", "DECLARE", "DISCARD", "LOAD"];

/// Words anywhere in a script, also in the bodies of functions and strings that are executed, that
/// may leave something in the session: a setting, a lock, a temporary object.
const TELLTALES: [&str; 6] = ["set_config", "advisory", "temp", "setseed", "session", "execute"];

/// Whether the session must be cleaned before somebody else uses it. Says yes too often rather than
/// too seldom: it costs a message.
pub fn leaves_traces(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    TELLTALES.iter().any(|word| lower.contains(word))
        || statements(sql).any(|statement| match statement.keywords.as_slice() {
            [first, second, ..] if first == "SET" => second != "LOCAL" && second != "CONSTRAINTS",
            [first, ..] => first == "SET" || SESSION_WORDS.contains(&first.as_str()),
            [] => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_outlives_the_transaction_is_seen() {
        for sql in [
            "SET search_path = x",
            "SET ROLE x; SELECT 1",
            "SELECT set_config('a.b', 'c', false)",
            "DO $$ BEGIN PERFORM pg_advisory_lock(1); END $$",
            "CREATE TEMP TABLE t (a int)",
            "PREPARE p AS SELECT 1",
            "DO $$ BEGIN EXECUTE 'SET ROLE x'; END $$",
        ] {
            assert!(leaves_traces(sql), "{sql}");
        }
        for sql in [
            "SET LOCAL role = x",
            "SET CONSTRAINTS ALL DEFERRED",
            "UPDATE t SET a = 1; ALTER TABLE t ALTER a SET DEFAULT 1",
            "CREATE TABLE t (a int)",
        ] {
            assert!(!leaves_traces(sql), "{sql}");
        }
    }
}
