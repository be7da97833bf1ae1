//! What `migrate` refuses: histories that the files do not continue, and files that cannot be used.

use std::fs;

use crate::fleet::{Fleet, NOTES, statuses, target};
use crate::harness::World;

const TAGS: (&str, &str) = ("V2__tags.sql", "CREATE TABLE tags (id bigint PRIMARY KEY);\n");

/// Changes the files of two tenants at version 2, and expects both verbs to refuse.
fn refused(change: impl FnOnce(&Fleet), parts: &[&str]) {
    let fleet = Fleet::new();
    fleet.migration(TAGS.0, TAGS.1);
    let fleet = fleet.having(&["cat", "dog"]);
    change(&fleet);
    fleet.migration("V9__more.sql", "CREATE TABLE more (id bigint PRIMARY KEY);\n");
    for outcome in [fleet.up(&[]).run().code(4), fleet.status(&[]).run().code(4)] {
        assert_eq!(statuses(&outcome), ["cat diverged", "dog diverged"]);
        let error = &target(&outcome, "cat")["error"];
        assert_eq!(error["code"], "history-diverged");
        for part in parts {
            assert!(error.to_string().contains(part), "{part} is not in {error}");
        }
    }
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags"]);
    assert_eq!(fleet.tables("tenant_cat"), ["notes", "tags"]);
    assert_eq!(fleet.tables("tenant_dog"), ["notes", "tags"]);
}

#[test]
fn an_edited_file_is_refused() {
    refused(
        |fleet| fleet.migration(TAGS.0, "CREATE TABLE tags (id int);\n"),
        &["migrations/tenant/V2__tags.sql was changed after it was applied", "new migration"],
    );
}

#[test]
fn a_missing_file_is_refused() {
    refused(
        |fleet| fleet.forget(TAGS.0),
        &["version 2 (tags) was applied and has no file", "restore V2__tags.sql in"],
    );
}

#[test]
fn a_renamed_file_is_refused() {
    refused(
        |fleet| {
            fleet.forget(TAGS.0);
            fleet.migration("V2__labels.sql", TAGS.1);
        },
        &["V2__labels.sql was applied under the name tags", "rename it back to V2__tags.sql"],
    );
}

#[test]
fn a_file_out_of_order_is_refused() {
    let fleet = Fleet::new();
    fleet.migration("V5__tags.sql", TAGS.1);
    let fleet = fleet.having(&["cat"]);
    fleet.migration("V3__late.sql", "CREATE TABLE late ();\n");
    let up = fleet.up(&[]).run().code(4);
    let error = &target(&up, "cat")["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("V3__late.sql was never applied and is older"), "{error}");
    assert!(error.to_string().contains("give"), "{error}");
    assert_eq!(fleet.tables("tenant_cat"), ["notes", "tags"]);
}

#[test]
fn a_diverged_tenant_does_not_hold_up_the_others() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.sql("UPDATE tenant_cat.refinery_schema_history SET checksum = '12'");
    fleet.migration(TAGS.0, TAGS.1);
    fleet.tenantctl(["migrate", "up"]).run().code(3).snapshot("migrate_up_one_diverged");
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    assert_eq!(fleet.history("tenant_dog"), ["1 notes", "2 tags"]);
}

/// 45 versions without a file, of tenants that were migrated at different times, are told once.
#[test]
fn a_history_that_diverged_in_many_places_is_told_briefly() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    for tenant in ["cat", "dog"] {
        fleet.sql(&format!(
            "INSERT INTO tenant_{tenant}.refinery_schema_history (version, name, applied_on, checksum) \
             SELECT n, 'step', '{}', n FROM generate_series(2, 46) n",
            if tenant == "cat" { "2026-01-01T00:00:00Z" } else { "2026-02-02T00:00:00Z" },
        ));
    }
    fleet.tenantctl(["migrate", "status"]).run().code(4).snapshot("migrate_status_45_without_file");
    for outcome in [fleet.up(&[]).run().code(4), fleet.status(&[]).run().code(4)] {
        let error = &target(&outcome, "dog")["error"];
        assert!(error.to_string().len() < 1_000, "{error}");
        assert_eq!(error["hints"].as_array().unwrap().len(), 2, "{error}");
    }
    let repair = ["migrate", "repair", "--dry-run", "--reason", "look"];
    let shown = fleet.tenantctl(repair).run().code(4);
    assert!(shown.stdout().contains("45 applied versions have no file: V2, V3, V4 and 42 more"));
}

