//! Statements and what PostgreSQL's documentation says of them.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;
use proptest::prelude::*;

/// `object MODE, …; hazard, …` of the last statement.
fn said(sql: &str) -> String {
    let impacts = impacts(sql);
    let last = impacts.last().unwrap();
    let locks: Vec<String> =
        last.locks.iter().map(|lock| format!("{} {}", lock.object, lock.mode)).collect();
    let hazards: Vec<&str> = last.hazards.iter().map(|hazard| hazard.word()).collect();
    format!("{}; {}", locks.join(", "), hazards.join(", "))
}

#[test]
fn each_statement_has_the_lock_of_the_documentation() {
    for (sql, expected) in [
        ("CREATE INDEX i ON t (a)", "t SHARE; blocks-writes, full-scan"),
        ("CREATE UNIQUE INDEX ON ONLY s.\"T\" (a)", "s.\"T\" SHARE; blocks-writes, full-scan"),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "t SHARE UPDATE EXCLUSIVE; full-scan"),
        ("DROP INDEX i", "the table of i ACCESS EXCLUSIVE; blocks-reads"),
        ("DROP INDEX CONCURRENTLY IF EXISTS i", "the table of i SHARE UPDATE EXCLUSIVE; "),
        (
            "CREATE TABLE n (id int REFERENCES t (id), PRIMARY KEY (id))",
            "t SHARE ROW EXCLUSIVE; blocks-writes",
        ),
        ("CREATE TABLE n PARTITION OF t FOR VALUES IN (1)", "t ACCESS EXCLUSIVE; blocks-reads"),
        ("CREATE TABLE n (id int)", "; "),
        (
            "DROP TABLE IF EXISTS a, b CASCADE",
            "a ACCESS EXCLUSIVE, b ACCESS EXCLUSIVE; blocks-reads, loses-data",
        ),
        ("TRUNCATE a", "a ACCESS EXCLUSIVE; blocks-reads, loses-data"),
        (
            "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "t SHARE ROW EXCLUSIVE; blocks-writes",
        ),
        ("DROP TRIGGER g ON t", "t ACCESS EXCLUSIVE; blocks-reads"),
        ("CREATE POLICY p ON t USING (true)", "t ACCESS EXCLUSIVE; blocks-reads"),
        ("UPDATE t SET a = 1", "t ROW EXCLUSIVE; full-scan"),
        ("UPDATE t SET a = 1 WHERE id = 2", "t ROW EXCLUSIVE; "),
        ("DELETE FROM t", "t ROW EXCLUSIVE; full-scan, loses-data"),
        ("INSERT INTO t SELECT 1", "t ROW EXCLUSIVE; "),
        (
            "WITH d AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM d",
            "b ROW EXCLUSIVE, a ROW EXCLUSIVE; ",
        ),
        ("LOCK TABLE a, b IN SHARE MODE", "a SHARE, b SHARE; blocks-writes"),
        ("LOCK a", "a ACCESS EXCLUSIVE; blocks-reads"),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "v EXCLUSIVE; blocks-writes, rewrite"),
        ("VACUUM (FULL) t", "t ACCESS EXCLUSIVE; blocks-reads, rewrite"),
        ("ANALYZE t", "t SHARE UPDATE EXCLUSIVE; "),
        ("REINDEX TABLE t", "t SHARE; blocks-writes, full-scan"),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "v ACCESS EXCLUSIVE; blocks-reads"),
        ("COMMENT ON TABLE t IS 'x'", "t SHARE UPDATE EXCLUSIVE; "),
        ("COMMENT ON COLUMN s.t.a IS 'x'", "s.t SHARE UPDATE EXCLUSIVE; "),
        ("GRANT SELECT ON t TO r", "; "),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "; "),
        ("DO $$ BEGIN END $$", "; unknown"),
        ("DROP SCHEMA s CASCADE", "; loses-data"),
        ("SELECT 1", "; "),
    ] {
        assert_eq!(said(sql), expected, "{sql}");
    }
}

