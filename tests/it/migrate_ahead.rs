//! Tenants that the ledger calls behind are read when their turn comes, and what was read counts.

use crate::fleet::{Fleet, statuses, target};
use crate::harness::Session;
use crate::many::{Many, row, states};

/// Everybody is at version 1 and the ledger knows it; version 2 is new.
fn behind(count: usize) -> Many {
    let many = Many::migrated(count);
    many.step(2, "");
    many
}

#[test]
fn what_the_ledger_says_decides_nothing() {
    let many = behind(8);
    // Somebody else migrates, which the ledger does not know of.
    many.up(&["--tenant", "t0001"]).run().ok();
    many.sql(
        "DELETE FROM tenantctl.runs WHERE id = (SELECT max(id::text)::uuid FROM tenantctl.runs)",
    );
    many.sql("DROP SCHEMA tenant_t0002 CASCADE");
    many.sql("UPDATE tenant_t0003.refinery_schema_history SET checksum = '1'");
    many.sql("DELETE FROM tenant_t0004.refinery_schema_history; DROP TABLE tenant_t0004.notes");
    many.sql("ALTER TABLE tenant_t0005.refinery_schema_history OWNER TO postgres");
    let up = many.up(&["--jobs", "2"]).run().code(3);
    let answer = up.json();
    assert_eq!(
        states(&answer),
        ["up-to-date", "missing", "diverged", "applied", "failed", "applied", "applied", "applied"],
        "{}",
        up.transcript()
    );
    assert_eq!(row(&answer, "t0004")["applied"], serde_json::json!([1, 2]));
    let refused = row(&answer, "t0005");
    assert_eq!(refused["error"]["sqlstate"], "42501", "{refused}");
    let told = row(&many.ledger("last"), "t0001");
    assert_eq!((&told["status"], &told["from"]), (&"up-to-date".into(), &2.into()));
    assert!(row(&many.ledger("last"), "t0002")["from"].is_null());
    many.catalogue_agrees();
}

/// A run of which one session waits, with the histories of others, for a history that is locked.
fn held_up(many: &Many) -> (Session, String, crate::harness::Running) {
    let mut holder = many.session("app", "postgres");
    holder.sql("BEGIN; LOCK TABLE tenant_t0001.refinery_schema_history");
    let mut running = many.up(&["--jobs", "1"]).spawn();
    let waiting = || {
        many.rows(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND query LIKE '%sum(checksum%'",
        )
        .concat()
    };
    running.wait_until("the reading", || !waiting().is_empty());
    let pid = waiting().concat();
    (holder, pid, running)
}

#[test]
fn a_session_that_is_lost_while_it_reads_takes_nobody_with_it() {
    let many = behind(5);
    let (mut holder, pid, running) = held_up(&many);
    many.sql(&format!("SELECT pg_terminate_backend({pid})"));
    holder.sql("COMMIT");
    running.wait().ok();
    assert_eq!(states(&many.lawful()), ["applied"; 5]);
    many.everybody_is_at(2);
}

#[test]
fn a_reading_that_is_cancelled_by_somebody_else_is_done_again() {
    let many = behind(5);
    let (mut holder, pid, running) = held_up(&many);
    many.sql(&format!("SELECT pg_cancel_backend({pid})"));
    holder.sql("COMMIT");
    running.wait().ok();
    many.everybody_is_at(2);
}

#[test]
fn two_interrupts_end_a_reading() {
    let many = behind(3);
    let (mut holder, _, running) = held_up(&many);
    running.interrupt();
    std::thread::sleep(std::time::Duration::from_millis(200));
    running.interrupt();
    let up = running.wait().code(130);
    holder.sql("COMMIT");
    assert_eq!(states(&up.json()), ["pending"; 3], "{}", up.transcript());
    many.everybody_is_at(1);
}

/// Tenants with a database each, at version 2 as the ledger knows; version 3 is new.
fn databases_behind(ids: &[&str], sql: &str) -> Fleet {
    let fleet = Fleet::new();
    for id in ids {
        fleet.create(id, "database");
    }
    fleet.migration("V2__tags.sql", "CREATE TABLE tags ();\n");
    fleet.up(&[]).run().ok();
    fleet.migration("V3__labels.sql", &format!("{sql}\nCREATE TABLE labels ();\n"));
    fleet
}

/// Where the tenants' own schema is: database, schema.
fn place(fleet: &Fleet, id: &str) -> [String; 2] {
    let place = fleet
        .rows(&format!("SELECT database, schema FROM tenantctl.tenants WHERE id = '{id}'"))
        .concat();
    place.try_into().unwrap()
}

