//! Several runs at once, and runs that are stopped: each migration is applied once, in the end.

use std::fmt::Write as _;
use std::time::Duration;

use crate::fleet::{Fleet, NOTES, statuses, summary, target};
use crate::harness::{OPERATOR, World};

/// A fleet that is only declared, so that many tenants cost one statement each.
fn declared(count: usize) -> (Fleet, Vec<String>) {
    let ids: Vec<String> = (1..=count).map(|number| format!("t{number:02}")).collect();
    let mut toml = String::new();
    let mut sql = String::new();
    for id in &ids {
        write!(toml, "[[tenants]]\nid = \"{id}\"\nisolation = \"schema\"\n").unwrap();
        write!(
            sql,
            "CREATE ROLE tenant_{id}_owner; GRANT tenant_{id}_owner TO {OPERATOR}; \
             CREATE SCHEMA tenant_{id} AUTHORIZATION tenant_{id}_owner; "
        )
        .unwrap();
    }
    let fleet = Fleet::with(World::new(), &toml);
    fleet.sql(&sql);
    (fleet, ids)
}

#[test]
fn two_runs_at_once_apply_each_migration_once() {
    let (fleet, ids) = declared(40);
    fleet.migration("V2__counter.sql", "CREATE TABLE counter (version int);\n");
    for version in 3..=5 {
        let sql = format!("INSERT INTO counter VALUES ({version});\nSELECT pg_sleep(0.01);\n");
        fleet.migration(&format!("V{version}__count.sql"), &sql);
    }
    let runs = [fleet.up(&[]).spawn(), fleet.up(&[]).spawn()];
    let outcomes = runs.map(|run| run.wait().ok());
    for outcome in &outcomes {
        assert_eq!(summary(outcome), [40, 0, 0, 0], "{}", outcome.transcript());
    }
    let mut applied = [0, 0];
    for id in &ids {
        let counted = fleet.rows(&format!("SELECT version FROM tenant_{id}.counter ORDER BY 1"));
        assert_eq!(counted.concat(), ["3", "4", "5"], "{id}");
        for (count, outcome) in applied.iter_mut().zip(&outcomes) {
            *count += target(outcome, id)["applied"].as_array().unwrap().len();
        }
    }
    // What one run reports, the other does not.
    assert_eq!(applied[0] + applied[1], 40 * 5, "{applied:?}");
}

#[test]
fn a_tenant_that_another_works_on_is_waited_for_and_then_left() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration("V2__slow.sql", SLOW);
    let mut first = fleet.up(&["--tenant", "cat"]).spawn();
    first.wait_until("the migration", || sleeper(&fleet).is_some());
    let second = fleet.up(&["--tenant-lock-wait", "100ms"]).run().code(3);
    assert_eq!(statuses(&second), ["cat failed", "dog applied"]);
    let error = &target(&second, "cat")["error"];
    assert_eq!(error["code"], "lock-busy");
    assert!(error["hints"].to_string().contains("held by tenantctl/migrate, pid"), "{error}");
    let only = fleet.up(&["--tenant", "cat", "--tenant-lock-wait", "100ms"]).run().code(5);
    assert_eq!(statuses(&only), ["cat failed"]);
    // Reading waits for nobody.
    fleet.status(&[]).run().ok();
    end_sleep(&fleet);
    first.wait().code(1);
}

/// Sleeps in tenant cat alone, after it has made a table.
const SLOW: &str = "CREATE TABLE slow ();\n\
     SELECT pg_sleep(60) WHERE current_schema() = 'tenant_cat';\n";

/// The pid of the session that sleeps in a migration.
fn sleeper(fleet: &Fleet) -> Option<String> {
    let query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tenantctl/migrate' \
                 AND wait_event = 'PgSleep'";
    fleet.rows(query).concat().pop()
}

fn end_sleep(fleet: &Fleet) {
    if let Some(pid) = sleeper(fleet) {
        fleet.sql(&format!("SELECT pg_cancel_backend({pid})"));
    }
}

#[test]
fn a_session_that_is_ended_by_the_server_fails_its_tenant_alone() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration("V2__slow.sql", SLOW);
    let mut running = fleet.up(&["--jobs", "1"]).spawn();
    running.wait_until("the migration", || sleeper(&fleet).is_some());
    fleet.sql(&format!("SELECT pg_terminate_backend({})", sleeper(&fleet).unwrap()));
    let up = running.wait().code(3);
    assert_eq!(statuses(&up), ["cat failed", "dog applied"]);
    assert_eq!(target(&up, "cat")["error"]["sqlstate"], "57P01", "{}", up.transcript());
    assert_eq!(fleet.tables("tenant_cat"), ["notes"]);

    fleet.migration("V2__slow.sql", &SLOW.replace("60", "0"));
    // Another text is another migration: the one that was applied to dog stays what it was.
    assert_eq!(statuses(&fleet.up(&[]).run().code(3)), ["cat applied", "dog diverged"]);
}

#[test]
fn a_run_that_is_killed_leaves_nothing_half_done() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration("V2__slow.sql", "CREATE TABLE slow ();\nSELECT pg_sleep(3);\n");
    let mut running = fleet.up(&["--jobs", "1"]).spawn();
    running.wait_until("the migration", || sleeper(&fleet).is_some());
    running.kill();
    running.wait().signal(9);
    assert_eq!(fleet.tables("tenant_cat"), ["notes"]);
    // Its session may still sleep and hold the lock: the next run waits for it.
    let up = fleet.up(&[]).run().ok();
    // Whether the server committed what it had been told before, or noticed first, is its business.
    assert!(["applied", "up-to-date"].map(Into::into).contains(&target(&up, "cat")["status"]));
    assert_eq!(target(&up, "dog")["status"], "applied");
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 slow"]);
}

#[test]
fn an_interrupt_finishes_what_was_begun_and_begins_nothing() {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration("V2__slow.sql", "SELECT pg_sleep(1);\n");
    let mut running = fleet.up(&["--jobs", "1"]).spawn();
    running.wait_until("the migration", || sleeper(&fleet).is_some());
    running.interrupt();
    let up = running.wait().code(130);
    assert_eq!(statuses(&up), ["cat applied", "dog pending", "elk pending"]);
    assert_eq!(up.json()["interrupted"], true);
    assert!(up.stderr().contains("finishing what was begun"), "{}", up.transcript());
    assert_eq!(
        statuses(&fleet.up(&[]).run().ok()),
        ["cat up-to-date", "dog applied", "elk applied"]
    );
}

#[test]
fn a_second_interrupt_ends_at_once_and_the_server_undoes() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration("V2__slow.sql", SLOW);
    let mut running = fleet.up(&[]).spawn();
    running.wait_until("the migration", || sleeper(&fleet).is_some());
    running.interrupt();
    running.wait_until("the first interrupt", || sleeper(&fleet).is_some());
    std::thread::sleep(Duration::from_millis(200));
    running.interrupt();
    let ended = running.wait().code(130);
    assert!(ended.elapsed() < Duration::from_secs(30), "{}", ended.transcript());
    end_sleep(&fleet);
    assert_eq!(fleet.tables("tenant_cat"), ["notes"]);
    fleet.migration("V2__slow.sql", NOTES.1.replace("notes", "slow").as_str());
    fleet.up(&[]).run().ok();
    assert_eq!(fleet.tables("tenant_cat"), ["notes", "slow"]);
}