#[test]
fn each_action_of_alter_table_has_its_own_lock() {
    for (action, expected) in [
        ("ADD COLUMN a int", "ACCESS EXCLUSIVE; blocks-reads"),
        ("ADD a text DEFAULT 'x' NOT NULL", "ACCESS EXCLUSIVE; blocks-reads"),
        ("ADD a timestamptz DEFAULT now()", "ACCESS EXCLUSIVE; blocks-reads"),
        ("ADD a uuid DEFAULT gen_random_uuid()", "ACCESS EXCLUSIVE; blocks-reads, rewrite"),
        ("ADD a bigserial", "ACCESS EXCLUSIVE; blocks-reads, rewrite"),
        ("ADD a int GENERATED ALWAYS AS (b + 1) STORED", "ACCESS EXCLUSIVE; blocks-reads, rewrite"),
        ("ADD a int DEFAULT 1 CHECK (a > 0)", "ACCESS EXCLUSIVE; blocks-reads, full-scan"),
        ("DROP COLUMN a", "ACCESS EXCLUSIVE; blocks-reads, loses-data"),
        ("DROP CONSTRAINT c", "ACCESS EXCLUSIVE; blocks-reads"),
        ("ALTER a TYPE bigint", "ACCESS EXCLUSIVE; blocks-reads, rewrite"),
        ("ALTER COLUMN a SET NOT NULL", "ACCESS EXCLUSIVE; blocks-reads, full-scan"),
        ("ALTER a SET DEFAULT 1", "ACCESS EXCLUSIVE; blocks-reads"),
        ("ALTER a SET STATISTICS 100", "SHARE UPDATE EXCLUSIVE; "),
        ("ADD CONSTRAINT c CHECK (a > 0)", "ACCESS EXCLUSIVE; blocks-reads, full-scan"),
        ("ADD CONSTRAINT c CHECK (a > 0) NOT VALID", "ACCESS EXCLUSIVE; blocks-reads"),
        ("ADD UNIQUE (a)", "ACCESS EXCLUSIVE; blocks-reads, full-scan"),
        ("ADD CONSTRAINT c PRIMARY KEY USING INDEX i", "ACCESS EXCLUSIVE; blocks-reads"),
        ("VALIDATE CONSTRAINT c", "SHARE UPDATE EXCLUSIVE; full-scan"),
        ("ENABLE ROW LEVEL SECURITY", "ACCESS EXCLUSIVE; blocks-reads"),
        ("DISABLE TRIGGER g", "SHARE ROW EXCLUSIVE; blocks-writes"),
        ("SET (fillfactor = 70)", "SHARE UPDATE EXCLUSIVE; "),
        ("SET LOGGED", "ACCESS EXCLUSIVE; blocks-reads, rewrite"),
        ("SET (fillfactor = 70), ALTER a DROP NOT NULL", "ACCESS EXCLUSIVE; blocks-reads"),
        ("OWNER TO r", "ACCESS EXCLUSIVE; blocks-reads"),
    ] {
        assert_eq!(
            said(&format!("ALTER TABLE IF EXISTS t {action};")),
            format!("t {expected}"),
            "{action}"
        );
    }
}

#[test]
fn a_foreign_key_locks_both_tables() {
    let added = "ALTER TABLE a ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES b (id)";
    let locks = "b SHARE ROW EXCLUSIVE, a SHARE ROW EXCLUSIVE; blocks-writes";
    assert_eq!(said(added), format!("{locks}, full-scan"));
    assert_eq!(said(&format!("{added} NOT VALID")), locks);
}

#[test]
fn a_table_of_the_same_file_holds_nobody_up() {
    let file = "CREATE TABLE n (id int); CREATE INDEX ON n (id); ALTER TABLE n ADD UNIQUE (id);";
    let impacts = impacts(file);
    assert!(
        impacts.iter().all(|one| one.locks.is_empty() && one.hazards.is_empty()),
        "{impacts:?}"
    );
}

#[test]
fn a_statement_is_told_with_its_line_and_without_its_comment() {
    let found = impacts("-- why\n\nDROP TABLE a ; -- so\n");
    assert_eq!((found[0].line, found[0].sql.as_str()), (3, "DROP TABLE a"));
    assert_eq!(found.len(), 1);
}

proptest! {
    #[test]
    fn no_text_is_too_odd(
        text in "((ALTER|CREATE|DROP|TABLE|INDEX|ADD|ON|t|\"q\"|,|\\(|\\)|;|\\.|DEFAULT|f|IN|MODE|LOCK) ?){0,16}"
    ) {
        for one in impacts(&text) {
            let mut objects: Vec<&str> = one.locks.iter().map(|lock| lock.object.as_str()).collect();
            objects.sort_unstable();
            objects.dedup();
            prop_assert_eq!(objects.len(), one.locks.len());
        }
    }
}