#[test]
fn what_the_ledger_says_of_databases_decides_nothing() {
    let fleet = databases_behind(&["ant", "bee", "cat", "dog", "elk", "fox", "gnu"], "");
    let within = |id: &str, sql: &str| {
        let [database, schema] = place(&fleet, id);
        fleet.sql_in(&database, &format!("SET search_path = {schema}; {sql}"));
    };
    // Somebody else migrates, which the ledger does not know of.
    fleet.up(&["--tenant", "ant"]).run().ok();
    fleet.sql(
        "DELETE FROM tenantctl.runs WHERE id = (SELECT max(id::text)::uuid FROM tenantctl.runs)",
    );
    fleet.sql(&format!("DROP DATABASE {} WITH (FORCE)", place(&fleet, "bee")[0]));
    within("cat", "UPDATE refinery_schema_history SET checksum = '1' WHERE version = 2");
    within("dog", "DROP TABLE notes, tags, refinery_schema_history");
    within("elk", "ALTER TABLE refinery_schema_history OWNER TO postgres");
    within("gnu", &format!("DROP SCHEMA {} CASCADE", place(&fleet, "gnu")[1]));
    let up = fleet.up(&["--jobs", "2"]).run().code(3);
    let expected = [
        "ant up-to-date",
        "bee missing",
        "cat diverged",
        "dog applied",
        "elk failed",
        "fox applied",
        "gnu missing",
    ];
    assert_eq!(statuses(&up), expected, "{}", up.transcript());
    assert_eq!(target(&up, "dog")["applied"], serde_json::json!([1, 2, 3]));
    assert_eq!(target(&up, "elk")["error"]["sqlstate"], "42501");
    assert_eq!(target(&up, "fox")["from"], 2);
    assert!(target(&up, "bee")["from"].is_null());
    for id in ["ant", "dog", "fox"] {
        let [database, schema] = place(&fleet, id);
        assert_eq!(fleet.history_in(&database, &schema), ["1 notes", "2 tags", "3 labels"], "{id}");
    }
}

#[test]
fn a_database_that_another_process_is_at_is_waited_for_and_then_left() {
    let ids = ["ant", "bee"];
    let fleet = databases_behind(&ids, "SELECT pg_sleep(1.5);");
    let sleeps = "SELECT FROM pg_stat_activity WHERE application_name = 'tenantctl/migrate' \
                  AND wait_event = 'PgSleep'";
    let mut first = fleet.up(&["--jobs", "2"]).spawn();
    first.wait_until("both migrations", || fleet.rows(sleeps).len() == 2);
    let patient = fleet.up(&[]).spawn();
    let hasty = fleet.up(&["--tenant", "ant", "--tenant-lock-wait", "100ms"]).run().code(5);
    let left = target(&hasty, "ant");
    assert_eq!(left["error"]["code"], "lock-busy");
    assert_eq!((&left["from"], &left["pending"]), (&2.into(), &serde_json::json!([3])));
    assert_eq!(statuses(&first.wait().ok()), ["ant applied", "bee applied"]);
    let patient = patient.wait().ok();
    assert_eq!(
        statuses(&patient),
        ["ant up-to-date", "bee up-to-date"],
        "{}",
        patient.transcript()
    );
    for id in ids {
        let [database, schema] = place(&fleet, id);
        assert_eq!(fleet.history_in(&database, &schema), ["1 notes", "2 tags", "3 labels"], "{id}");
    }
}

#[test]
fn two_interrupts_end_the_reading_of_a_database() {
    let fleet = databases_behind(&["ant"], "");
    let [database, schema] = place(&fleet, "ant");
    let mut holder = fleet.session(&database, "postgres");
    holder.sql(&format!("BEGIN; LOCK TABLE {schema}.refinery_schema_history"));
    let mut running = fleet.up(&[]).spawn();
    let waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND application_name = 'tenantctl/migrate'";
    running.wait_until("the reading", || !fleet.rows(waits).is_empty());
    running.interrupt();
    std::thread::sleep(std::time::Duration::from_millis(200));
    running.interrupt();
    let up = running.wait().code(130);
    holder.sql("COMMIT");
    assert_eq!(statuses(&up), ["ant pending"], "{}", up.transcript());
    assert_eq!(fleet.history_in(&database, &schema), ["1 notes", "2 tags"]);
    fleet.up(&["--resume", "last"]).run().ok();
    let after = fleet.run(["runs", "show", "last", "-o", "json"]).ok().json();
    assert_eq!(after["targets"][0]["applied"], serde_json::json!([3]), "{after}");
}
