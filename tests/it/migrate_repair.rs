//! `migrate repair`: a history that differs from the files is shown, and mended where the SQL is
//! theirs.

use serde_json::json;

use crate::fleet::{Fleet, NOTES, statuses, target};
use crate::harness::{Invocation, on_every_version};
use crate::migrate_baseline::trail;

const TAGS: &str = "CREATE TABLE tags (id bigint PRIMARY KEY);\n";
const LINKS: &str = "CREATE TABLE links (id bigint PRIMARY KEY);\n\
                     CREATE INDEX links_id ON links (id);\n";

/// Two tenants at version 3.
fn fleet() -> Fleet {
    let fleet = Fleet::new();
    fleet.migration("V2__tags.sql", TAGS);
    fleet.migration("V3__links.sql", LINKS);
    fleet.having(&["cat", "dog"])
}

fn repair(fleet: &Fleet, args: &[&str]) -> Invocation {
    fleet.tenantctl(["migrate", "repair", "-o", "json", "--reason", "#4711"]).args(args)
}

/// `version name checksum` of every row.
fn rows(fleet: &Fleet, schema: &str) -> Vec<Vec<String>> {
    fleet.rows(&format!("SELECT * FROM {schema}.refinery_schema_history ORDER BY version"))
}

/// What `repair` found in a tenant: version and difference.
fn found(outcome: &crate::harness::Outcome, tenant: &str, list: &str) -> Vec<String> {
    target(outcome, tenant)[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row["version"], row["difference"].as_str().unwrap()))
        .collect()
}

#[test]
fn what_is_the_same_sql_is_mended() {
    let fleet = fleet();
    let before = rows(&fleet, "tenant_dog");
    fleet.forget("V2__tags.sql");
    fleet.migration("V2__labels.sql", TAGS);
    fleet.migration("V3__links.sql", LINKS.trim_end());
    fleet.up(&[]).run().code(4);

    let dry = repair(&fleet, &["--dry-run"]).run().ok();
    assert_eq!(statuses(&dry), ["cat pending", "dog pending"]);
    assert_eq!(found(&dry, "cat", "changes"), ["2 renamed", "3 edge-whitespace"]);
    let unconfirmed = repair(&fleet, &[]).run().code(4);
    assert_eq!(unconfirmed.json()["error"]["code"], "refused");
    assert_eq!(rows(&fleet, "tenant_dog"), before);

    let done = repair(&fleet, &["--yes"]).run().ok();
    assert_eq!(statuses(&done), ["cat applied", "dog applied"]);
    assert_eq!(fleet.history("tenant_dog"), ["1 notes", "2 labels", "3 links"]);
    // When they were applied is not ours to say.
    let times = |rows: &[Vec<String>]| rows.iter().map(|row| row[2].clone()).collect::<Vec<_>>();
    assert_eq!(times(&rows(&fleet, "tenant_dog")), times(&before));
    fleet.up(&["--check"]).run().ok();
    assert_eq!(
        trail(&fleet, "cat", "repair"),
        [["begun", "#4711", "3", "3", "2"], ["done", "#4711", "3", "3", "2"]]
    );
    let kept = "SELECT detail->'rows'->0->'was'->>'name', detail->'rows'->0->'now'->>'name', \
                detail->'rows'->0->'was'->>'checksum' \
                FROM tenantctl.events WHERE tenant = 'dog' AND event = 'repair' LIMIT 1";
    assert_eq!(fleet.rows(kept), [["tags", "labels", &before[1][3]]]);
    assert_eq!(statuses(&repair(&fleet, &[]).run().ok()), ["cat up-to-date", "dog up-to-date"]);
}

