//! `migrate down`: what was applied is taken back by the files that were written for it.

use std::time::Duration;

use serde_json::json;

use crate::fleet::{Fleet, statuses, target};
use crate::harness::{Invocation, OPERATOR, on_every_version};
use crate::migrate_baseline::trail;

const STEPS: [(&str, &str, &str, &str); 2] = [
    ("V2__tags.sql", "CREATE TABLE tags ();\n", "down/2__tags.sql", "DROP TABLE tags;\n"),
    (
        "V3__links.sql",
        "CREATE TABLE links ();\nALTER TABLE notes ADD COLUMN link bigint;\n",
        "down/3__links.sql",
        "-- The column first.\nALTER TABLE notes DROP COLUMN link;\nDROP TABLE links -- no end",
    ),
];

/// Tenants at version 3, with a way back from 3 and 2.
fn fleet(ids: &[&str]) -> Fleet {
    on(Fleet::new(), ids)
}

fn on(fleet: Fleet, ids: &[&str]) -> Fleet {
    for (up, sql, down, back) in STEPS {
        fleet.migration(up, sql);
        fleet.migration(down, back);
    }
    fleet.having(ids)
}

fn down(fleet: &Fleet, args: &[&str]) -> Invocation {
    fleet.tenantctl(["migrate", "down", "-o", "json", "--reason", "bad release"]).args(args)
}

#[test]
fn versions_are_taken_back_newest_first_and_once() {
    on_every_version(|world| {
        let fleet = on(Fleet::on(world), &["cat", "dog"]);
        let done = down(&fleet, &["--to", "1", "--tenant", "cat", "--yes"]).run().ok();
        let cat = target(&done, "cat");
        assert_eq!(
            [&cat["from"], &cat["to"], &cat["status"]],
            [&json!(3), &json!(1), &json!("applied")]
        );
        let order: Vec<i64> = cat["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["version"].as_i64().unwrap())
            .collect();
        assert_eq!(order, [3, 2]);
        assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
        assert_eq!(fleet.tables("tenant_cat"), ["notes"]);
        assert_eq!(fleet.tables("tenant_dog"), ["links", "notes", "tags"]);
        assert_eq!(
            trail(&fleet, "cat", "down"),
            [["begun", "bad release", "3", "1", "2"], ["done", "bad release", "3", "1", "2"]]
        );
        let again = down(&fleet, &["--to", "1", "--tenant", "cat"]).run().ok();
        assert_eq!(statuses(&again), ["cat up-to-date"]);
        // Forward again, to the same schema.
        fleet.up(&[]).run().ok();
        assert_eq!(fleet.tables("tenant_cat"), fleet.tables("tenant_dog"));
    });
}

#[test]
fn what_people_read() {
    let fleet = fleet(&["cat", "dog"]);
    let args = ["migrate", "down", "--to", "1", "--reason", "bad release"];
    fleet.tenantctl(args).args(["--dry-run"]).run().ok().snapshot("migrate_down_dry_run");
    fleet.tenantctl(args).run().code(4).snapshot("migrate_down_unconfirmed");
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags", "3 links"]);
    assert_eq!(fleet.rows("SELECT FROM tenantctl.events WHERE event = 'down'").len(), 0);
    fleet.tenantctl(args).args(["--yes", "-q"]).run().ok();
}

#[test]
fn one_tenant_that_cannot_go_back_holds_all() {
    let fleet = fleet(&["cat"]);
    fleet.migration("V4__more.sql", "CREATE TABLE more ();\n");
    fleet.up(&[]).run().ok();
    fleet.create("dog", "schema");
    fleet.sql("DELETE FROM tenant_dog.refinery_schema_history WHERE version = 4");
    let refused = down(&fleet, &["--to", "1", "--yes"]).run().code(4);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "refused");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("cat: take V4 back: there is no file that does it"), "{message}");
    assert!(!message.contains("dog"), "{message}");
    assert!(error["hints"].to_string().contains("down/4__more.sql"), "{error}");
    assert_eq!(fleet.history("tenant_dog"), ["1 notes", "2 tags", "3 links"]);

    fleet.sql("UPDATE tenant_cat.refinery_schema_history SET checksum = '12' WHERE version = 2");
    let diverged = down(&fleet, &["--to", "2", "--yes"]).run().code(4);
    assert_eq!(diverged.json()["error"]["code"], "history-diverged");
    assert_eq!(
        down(&fleet, &["--to", "7", "--yes"]).run().code(1).json()["error"]["code"],
        "not-found"
    );
    down(&fleet, &["--yes"]).run().code(64);
    let nothing = down(&fleet, &["--run", "0198", "--yes"]).run().code(1);
    assert_eq!(nothing.json()["error"]["code"], "not-found");
}

