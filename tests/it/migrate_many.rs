//! Many tenants, many processes: every tenant once, and nothing where nothing is to be done.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use tenantctl::pg::server::Options;

use crate::fleet::{Fleet, statuses, summary};
use crate::harness::{Proxy, World};
use crate::many::{Many, states};
use crate::migrate_faults::sleepers;

fn at_once(processes: usize, args: &[&str]) {
    let wide = |options: Options| options.setting("max_connections", "120");
    let many = Many::on(World::with(wide), 48).up_to_date();
    many.step(2, "SELECT pg_sleep(0.01);");
    many.step(3, "");
    let running: Vec<_> = (0..processes).map(|_| many.up(args).spawn()).collect();
    let outcomes: Vec<_> = running.into_iter().map(|run| run.wait().ok()).collect();
    many.everybody_is_at(3);
    let histories = many.catalogue_agrees();
    let mut reported = 0;
    for outcome in &outcomes {
        assert_eq!(summary(outcome), [48, 0, 0, 0], "{}", outcome.transcript());
        let answer = outcome.json();
        for target in answer["targets"].as_array().unwrap() {
            reported += target["applied"].as_array().unwrap().len();
        }
        // Whoever came last had nothing to write down.
        if let Some(run) = answer["run"].as_str() {
            let ledger = many.ledger(run);
            assert_eq!(ledger["state"], "done");
            let told = |state: &String| ["applied", "up-to-date"].contains(&state.as_str());
            assert!(states(&ledger).iter().all(told), "{ledger}");
        }
    }
    // What one process says it has applied, no other says.
    assert_eq!(reported, histories.len() * 2);
}

#[test]
fn two_processes_share_a_fleet() {
    at_once(2, &[]);
}

#[test]
fn eight_processes_share_a_fleet() {
    at_once(8, &["--jobs", "3"]);
}

#[test]
fn two_processes_that_go_file_by_file_share_a_fleet() {
    at_once(2, &["--per-file", "--jobs", "3"]);
}

/// What a database of one tenant holds is seen when it is visited: whoever lacks nothing is noted too.
#[test]
fn databases_that_lack_nothing_are_noted_beside_those_that_do() {
    let fleet = Fleet::new();
    for id in ["cat", "dog", "elk"] {
        fleet.create(id, "database");
    }
    fleet.migration("V2__tags.sql", "CREATE TABLE tags ();\n");
    fleet.up(&["--tenant", "elk"]).run().ok();
    let up = fleet.up(&["--jobs", "1"]).run().ok();
    assert_eq!(statuses(&up), ["cat applied", "dog applied", "elk up-to-date"]);
    let ledger = fleet.run(["runs", "show", "last", "-o", "json"]).ok().json();
    assert_eq!(states(&ledger), ["applied", "applied", "up-to-date"]);
    assert_eq!((&ledger["state"], &ledger["left"]), (&"done".into(), &0.into()));
    // Nobody lacks anything: there is no run.
    assert_eq!(fleet.up(&[]).run().ok().json()["run"], Value::Null);
}

/// A wait for another process is told once, however long it is.
#[test]
fn a_tenant_that_another_process_is_at_is_waited_for_in_silence() {
    let many = Many::migrated(2);
    many.step(2, "SELECT pg_sleep(1.5) WHERE current_schema() = 'tenant_t0001';");
    let mut first = many.up(&["--tenant", "t0001"]).spawn();
    first.wait_until("the migration", || !sleepers(&many).is_empty());
    let second = many.tenantctl(["migrate", "up", "-o", "ndjson", "--allow-lint"]).run().ok();
    let events = second.ndjson();
    let waits = events.iter().filter(|event| event["event"] == "target_waiting").count();
    assert_eq!(waits, 1, "{}", second.transcript());
    let last = events.iter().rfind(|event| event["event"] == "target").unwrap();
    assert_eq!((&last["tenant"], &last["status"]), (&"t0001".into(), &"up-to-date".into()));
    first.wait().ok();
    many.catalogue_agrees();
    many.everybody_is_at(2);
}

/// Eight processes want more sessions than the server has.
#[test]
fn processes_that_crowd_a_server_wait_for_one_another() {
    let narrow = |options: Options| options.setting("max_connections", "30");
    let many = Many::on(World::with(narrow), 40).up_to_date();
    many.step(2, "SELECT pg_sleep(0.02);");
    let running: Vec<_> = (0..6).map(|_| many.up(&["--jobs", "8"]).spawn()).collect();
    for run in running {
        drop(run.wait());
    }
    // Who got no session at all says so; nothing is done twice, and the rest is done by the others.
    many.catalogue_agrees();
    many.up(&[]).run().ok();
    many.everybody_is_at(2);
}

#[test]
fn two_thousand_schemas_are_migrated_and_then_left_alone() {
    // What nobody asked for is not in the log either: a snapshot for standbys, every 15 seconds.
    let quiet =
        |options: Options| options.setting("wal_level", "minimal").setting("max_wal_senders", "0");
    let many = Many::on(World::with(quiet), 2000);
    let up = many.up(&["--jobs", "2"]).run().ok();
    assert_eq!(summary(&up), [2000, 0, 0, 0]);
    let written = many.rows(
        "SELECT count(*), count(DISTINCT schemaname) FROM pg_tables WHERE tablename = 'notes'",
    );
    assert_eq!(written, [["2000", "2000"]]);
    let ledger = many.ledger("last");
    assert_eq!(ledger["summary"]["applied"], 2000);

    // Nothing to do: nothing is written, nothing is locked, and few requests are made.
    many.sql("CHECKPOINT");
    let proxy = Proxy::start(&many, None);
    let toml = std::fs::read_to_string(many.path("tenants.toml")).unwrap();
    many.file("tenants.toml", &toml.replace(&many.operator_url(), &proxy.operator_url(&many)));
    // Who writes takes a number; who only reads a page may tidy it, which takes none.
    let numbers = || many.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())");
    let runs = || many.rows("SELECT count(*), max(id::text) FROM tenantctl.runs");
    let (written, known) = (numbers(), runs());
    let watched = many.up(&[]).spawn();
    let mut watcher = many.session("app", "postgres");
    // A process that starts holds on to its database, whoever asked for it.
    let mut locks = 0;
    let mut running = Some(watched);
    let up = loop {
        let held = watcher.rows(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
             WHERE a.application_name LIKE 'tenantctl/%' \
               AND (l.locktype = 'advisory' OR l.mode NOT IN ('AccessShareLock', 'ExclusiveLock') \
                    OR l.locktype = 'transactionid') \
               AND l.classid IS DISTINCT FROM 'pg_database'::regclass",
        );
        locks += held.concat().concat().parse::<usize>().unwrap();
        thread::sleep(Duration::from_millis(5));
        if let Some(one) = running.take() {
            if one.stdout_so_far().trim_end().ends_with('}') {
                break one.wait().ok();
            }
            running = Some(one);
        }
    };
    assert_eq!(summary(&up), [2000, 0, 0, 0]);
    assert_eq!(locks, 0);
    assert_eq!(numbers(), written);
    assert_eq!(runs(), known);
    assert_eq!(up.json()["run"], Value::Null);
    // Finding the registry, its tenants, the schemas, and a batch for every 150 of them.
    let requests = proxy.requests();
    assert!(requests <= 14 + 25, "{requests} requests");
}
