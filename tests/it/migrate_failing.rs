//! What `migrate up` does when a migration fails: the tenant, its file and the others.

use crate::fleet::{Fleet, statuses, target};
use crate::harness::{Postgres, World};

/// A migration of two statements, of which the second stumbles over a table `tags`.
const TAGS: (&str, &str) = (
    "V2__tags.sql",
    "CREATE TABLE labels (id bigint PRIMARY KEY);\n\n  CREATE TABLE tags (id bigint PRIMARY KEY);\n",
);

#[test]
fn one_tenant_fails_alone_and_whole() {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.migration("V3__links.sql", "CREATE TABLE links (id bigint PRIMARY KEY);\n");
    fleet.sql("CREATE TABLE tenant_dog.tags ()");

    let up = fleet.up(&["--jobs", "1"]).run().code(3);
    assert_eq!(statuses(&up), ["cat applied", "dog failed", "elk applied"]);
    let dog = target(&up, "dog");
    assert_eq!((&dog["from"], &dog["to"]), (&1.into(), &1.into()), "{dog}");
    assert_eq!(dog["pending"], serde_json::json!([2, 3]), "{dog}");
    let error = &dog["error"];
    assert_eq!(error["sqlstate"], "42P07", "{dog}");
    assert!(error["file"].as_str().unwrap().ends_with("migrations/tenant/V2__tags.sql"), "{dog}");
    assert_eq!((&error["line"], &error["column"]), (&3.into(), &3.into()), "{dog}");
    assert_eq!(fleet.tables("tenant_dog"), ["notes", "tags"]);
    assert_eq!(fleet.history("tenant_dog"), ["1 notes"]);

    fleet
        .tenantctl(["migrate", "up", "--jobs", "1"])
        .run()
        .code(3)
        .snapshot("migrate_up_one_tenant_fails");
    fleet.sql("DROP TABLE tenant_dog.tags");
    let repaired = fleet.up(&[]).run().ok();
    assert_eq!(statuses(&repaired), ["cat up-to-date", "dog applied", "elk up-to-date"]);
    assert_eq!(fleet.tables("tenant_dog"), ["labels", "links", "notes", "tags"]);
}

#[test]
fn a_failure_undoes_what_was_applied_with_it_and_nothing_else() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration("V2__links.sql", "CREATE TABLE links (id bigint PRIMARY KEY);\n");
    fleet.migration("V3__wrong.sql", "SELECT 1 / 0;\n");
    let together = fleet.up(&[]).run().code(1);
    let cat = target(&together, "cat");
    assert_eq!(cat["applied"], serde_json::json!([]), "{cat}");
    assert_eq!((&cat["to"], &cat["error"]["sqlstate"]), (&1.into(), &"22012".into()), "{cat}");
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    assert_eq!(fleet.tables("tenant_cat"), ["notes"]);

    let up = fleet.up(&["--per-file"]).run().code(1);
    let cat = target(&up, "cat");
    assert_eq!(cat["applied"], serde_json::json!([2]), "{cat}");
    assert_eq!(cat["pending"], serde_json::json!([3]), "{cat}");
    assert_eq!(cat["to"], 2, "{cat}");
    assert_eq!(cat["error"]["sqlstate"], "22012", "{cat}");
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 links"]);
}

#[test]
fn stop_leaves_the_rest_untouched() {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.sql("CREATE TABLE tenant_cat.tags ()");
    let up = fleet.up(&["--on-error", "stop", "--jobs", "1"]).run().code(3);
    assert_eq!(statuses(&up), ["cat failed", "dog pending", "elk pending"]);
    assert_eq!(fleet.history("tenant_dog"), ["1 notes"]);
    assert_eq!(fleet.history("tenant_elk"), ["1 notes"]);
}