#[test]
fn a_way_back_that_fails_is_placed_and_leaves_nothing() {
    let fleet = fleet(&["cat", "dog"]);
    fleet.migration("down/2__tags.sql", "SELECT 1;\n\n  DROP TABLE tags;\nSELECT gibberish;\n");
    // In dog alone something stands on the table.
    fleet.sql("CREATE VIEW tenant_dog.v AS SELECT * FROM tenant_dog.tags");
    let failed = down(&fleet, &["--to", "1", "--yes"]).run().code(1);
    assert_eq!(statuses(&failed), ["cat failed", "dog failed"]);
    let place = |tenant: &str| {
        let error = target(&failed, tenant)["error"].clone();
        assert!(error["file"].as_str().unwrap().ends_with("down/2__tags.sql"), "{error}");
        json!([error["line"], error["column"], error["sqlstate"]])
    };
    assert_eq!(place("cat"), json!([4, 8, "42703"]));
    assert_eq!(place("dog"), json!([3, 3, "2BP01"]));
    for schema in ["tenant_cat", "tenant_dog"] {
        assert_eq!(fleet.history(schema), ["1 notes", "2 tags", "3 links"]);
        assert_eq!(fleet.tables(schema), ["links", "notes", "tags"]);
    }
    assert_eq!(target(&failed, "cat")["to"], json!(3));
}

/// The server reads the whole message before it does any of it.
#[test]
fn a_way_back_that_is_no_sql_is_placed() {
    let fleet = fleet(&["cat"]);
    fleet.migration("down/2__tags.sql", "SELECT 1;\nDROP TABEL tags;\n");
    let failed = down(&fleet, &["--to", "1", "--yes"]).run().code(1);
    let error = target(&failed, "cat")["error"].clone();
    assert!(error["file"].as_str().unwrap().ends_with("down/2__tags.sql"), "{error}");
    assert_eq!(
        [&error["line"], &error["column"], &error["sqlstate"]],
        [&json!(2), &json!(6), &json!("42601")]
    );
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags", "3 links"]);
}

#[test]
fn a_run_that_is_killed_leaves_each_tenant_on_one_side() {
    let fleet = fleet(&["cat", "dog"]);
    fleet.migration(
        "down/2__tags.sql",
        "DROP TABLE tags;\nSELECT pg_sleep(60) WHERE current_schema() = 'tenant_cat';\n",
    );
    let mut run = down(&fleet, &["--to", "1", "--yes"]).spawn();
    let sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    run.wait_until("the undo", || !fleet.rows(sleeping).is_empty());
    run.wait_until("dog", || fleet.tables("tenant_dog") == ["notes"]);
    run.kill();
    drop(run);
    fleet.sql(&format!("SELECT pg_terminate_backend(pid) FROM ({sleeping}) s"));
    assert_eq!(fleet.tables("tenant_cat"), ["links", "notes", "tags"]);
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags", "3 links"]);
    fleet.migration("down/2__tags.sql", "DROP TABLE tags;\n");
    let again = down(&fleet, &["--to", "1", "--yes"]).run().ok();
    assert_eq!(statuses(&again), ["cat applied", "dog up-to-date"]);
    assert_eq!(fleet.tables("tenant_cat"), ["notes"]);
    // What was begun and never ended is in the trail.
    let states: Vec<String> =
        trail(&fleet, "cat", "down").iter().map(|row| row[0].clone()).collect();
    assert_eq!(states, ["begun", "begun", "done"]);
}

#[test]
fn a_tenant_that_another_works_on_is_waited_for_and_named() {
    let fleet = fleet(&["cat"]);
    fleet.migration("V4__slow.sql", "SELECT pg_sleep(60);\n");
    let mut other = fleet.up(&[]).spawn();
    let sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    other.wait_until("the migration", || !fleet.rows(sleeping).is_empty());
    let args = ["--to", "2", "--yes", "--tenant-lock-wait", "100ms"];
    let busy = down(&fleet, &args).run().code(5);
    let error = &target(&busy, "cat")["error"];
    assert_eq!(error["code"], "lock-busy");
    assert!(error["hints"].to_string().contains("tenantctl/migrate"), "{error}");
    let waiting = down(&fleet, &["--to", "2", "--yes"]).spawn();
    std::thread::sleep(Duration::from_millis(100));
    fleet.sql(&format!("SELECT pg_terminate_backend(pid) FROM ({sleeping}) s"));
    let _killed = other.wait();
    waiting.wait().ok();
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags"]);
}

