//! Runs that end before their time, and the order in which tenants are begun.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fleet::statuses;
use crate::harness::{Outcome, Running};
use crate::many::{Many, row, states};
use crate::migrate_faults::sleepers;

/// Everybody's migration sleeps so long; `t0002` is at it when the test goes on.
fn asleep(count: usize, sleep: &str, args: &[&str]) -> (Many, Running) {
    let many = Many::migrated(count);
    many.step(2, &format!("SELECT pg_sleep({sleep});"));
    let mut running = many.up(args).spawn();
    running.wait_until("the migration", || !sleepers(&many).is_empty());
    (many, running)
}

#[test]
fn one_interrupt_lets_what_was_begun_finish() {
    interrupted_once(Running::interrupt);
}

#[test]
fn a_machine_that_shuts_down_lets_what_was_begun_finish() {
    interrupted_once(Running::terminate);
}

fn interrupted_once(interrupt: impl Fn(&Running)) {
    let (many, running) = asleep(6, "0.7", &["--jobs", "2"]);
    interrupt(&running);
    let up = running.wait().code(130);
    let ledger = many.lawful();
    assert_eq!(ledger["state"], "interrupted");
    assert_eq!(states(&ledger), states(&up.json()));
    let applied = states(&ledger).iter().filter(|state| *state == "applied").count();
    assert!((1..=2).contains(&applied), "{}", up.transcript());
    assert_eq!(ledger["left"], 6 - applied);
    many.up(&["--resume", "last"]).run().ok();
    assert_eq!(many.lawful()["state"], "done");
    many.everybody_is_at(2);
}

fn interrupted_twice(args: &[&str]) {
    let (many, mut running) = asleep(4, "60", args);
    let began = Instant::now();
    running.interrupt();
    running.wait_until("the first interrupt", || began.elapsed() > Duration::from_millis(150));
    assert!(!sleepers(&many).is_empty());
    running.interrupt();
    let up = running.wait().code(130);
    assert!(began.elapsed() < Duration::from_secs(10), "{}", up.transcript());
    assert!(up.stderr().contains("cancelling what is running on the servers"));
    assert_eq!(states(&up.json()), ["pending"; 4], "{}", up.transcript());
    assert!(sleepers(&many).is_empty());
    let ledger = many.lawful();
    assert_eq!(
        (&ledger["state"], states(&ledger)),
        (&"interrupted".into(), vec!["pending".to_owned(); 4])
    );
    assert!(row(&ledger, "t0001")["cause"].to_string().contains("cancelled by the user"));
    many.everybody_is_at(1);
}

#[test]
fn a_second_interrupt_cancels_on_the_server() {
    interrupted_twice(&["--jobs", "2"]);
}

#[test]
fn a_second_interrupt_cancels_files_that_are_applied_one_by_one() {
    interrupted_twice(&["--jobs", "2", "--per-file"]);
}

#[test]
fn what_one_file_did_before_the_next_was_cancelled_is_noted() {
    let many = Many::migrated(1);
    many.step(2, "");
    many.step(3, "SELECT pg_sleep(60);");
    let mut running = many.up(&["--per-file"]).spawn();
    running.wait_until("the migration", || !sleepers(&many).is_empty());
    running.interrupt();
    std::thread::sleep(Duration::from_millis(200));
    running.interrupt();
    running.wait().code(130);
    let ledger = many.lawful();
    assert_eq!(states(&ledger), ["pending"]);
    assert_eq!(row(&ledger, "t0001")["applied"], serde_json::json!([2]));
}

#[test]
fn a_third_interrupt_ends_the_process() {
    let (many, running) = asleep(2, "60", &["--jobs", "1"]);
    // The server is told to cancel, and does not hear it.
    for pid in sleepers(&many) {
        let stop = format!("kill -STOP {pid}");
        assert!(
            std::process::Command::new("/bin/sh").args(["-c", &stop]).status().unwrap().success()
        );
    }
    let stopped = sleepers(&many);
    for _ in 0..3 {
        running.interrupt();
        std::thread::sleep(Duration::from_millis(200));
    }
    let ended = running.wait().code(130);
    for pid in stopped {
        let go_on = format!("kill -CONT {pid}; kill -INT {pid} || true");
        assert!(
            std::process::Command::new("/bin/sh").args(["-c", &go_on]).status().unwrap().success()
        );
    }
    assert!(ended.elapsed() < Duration::from_secs(20));
    many.step(2, "");
    many.up(&["--resume", "last"]).run().ok();
    assert_eq!(many.lawful()["state"], "done");
    many.everybody_is_at(2);
}