#[test]
fn what_was_edited_or_has_no_file_wants_to_be_accepted() {
    let fleet = fleet();
    fleet.migration("V2__tags.sql", "CREATE TABLE tags (id bigint PRIMARY KEY, name text);\n");
    fleet.forget("V3__links.sql");
    fleet.forget(NOTES.0);
    fleet.migration("V1__remarks.sql", NOTES.1);
    let args = ["migrate", "repair", "--reason", "#4711"];
    fleet.tenantctl(args).args(["--dry-run"]).run().code(4).snapshot("migrate_repair_dry_run");

    // What may be mended is; the rest is named, and how to have it.
    let some = repair(&fleet, &["--yes"]).run().code(4);
    assert_eq!(statuses(&some), ["cat diverged", "dog diverged"]);
    assert_eq!(found(&some, "cat", "changes"), ["1 renamed"]);
    assert_eq!(found(&some, "cat", "refused"), ["2 edited", "3 no-file"]);
    assert_eq!(fleet.history("tenant_cat"), ["1 remarks", "2 tags", "3 links"]);

    let accepted = ["--accept", "2", "--accept", "V3", "--tenant", "cat", "--yes"];
    let done = repair(&fleet, &accepted).run().ok();
    assert_eq!(target(&done, "cat")["to"], json!(2));
    assert_eq!(fleet.history("tenant_cat"), ["1 remarks", "2 tags"]);
    // The schema's objects are as they were.
    assert_eq!(fleet.tables("tenant_cat"), ["links", "notes", "tags"]);
    assert_eq!(statuses(&fleet.status(&[]).run().code(3)), ["cat up-to-date", "dog diverged"]);
    repair(&fleet, &accepted).run().ok();
}

#[test]
fn a_history_of_a_narrow_refinery_is_widened() {
    on_every_version(|world| {
        let fleet = Fleet::on(world);
        fleet.migration("V1__notes.sql", "SELECT 1;\n");
        let fleet = fleet.having(&["cat"]);
        // refinery's own row for this file, without int8-versions; the name is in its checksum.
        fleet.forget("V1__notes.sql");
        fleet.migration("V1__init.sql", "SELECT 1;\n");
        fleet.sql(
            "ALTER TABLE tenant_cat.refinery_schema_history ALTER COLUMN version TYPE int4; \
             UPDATE tenant_cat.refinery_schema_history \
             SET name = 'init', checksum = '7056326092187138967'",
        );
        let up = fleet.up(&[]).run().code(4);
        assert!(target(&up, "cat")["error"]["hints"].to_string().contains("migrate repair"));
        let done = repair(&fleet, &["--yes"]).run().ok();
        assert_eq!(found(&done, "cat", "changes"), ["1 narrow-version"]);
        let row =
            "SELECT version, checksum, pg_typeof(version) FROM tenant_cat.refinery_schema_history";
        assert_eq!(fleet.rows(row), [["1", "3299123524457102491", "bigint"]]);
        fleet.migration("V2__tags.sql", TAGS);
        fleet.up(&[]).run().ok();
    });
}

#[test]
fn a_history_that_cannot_be_written_stays_whole() {
    let fleet = fleet();
    for (version, name) in [(1, "a"), (2, "b")] {
        let rename = format!(
            "UPDATE tenant_cat.refinery_schema_history SET name = '{name}', \
             checksum = '12' WHERE version = {version}"
        );
        fleet.sql(&rename);
    }
    // The first row can be changed, the second cannot.
    fleet.sql(
        "CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
         CREATE TRIGGER no BEFORE UPDATE ON tenant_cat.refinery_schema_history \
         FOR EACH ROW WHEN (old.version = 2) EXECUTE FUNCTION public.no()",
    );
    let before = rows(&fleet, "tenant_cat");
    let args = ["--yes", "--accept", "1", "--accept", "2"];
    let failed = repair(&fleet, &args).run().code(3);
    assert_eq!(statuses(&failed), ["cat failed", "dog up-to-date"]);
    assert_eq!(rows(&fleet, "tenant_cat"), before);
    let states: Vec<String> =
        trail(&fleet, "cat", "repair").iter().map(|row| row[0].clone()).collect();
    assert_eq!(states, ["begun", "failed"]);
}

#[test]
fn a_tenant_that_is_being_migrated_is_waited_for() {
    let fleet = fleet();
    fleet.migration("V4__slow.sql", "SELECT pg_sleep(60);\n");
    let mut other = fleet.up(&["--tenant", "cat"]).spawn();
    let sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    other.wait_until("the migration", || !fleet.rows(sleeping).is_empty());
    fleet.migration("V3__links.sql", LINKS.trim_end());
    let before = rows(&fleet, "tenant_cat");
    let args = ["--yes", "--tenant", "cat", "--tenant-lock-wait", "100ms"];
    assert_eq!(statuses(&repair(&fleet, &args).run().code(5)), ["cat failed"]);
    assert_eq!(rows(&fleet, "tenant_cat"), before);
    let waiting = repair(&fleet, &["--yes", "--tenant", "cat"]).spawn();
    fleet.sql(&format!("SELECT pg_terminate_backend(pid) FROM ({sleeping}) s"));
    let _killed = other.wait();
    assert_eq!(statuses(&waiting.wait().ok()), ["cat applied"]);
}
