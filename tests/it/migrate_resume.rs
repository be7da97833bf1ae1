//! Runs that are killed, and runs that are gone on with.

use std::time::Duration;

use serde_json::json;

use crate::fleet::{statuses, target};
use crate::harness::{Outcome, Proxy};
use crate::many::{Many, row, states};
use crate::migrate_faults::sleepers;

/// How often to kill: few times in every build, more where `TENANTCTL_KILLS` says so.
fn kills(usual: usize) -> usize {
    std::env::var("TENANTCTL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(usual)
}

/// Numbers that look like chance, and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn whenever_a_run_is_killed_the_next_goes_on_and_nothing_is_done_twice() {
    let many = Many::migrated(24);
    let mut chance = Chance(20_261_121);
    let mut version = 2;
    many.step(version, "SELECT pg_sleep(0.005);");
    let mut per_round: Vec<usize> = Vec::new();
    let mut resume = false;
    for _ in 0..kills(25) {
        let args: &[&str] = match (resume, chance.below(3)) {
            (true, 0) => &["--resume", "last", "--jobs", "1"],
            (true, 1) => &["--resume", "last", "--per-file"],
            (true, _) => &["--resume", "last"],
            (false, 0) => &["--per-file"],
            (false, _) => &["--jobs", "2"],
        };
        let mut running = many.up(args).spawn();
        std::thread::sleep(Duration::from_millis(60 + chance.below(240)));
        running.kill();
        drop(running.wait());
        let histories = many.catalogue_agrees();
        let done =
            histories.values().filter(|history| history.last() >= Some(&version.into())).count();
        per_round.push(done);
        if done == histories.len() {
            // Whoever has everything says so, and then there is more to do.
            many.up(&[]).run().ok();
            version += 1;
            many.step(version, "SELECT pg_sleep(0.005);");
        }
        // A run that was killed before it wrote anything cannot be gone on with.
        resume =
            many.run(["runs", "list", "-o", "json"]).ok().json()["runs"][0]["state"] == "killed";
    }
    let last: &[&str] = if resume { &["--resume", "last"] } else { &[] };
    many.up(last).run().ok();
    let ledger = many.lawful();
    assert_eq!(ledger["state"], "done", "{per_round:?}");
    many.up(&[]).run().ok();
    many.catalogue_agrees();
    many.everybody_is_at(version.into());
    // Otherwise the moments were badly chosen.
    assert!(per_round.iter().any(|done| (1..24).contains(done)), "{per_round:?}");
}

/// Not at a time but behind every single request: the server has it, and no later one.
#[test]
fn whatever_request_a_run_is_killed_behind_the_next_goes_on() {
    let step = if std::env::var_os("TENANTCTL_KILLS").is_some() { 1 } else { 4 };
    let many = Many::migrated(3);
    let direct = std::fs::read_to_string(many.path("tenants.toml")).unwrap();
    let mut version = 1;
    let mut behind = 0;
    loop {
        version += 1;
        many.step(version, "");
        let proxy = Proxy::start(&many, Some(behind));
        many.file(
            "tenants.toml",
            &direct.replace(&many.operator_url(), &proxy.operator_url(&many)),
        );
        let running = many.up(&["--jobs", "2"]).spawn();
        proxy.aim_at(running.pid());
        let ended = running.wait();
        many.file("tenants.toml", &direct);
        if ended.transcript().contains("exit 0") {
            break;
        }
        let last = many.run(["runs", "list", "-o", "json"]).ok().json()["runs"][0].clone();
        let resume: &[&str] = if last["state"] == "killed" { &["--resume", "last"] } else { &[] };
        let up = many.up(resume).run().ok();
        assert_eq!(many.lawful()["state"], "done", "{behind}: {}", up.transcript());
        many.up(&["--check"]).run().ok();
        many.everybody_is_at(version.into());
        behind += step;
    }
    assert!(behind > 8, "{behind}");
}

/// A fleet of four whose second tenant is in the way of V2.
fn one_in_the_way() -> (Many, Outcome) {
    let many = Many::migrated(4);
    many.sql("CREATE TABLE tenant_t0002.odd ()");
    many.step(2, "CREATE TABLE odd ();");
    let up = many.up(&[]).run().code(3);
    (many, up)
}

#[test]
fn what_is_mended_is_all_that_a_resumed_run_touches() {
    let (many, up) = one_in_the_way();
    let run = up.json()["run"].as_str().unwrap().to_owned();
    // Nobody else is looked at: this one could not be read any more.
    many.sql("UPDATE tenant_t0004.refinery_schema_history SET checksum = 'odd' WHERE version = 1");
    let again = many.up(&["--resume", &run]).run().code(1);
    assert_eq!(statuses(&again), ["t0002 failed"]);
    assert_eq!(row(&many.ledger(&run), "t0002")["attempts"], 2);
    many.sql("DROP TABLE tenant_t0002.odd");
    let done = many.up(&["--resume", &run[..18]]).run().ok();
    assert_eq!(statuses(&done), ["t0002 applied"]);
    assert_eq!(done.json()["run"], run);
    let ledger = many.lawful();
    assert_eq!((&ledger["state"], &ledger["left"]), (&"done".into(), &0.into()));
    assert_eq!(states(&ledger), ["applied"; 4]);
    let kept = row(&ledger, "t0002");
    assert_eq!((&kept["attempts"], &kept["error"]), (&3.into(), &json!(null)));
    assert_eq!(row(&ledger, "t0001")["attempts"], 1);
}