#[test]
fn a_tenant_that_waits_is_pending_when_the_user_stops() {
    let many = Many::migrated(2);
    many.step(2, "ALTER TABLE notes ADD COLUMN title text;");
    let mut holder = many.session("app", "postgres");
    holder.sql("BEGIN; LOCK TABLE tenant_t0001.notes");
    let mut running = many.up(&["--lock-timeout", "50ms"]).spawn();
    running.wait_until("a wait", || {
        !many
            .rows("SELECT FROM tenantctl.run_targets WHERE state = 'waiting' AND attempts > 1")
            .is_empty()
    });
    running.interrupt();
    let up = running.wait();
    let ledger = many.lawful();
    assert_eq!(ledger["state"], "interrupted", "{}", up.transcript());
    assert_eq!(row(&ledger, "t0002")["status"], "applied");
}

/// `t0001` to `t0004` of ten cannot be migrated to a version.
fn four_fail(many: &Many, version: u32) {
    for at in 1..=4 {
        many.sql(&format!("CREATE TABLE tenant_t{at:04}.odd_{version} ()"));
    }
    many.step(version, &format!("CREATE TABLE odd_{version} ();"));
}

fn stopped(up: &Outcome) -> String {
    up.json()["stopped"].as_str().map(str::to_owned).unwrap_or_default()
}

#[test]
fn a_budget_of_failures_ends_the_run_when_it_is_spent() {
    let many = Many::migrated(10);
    let mut version = 1;
    for (args, most, why) in [
        (&["--max-failures", "1"][..], 3, "more than the 1 of --max-failures"),
        (&["--max-failures", "20%"], 4, "more than the 20% of --max-failures"),
        (&["--on-error", "stop"], 1, "--on-error is stop"),
    ] {
        version += 1;
        four_fail(&many, version);
        let up = many.up(&["--jobs", "1"]).args(args).run().code(3);
        assert!(stopped(&up).contains(why), "{}", up.transcript());
        let ledger = many.lawful();
        assert_eq!(ledger["state"], "stopped");
        let failed = states(&ledger).iter().filter(|state| *state == "failed").count();
        assert!((1..=most).contains(&failed), "{args:?} {failed}");
        assert_eq!(row(&ledger, "t0010")["status"], "pending");
        for at in 1..=4 {
            many.sql(&format!("DROP TABLE tenant_t{at:04}.odd_{version}"));
        }
        many.up(&["--resume", "last"]).run().ok();
        assert_eq!(many.lawful()["state"], "done");
        many.everybody_is_at(version.into());
    }
    // What is allowed does not end it.
    four_fail(&many, version + 1);
    let up = many.up(&["--max-failures", "40%"]).run().code(3);
    assert_eq!(up.json()["stopped"], Value::Null);
    assert_eq!(many.lawful()["state"], "failed");
}

#[test]
fn a_run_whose_time_is_up_finishes_what_it_began() {
    let many = Many::migrated(8);
    many.step(2, "SELECT pg_sleep(0.4);");
    let up = many.up(&["--jobs", "1", "--max-duration", "600ms"]).run().code(3);
    assert!(stopped(&up).contains("--max-duration"), "{}", up.transcript());
    let ledger = many.lawful();
    assert_eq!(ledger["state"], "stopped");
    let applied = states(&ledger).iter().filter(|state| *state == "applied").count();
    assert!((1..=2).contains(&applied), "{}", up.transcript());
}

/// The waves of a run as its events tell: their names, and who was begun in each.
fn waves(up: &Outcome) -> Vec<(String, Vec<String>)> {
    let mut waves: Vec<(String, Vec<String>)> = Vec::new();
    let mut working: Vec<String> = Vec::new();
    for event in up.ndjson() {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str().unwrap() {
            "wave_started" => {
                assert!(working.is_empty(), "{working:?} before {event}");
                waves.push((text("name"), Vec::new()));
            }
            "target_started" => {
                working.push(text("target"));
                // Within a wave nobody is promised to be first.
                let begun = &mut waves.last_mut().unwrap().1;
                begun.push(text("target"));
                begun.sort();
            }
            "target" => working.retain(|target| *target != text("tenant")),
            _ => {}
        }
    }
    waves
}

#[test]
fn waves_begin_one_after_the_other() {
    let many = Many::migrated(20);
    many.step(2, "");
    let up = many
        .tenantctl(["migrate", "up", "--allow-lint", "-o", "ndjson", "--jobs", "3"])
        .args(["--wave", "wave=canary", "--wave", "3", "--wave", "sample:10%", "--wave", "25%"])
        .run()
        .ok();
    let waves = waves(&up);
    let names: Vec<&str> = waves.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["wave=canary", "3", "sample:10%", "25%", "rest"]);
    let sizes: Vec<usize> = waves.iter().map(|(_, targets)| targets.len()).collect();
    assert_eq!(sizes, [4, 3, 2, 5, 6]);
    assert_eq!(waves[0].1, ["t0003", "t0008", "t0013", "t0018"]);
    assert_eq!(waves[1].1, ["t0001", "t0002", "t0004"]);
    many.lawful();
    many.everybody_is_at(2);
}