#[test]
fn everything_wrong_with_a_directory_is_said_at_once_and_before_any_connection() {
    let fleet = Fleet::new();
    for (name, sql) in [
        ("V2__add-index.sql", "SELECT 1;\n"),
        ("v3__lower.sql", "SELECT 1;\n"),
        ("R__all-views.sql", "SELECT 1;\n"),
        ("down/V6__crlf.sql", "SELECT 1;\n"),
        ("down/5__nothing.sql", "SELECT 1;\n"),
        ("V1.2__decimal.sql", "SELECT 1;\n"),
        ("V4_one_underscore.sql", "SELECT 1;\n"),
        ("|5__pipe.sql", "SELECT 1;\n"),
        ("V01__again.sql", "SELECT 1;\n"),
        ("V6__crlf.sql", "SELECT 1;\r\nSELECT 2;\r\n"),
        ("V7__bom.sql", "\u{feff}SELECT 1;\n"),
        ("V8__commit.sql", "CREATE TABLE t ();\nCOMMIT;\n"),
        ("V9__savepoint.sql", "SELECT 1;\n  begin work;\nSAVEPOINT a;\nROLLBACK TO a;\n"),
        ("V10__psql.sql", "\\set x 1\nSELECT 1;\n"),
        ("V11__copy.sql", "COPY notes FROM STDIN;\n1\n\\.\n"),
        ("V12__open.sql", "SELECT 'never closed;\n"),
        ("V13__empty.sql", "\n"),
        // Nobody's business.
        ("README.md", "notes\r\n"),
    ] {
        fleet.migration(name, sql);
    }
    // Nothing answers here: a connection would be exit 6.
    let toml = fs::read_to_string(fleet.path("tenants.toml")).unwrap();
    let line = toml.lines().find(|line| line.starts_with("url")).unwrap();
    let nowhere = toml.replace(line, "url = \"postgres://platform@127.0.0.1:1/app\"");
    fleet.file("tenants.toml", &nowhere);
    fleet.tenantctl(["migrate", "up"]).run().code(1).snapshot("migrate_up_refuses_a_directory");
    fleet.tenantctl(["migrate", "status"]).run().code(1);
    let json = fleet.up(&[]).run().code(1).json();
    assert_eq!(json["error"]["code"], "migrations");
}

#[test]
fn a_directory_without_migrations_is_refused() {
    let fleet = Fleet::new();
    fleet.forget(NOTES.0);
    let outcome = fleet.tenantctl(["migrate", "up"]).run().code(1);
    assert!(outcome.stderr().contains("it holds no migrations"), "{}", outcome.transcript());
    let outcome = fleet.tenantctl(["migrate", "up", "--migrations", "nowhere"]).run().code(1);
    assert!(outcome.stderr().contains("nowhere"), "{}", outcome.transcript());
}

#[test]
fn what_only_looks_like_transaction_control_is_applied() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration(
        "V2__bodies.sql",
        "-- BEGIN; COMMIT;\n/* ROLLBACK; /* nested */ \\i x */\n\
         CREATE TABLE words (word text DEFAULT 'COMMIT;');\n\
         INSERT INTO words VALUES ('BEGIN;'), (E'it\\'s; END;'), ($$ROLLBACK;$$);\n\
         CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql AS $body$\nBEGIN\n  RETURN 1; -- END;\nEND;\n$body$;\n\
         DO $$ BEGIN PERFORM 1; END $$;\n\
         CREATE TABLE \"commit\" (\"begin;\" int);\n\
         CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;\n",
    );
    fleet.up(&[]).run().ok();
    assert_eq!(fleet.tables("tenant_cat"), ["commit", "notes", "words"]);
    assert_eq!(fleet.rows("SELECT word FROM tenant_cat.words ORDER BY 1").concat().len(), 3);
}

#[test]
fn directories_below_carry_no_meaning() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration("later/V3__links.sql", "CREATE TABLE links ();\n");
    fleet.migration("V2__tags.sql", TAGS.1);
    fleet.up(&[]).run().ok();
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags", "3 links"]);
}

#[test]
fn the_flag_names_a_directory_for_every_model() {
    let world = World::new();
    world.file("mine/V1__mine.sql", "CREATE TABLE mine ();\n");
    world.config("");
    world.run(["create", "cat", "--migrations", "mine"]).ok();
    world.file("mine/V2__more.sql", "CREATE TABLE more ();\n");
    world.run(["migrate", "up", "--migrations", "mine"]).ok();
    let history =
        world.rows("SELECT name FROM tenant_cat.refinery_schema_history ORDER BY version");
    assert_eq!(history.concat(), ["mine", "more"]);
}