#[test]
fn shared_tables_go_back_for_all_who_share_them() {
    let fleet = Fleet::new();
    fleet.shared_migration("V2__tags.sql", "CREATE TABLE tags (tenant_id uuid NOT NULL);\n");
    fleet.shared_migration("down/2__tags.sql", "DROP TABLE tags;\n");
    for id in ["ann", "bob", "cho"] {
        fleet.create(id, "shared");
    }
    let some = down(&fleet, &["--to", "1", "--tenant", "ann", "--yes"]).run().code(4);
    let message = some.json()["error"]["message"].to_string();
    assert!(message.contains("bob and 1 more share its tables, and are not selected"), "{message}");
    let all = down(&fleet, &["--to", "1", "--yes"]).run().ok();
    assert_eq!(statuses(&all), ["ann applied", "bob applied", "cho applied"]);
    assert_eq!(fleet.tables("app"), ["notes"]);
    fleet.run(["verify-rls"]).ok();
}

#[test]
fn a_file_that_became_another_role_does_not_keep_the_rows() {
    let fleet = fleet(&["cat"]);
    let sql = "DROP TABLE links;\nALTER TABLE notes DROP COLUMN link;\n\
               SET LOCAL ROLE app_tenant_cat;\nSET LOCAL search_path = public;\n";
    fleet.migration("down/3__links.sql", sql);
    fleet.sql(&format!(
        "GRANT app_tenant_cat TO tenant_cat_owner; GRANT app_tenant_cat TO {OPERATOR}"
    ));
    down(&fleet, &["--to", "1", "--yes"]).run().ok();
    assert_eq!(fleet.tables("tenant_cat"), ["notes"]);
}

/// Writes a run into the ledger that applied these versions in these tenants.
fn ran(fleet: &Fleet, kind: &str, targets: &[(&str, &str)]) {
    let id = "019a61c2-7f3e-7abc-8def-0123456789ab";
    fleet.sql(&format!(
        "INSERT INTO tenantctl.runs (id, kind, state, finished_at, asked) \
         VALUES ('{id}', '{kind}', 'done', now(), '')"
    ));
    for (tenant, applied) in targets {
        fleet.sql(&format!(
            "INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, applied, state) \
             VALUES ('{id}', '{tenant}', 'main', 'app', 'tenant_{tenant}', '{applied}', 'applied')"
        ));
    }
}

#[test]
fn exactly_what_a_run_applied_is_taken_back_where_it_did() {
    let fleet = fleet(&["cat", "dog", "elk"]);
    ran(&fleet, "up", &[("cat", "{3}"), ("dog", "{2,3}"), ("elk", "{}")]);
    let args = ["--run", "019a61c2", "--yes"];
    let done = down(&fleet, &args).run().ok();
    assert_eq!(statuses(&done), ["cat applied", "dog applied"]);
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags"]);
    assert_eq!(fleet.history("tenant_dog"), ["1 notes"]);
    assert_eq!(fleet.history("tenant_elk"), ["1 notes", "2 tags", "3 links"]);
    let run = "SELECT DISTINCT detail->>'run' FROM tenantctl.events WHERE event = 'down'";
    assert_eq!(fleet.rows(run).concat(), ["019a61c2-7f3e-7abc-8def-0123456789ab"]);
    assert_eq!(statuses(&down(&fleet, &args).run().ok()), ["cat up-to-date", "dog up-to-date"]);
    let nobody = down(&fleet, &["--run", "last", "--tenant", "elk", "--yes"]).run().code(1);
    assert!(nobody.json()["error"]["message"].to_string().contains("in the selected tenants"));
}

#[test]
fn a_run_under_newer_migrations_stays() {
    let fleet = fleet(&["cat", "dog"]);
    ran(&fleet, "up", &[("cat", "{2}"), ("dog", "{2,3}")]);
    let refused = down(&fleet, &["--run", "last", "--yes"]).run().code(4);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("cat: take V2 back: V3 came on top of it"), "{message}");
    assert_eq!(fleet.history("tenant_dog"), ["1 notes", "2 tags", "3 links"]);
}

#[test]
fn a_run_that_went_back_is_not_taken_back() {
    let fleet = fleet(&["cat"]);
    ran(&fleet, "down", &[("cat", "{3}")]);
    down(&fleet, &["--run", "last", "--yes"]).run().code(4);
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags", "3 links"]);
}