#[test]
fn a_failure_in_a_wave_keeps_the_next_from_beginning() {
    let many = Many::migrated(6);
    many.sql("CREATE TABLE tenant_t0003.odd ()");
    many.step(2, "CREATE TABLE odd ();");
    let up = many.up(&["--wave", "wave=canary", "--wave", "rest"]).run().code(3);
    assert!(stopped(&up).contains("wave=canary"), "{}", up.transcript());
    let ledger = many.lawful();
    assert_eq!(states(&ledger), ["pending", "pending", "failed", "pending", "pending", "pending"]);
    assert_eq!(ledger["state"], "stopped");
    // Whoever allows it has the next wave, though not the failed tenant.
    let up = many.up(&["--resume", "last", "--wave", "wave=canary", "--max-failures", "1"]);
    up.run().code(3);
    assert_eq!(
        states(&many.lawful()),
        ["applied", "applied", "failed", "applied", "applied", "applied"]
    );
}

#[test]
fn a_wave_is_watched_before_the_next() {
    let many = Many::migrated(4);
    many.step(2, "");
    let up = many.up(&["--wave", "1", "--soak", "700ms"]).run().ok();
    assert!(up.elapsed() >= Duration::from_millis(700), "{:?}", up.elapsed());
    assert!(up.stderr().contains("watching wave 1 for 0.7 s"), "{}", up.transcript());
    many.everybody_is_at(2);
    // A run that is stopped while it watches does not wait for the end.
    many.step(3, "");
    let mut running = many.up(&["--wave", "1", "--soak", "1h"]).spawn();
    running.wait_until("the first wave", || {
        many.rows("SELECT FROM public.done WHERE version = 3").len() == 1
    });
    running.interrupt();
    let up = running.wait().code(130);
    assert_eq!(statuses(&up)[1..], ["t0002 pending", "t0003 pending", "t0004 pending"]);
    assert_eq!(many.lawful()["state"], "interrupted");
}

#[test]
fn a_wave_does_not_begin_on_a_server_that_is_not_well() {
    let many = Many::migrated(4);
    many.step(2, "");
    // What others do, only a monitor sees.
    many.sql("GRANT pg_monitor TO platform");
    let mut old = many.session("app", "postgres");
    old.sql("SET application_name = 'report'; BEGIN; SELECT 1");
    std::thread::sleep(Duration::from_millis(1100));
    let gate = ["--wave", "2", "--max-transaction-age", "1s", "--gate-wait"];
    let up = many.up(&gate).args(["300ms"]).run().code(3);
    assert!(stopped(&up).contains("report (pid "), "{}", up.transcript());
    assert_eq!(statuses(&up), ["t0001 applied", "t0002 applied", "t0003 pending", "t0004 pending"]);
    assert_eq!(many.lawful()["state"], "stopped");
    // It goes on as soon as that is over.
    let mut running =
        many.up(&["--resume", "last", "--wave", "1"]).args(&gate[2..]).args(["30s"]).spawn();
    running.wait_until("the gate", || many.rows("SELECT FROM public.done").len() == 3);
    old.sql("COMMIT");
    running.wait().ok();
    assert_eq!(many.lawful()["state"], "done");
    many.everybody_is_at(2);
}

/// A run that cannot say what it did begins nothing more, and what it did is found by the next.
#[test]
fn a_ledger_that_cannot_be_written_any_more_stops_the_run() {
    let (many, running) = asleep(6, "0.3", &["--jobs", "1"]);
    many.sql("REVOKE UPDATE ON tenantctl.run_targets, tenantctl.runs FROM platform");
    let up = running.wait().code(1);
    let run = many.ledger("last")["run"].as_str().unwrap().to_owned();
    assert!(up.stderr().contains("GRANT"), "{}", up.transcript());
    assert!(up.stderr().contains(&format!("--resume {run}")), "{}", up.transcript());
    let done = many.catalogue_agrees().values().filter(|history| history.len() == 2).count();
    assert!((1..6).contains(&done), "{}", up.transcript());
    many.sql("GRANT UPDATE ON tenantctl.run_targets, tenantctl.runs TO platform");
    many.up(&["--resume", &run]).run().ok();
    assert_eq!(many.lawful()["state"], "done");
    many.everybody_is_at(2);
}