/// The places that a server gives for a failure, or does not.
#[test]
fn every_failure_names_the_file_and_the_line() {
    let fleet = Fleet::of_schemas(&["cat"]);
    for (sql, sqlstate, line, column) in [
        // The server says where.
        ("SELECT 1;\nSELECT nothing;\n", "42703", 2, 8),
        // It says nothing: the second statement failed, and that is known.
        ("SELECT 1;\n\n-- why\n INSERT INTO notes VALUES (1), (1);\n", "23505", 4, 2),
        // It speaks of a statement inside another, which stands once in the file.
        ("SELECT 1;\nDO $$ BEGIN\n  UPDATE notes SET nothing = 1;\nEND $$;\n", "42703", 3, 20),
        ("DO $$ BEGIN\n  RAISE EXCEPTION 'no';\nEND $$;\n", "P0001", 1, 1),
        ("SELECT 1;\nDO $$ BEGIN\n  EXECUTE 'SELECT ' || 'nothing';\nEND $$;\n", "42703", 2, 1),
        ("SELECT 'é'; SELECT\n  'ü', nothing;\n", "42703", 2, 8),
    ] {
        fleet.migration("V2__wrong.sql", sql);
        let up = fleet.up(&[]).run().code(1);
        let error = &target(&up, "cat")["error"];
        assert_eq!(error["sqlstate"], sqlstate, "{sql}: {error}");
        assert!(
            error["file"].as_str().is_some_and(|file| file.ends_with("V2__wrong.sql")),
            "{error}"
        );
        assert_eq!(
            (&error["line"], &error["column"]),
            (&line.into(), &column.into()),
            "{sql}: {error}"
        );
    }
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
}

#[test]
fn one_tenants_odd_history_hides_no_other() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.sql("UPDATE tenant_cat.refinery_schema_history SET checksum = 'odd'");
    let status = fleet.status(&[]).run().code(3);
    assert_eq!(statuses(&status), ["cat diverged", "dog pending"]);
    let up = fleet.up(&[]).run().code(3);
    assert_eq!(statuses(&up), ["cat diverged", "dog applied"]);
    assert!(target(&up, "cat")["error"]["message"].as_str().unwrap().contains("\"odd\""));
}

#[test]
fn one_tenants_closed_history_hides_no_other() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.sql(
        "CREATE ROLE stranger; ALTER TABLE tenant_cat.refinery_schema_history OWNER TO stranger; \
         REVOKE ALL ON tenant_cat.refinery_schema_history FROM PUBLIC, platform",
    );
    let up = fleet.up(&[]).run().code(3);
    assert_eq!(statuses(&up), ["cat failed", "dog applied"]);
    assert_eq!(target(&up, "cat")["error"]["code"], "permission");
}

#[test]
fn everything_failing_for_one_reason_has_that_reasons_exit_code() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.migration(crate::fleet::NOTES.0, "CREATE TABLE notes (id int);\n");
    assert_eq!(statuses(&fleet.up(&[]).run().code(4)), ["cat diverged", "dog diverged"]);
    assert_eq!(statuses(&fleet.status(&[]).run().code(4)), ["cat diverged", "dog diverged"]);
}

#[test]
fn a_cluster_that_is_down_fails_its_own_tenants_alone() {
    let us = Postgres::start();
    let fleet = Fleet::with(World::new(), &us.cluster_toml("us-1", "us"));
    for (id, cluster) in [("cat", "main"), ("dog", "us-1"), ("elk", "us-1")] {
        fleet.run(["create", id, "--cluster", cluster]).ok();
    }
    fleet.migration(TAGS.0, TAGS.1);
    drop(us);
    let status = fleet.status(&[]).run().code(3);
    assert_eq!(statuses(&status), ["cat pending", "dog failed", "elk failed"]);
    let up = fleet.up(&[]).run().code(3);
    assert_eq!(statuses(&up), ["cat applied", "dog failed", "elk failed"]);
    assert_eq!(target(&up, "dog")["error"]["code"], "unreachable");
    assert!(target(&up, "dog")["error"]["message"].as_str().unwrap().contains("cluster us-1"));
    fleet.up(&["--selector", "cluster=us-1"]).run().code(6);
}

#[test]
fn a_tenant_that_is_still_being_made_is_left_to_create() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.sql("UPDATE tenantctl.tenants SET state = 'provisioning' WHERE id = 'cat'");
    let up = fleet.up(&[]).run().ok();
    assert_eq!(statuses(&up), ["cat skipped", "dog applied"]);
    assert!(target(&up, "cat")["error"]["hints"][0].as_str().unwrap().ends_with("create cat"));
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    fleet.create("cat", "schema");
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags"]);
    fleet.up(&["--check"]).run().ok();
}
