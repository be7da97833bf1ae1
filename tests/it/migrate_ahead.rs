//! Tenants that the ledger calls behind are read when their turn comes, and what was read counts.

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