#[test]
fn a_run_that_is_done_is_left_as_it_is() {
    let many = Many::migrated(3);
    let before = many.rows("SELECT * FROM tenantctl.run_targets ORDER BY tenant");
    let again = many.up(&["--resume", "last"]).run().ok();
    assert_eq!(states(&again.json()), ["up-to-date"; 3]);
    let after = many.rows("SELECT * FROM tenantctl.run_targets ORDER BY tenant");
    let facts = |rows: &[Vec<String>]| -> Vec<Vec<String>> {
        // When it was noted last is no fact of the tenant.
        rows.iter().map(|row| row[..row.len() - 1].to_vec()).collect()
    };
    let without_took = |rows: Vec<Vec<String>>| -> Vec<Vec<String>> {
        rows.into_iter().map(|row| [&row[..11], &row[12..]].concat()).collect()
    };
    assert_eq!(without_took(facts(&after)), without_took(facts(&before)));
    assert_eq!(many.lawful()["state"], "done");
}

#[test]
fn a_run_that_nobody_knows_cannot_be_gone_on_with() {
    let many = Many::of(1);
    many.up(&["--resume", "last"]).run().code(1);
    many.up(&[]).run().ok();
    let unknown = many.tenantctl(["migrate", "up", "--resume", "0199a8f2-3c4d"]).run().code(1);
    assert!(unknown.stderr().contains("0199a8f2-3c4d"), "{}", unknown.transcript());
}

#[test]
fn a_run_that_is_alive_is_not_taken_over() {
    let many = Many::migrated(2);
    many.step(2, "SELECT pg_sleep(60) WHERE current_schema() = 'tenant_t0001';");
    let mut running = many.up(&[]).spawn();
    running.wait_until("the migration", || !sleepers(&many).is_empty());
    let refused = many.tenantctl(["migrate", "up", "--resume", "last"]).run().code(5);
    assert!(refused.stderr().contains("it is going on"), "{}", refused.transcript());
    assert!(refused.stderr().contains("tenantctl/migrate, pid"), "{}", refused.transcript());
    many.sql(&format!("SELECT pg_cancel_backend({})", sleepers(&many).concat()));
    let up = running.wait().code(3);
    assert_eq!(states(&up.json()), ["failed", "applied"]);
    many.lawful();
}

/// A tenant of the run is gone: that is said, and is no reason to leave the others.
#[test]
fn who_has_left_the_fleet_does_not_hold_up_a_resumed_run() {
    let (many, _) = one_in_the_way();
    many.sql(
        "CREATE TABLE tenant_t0003.left (); DROP TABLE tenant_t0002.odd; \
         UPDATE tenantctl.run_targets SET state = 'pending', applied = '{}' WHERE tenant = 't0003'; \
         DELETE FROM tenantctl.tenants WHERE id = 't0003'",
    );
    let up = many.up(&["--resume", "last"]).run().ok();
    assert_eq!(statuses(&up), ["t0002 applied"]);
    assert!(
        up.stderr().contains("tenant t0003 is no longer in the registry"),
        "{}",
        up.transcript()
    );
    let ledger = many.ledger("last");
    assert_eq!(states(&ledger), ["applied", "applied", "skipped", "applied"]);
    let gone = row(&ledger, "t0003");
    assert_eq!(gone["error"]["code"], "not-found", "{gone}");
    assert_eq!(ledger["state"], "done");

    // When nobody is left there is nothing to go on with, and nobody else is taken instead.
    many.sql(
        "DELETE FROM tenantctl.tenants WHERE id <> 't0001'; \
         DELETE FROM tenantctl.run_targets WHERE tenant = 't0001'",
    );
    let none = many.tenantctl(["migrate", "up", "--resume", "last"]).run().code(1);
    assert!(none.stderr().contains("none of its tenants"), "{}", none.transcript());
    assert_eq!(many.ledger("last")["state"], "done");
}

#[test]
fn a_resumed_run_takes_the_files_as_they_are_now() {
    let (many, _) = one_in_the_way();
    // The file did not fit t0002: it is made to fit, and a newer one comes with it.
    many.step(2, "CREATE TABLE IF NOT EXISTS odd ();");
    many.step(3, "");
    let up = many.up(&["--resume", "last"]).run().ok();
    assert_eq!(statuses(&up), ["t0002 applied"]);
    assert_eq!(target(&up, "t0002")["applied"], json!([2, 3]));
    // The others hold the old text: that is seen, and is theirs alone.
    let status = many.status(&[]).run().code(3);
    assert_eq!(states(&status.json()), ["diverged", "up-to-date", "diverged", "diverged"]);
}

#[test]
fn a_resumed_run_goes_as_far_as_it_was_to_go_unless_it_is_told_otherwise() {
    let many = Many::migrated(2);
    many.sql("CREATE TABLE tenant_t0002.odd ()");
    many.step(2, "CREATE TABLE odd ();");
    many.step(3, "");
    many.up(&["--to", "2"]).run().code(3);
    let stays = many.up(&["--resume", "last", "--to", "9"]).run().code(1);
    assert!(stays.stderr().contains("version 9"), "{}", stays.transcript());
    assert_eq!(many.lawful()["state"], "failed");
    many.sql("DROP TABLE tenant_t0002.odd");
    many.up(&["--resume", "last"]).run().ok();
    many.lawful();
    many.everybody_is_at(2);
    let further = many.up(&["--resume", "last", "--to", "3"]).run().ok();
    assert_eq!(states(&further.json()), ["applied"; 2], "{}", further.transcript());
    many.lawful();
    many.everybody_is_at(3);
}
