//! `runs`: what the ledger remembers, told to people and to scripts.

use serde_json::{Value, json};

use crate::harness::{OPERATOR, Outcome, Session, World, catalog};

pub const KILLED: &str = "0199a8f2-3c4d-7000-8000-000000000004";
pub const GOING_ON: &str = "0199a8f3-0000-7000-8000-000000000005";

/// A registry that remembers one run that is done, one that failed in a large fleet, one that the
/// user stopped, and one that was killed.
pub fn remembering() -> World {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    world.session("app", OPERATOR).sql(
        "INSERT INTO tenantctl.runs (id, kind, state, started_at, finished_at, asked, goal) VALUES \
           ('0199a8f2-3c4a-7000-8000-000000000001', 'up', 'done', '2026-03-01 10:00:00+00', \
            '2026-03-01 10:00:04+00', '', NULL), \
           ('0199a8f2-3c4b-7000-8000-000000000002', 'up', 'failed', '2026-03-02 10:00:00+00', \
            '2026-03-02 10:02:05+00', '--selector tier=pro --to 7', 7), \
           ('0199a8f2-3c4c-7000-8000-000000000003', 'down', 'interrupted', '2026-03-03 10:00:00+00', \
            '2026-03-03 10:00:01+00', '--run 0199a8f2-3c4b', 6), \
           ('0199a8f2-3c4d-7000-8000-000000000004', 'up', 'running', '2026-03-04 10:00:00+00', \
            NULL, '--tenant cat --tenant dog', NULL); \
         INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, from_version, goal, \
             applied, state, attempts, took_ms) \
           SELECT '0199a8f2-3c4a-7000-8000-000000000001', 't' || at, 'default', 'app', 'tenant_t' || at, \
             5, 6, '{6}', CASE at WHEN 3 THEN 'up-to-date' ELSE 'applied' END, 1, 40 FROM generate_series(1, 3) at; \
         INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, from_version, goal, \
             applied, state, cause, attempts, took_ms, error_code, error_sqlstate, error_message, error_location) \
           SELECT '0199a8f2-3c4b-7000-8000-000000000002', 't' || at, 'default', 'app', 'tenant_t' || at, 6, 7, \
             CASE WHEN at > 30 THEN ARRAY[7] ELSE '{}' END, \
             CASE WHEN at <= 12 OR at = 14 THEN 'failed' WHEN at = 13 THEN 'skipped' \
                  WHEN at <= 30 THEN 'pending' ELSE 'applied' END, \
             CASE at WHEN 14 THEN 'pid 4711 (psql, in a transaction for 5 min 3 s): LOCK TABLE notes' END, \
             CASE at WHEN 14 THEN 4 WHEN 13 THEN 0 ELSE 1 END, 40 + at, \
             CASE WHEN at <= 12 OR at = 14 THEN CASE at WHEN 14 THEN 'lock-busy' ELSE 'server' END WHEN at = 13 THEN 'refused' END, \
             CASE WHEN at <= 12 THEN '42P07' WHEN at = 14 THEN '55P03' END, \
             CASE WHEN at <= 12 THEN 'apply V7__tags.sql to tenant_t' || at || ': relation \"tags\" already exists' \
                  WHEN at = 13 THEN 'tenant t13 is still being made' \
                  WHEN at = 14 THEN 'apply V7__tags.sql to tenant_t14: canceling statement due to lock timeout' END, \
             CASE WHEN at <= 12 OR at = 14 THEN 'migrations/tenant/V7__tags.sql:3:14' END \
           FROM generate_series(1, 40) at; \
         INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, from_version, goal, state) \
           VALUES ('0199a8f2-3c4c-7000-8000-000000000003', 't1', 'default', 'app', 'tenant_t1', 7, 6, 'pending'); \
         INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, from_version, goal, \
             applied, state, cause, attempts, took_ms) VALUES \
           ('0199a8f2-3c4d-7000-8000-000000000004', 'ant', 'default', 'app', 'tenant_ant', 7, 8, '{8}', 'applied', NULL, 1, 1200), \
           ('0199a8f2-3c4d-7000-8000-000000000004', 'cat', 'default', 'app', 'tenant_cat', 7, 8, '{}', 'running', NULL, 1, 0), \
           ('0199a8f2-3c4d-7000-8000-000000000004', 'dog', 'default', 'app', 'tenant_dog', 7, 8, '{}', 'waiting', \
            'pid 4711 (psql, in a transaction for 5 min 3 s): LOCK TABLE notes', 2, 5100), \
           ('0199a8f2-3c4d-7000-8000-000000000004', 'elk', 'eu-1', 'app', 'tenant_elk', NULL, 8, '{}', 'pending', NULL, 0, 0)",
    );
    world
}

/// A run that goes on for as long as the session lives.
pub fn going_on(world: &World) -> Session {
    let mut session = world.session("app", OPERATOR);
    session.sql(&format!(
        "SELECT pg_advisory_lock(('x' || substr(encode(sha256('tenantctl\\000run\\000{GOING_ON}'::bytea), \
         'hex'), 1, 16))::bit(64)::bigint); \
         INSERT INTO tenantctl.runs (id, kind, state, asked) VALUES ('{GOING_ON}', 'up', 'running', ''); \
         INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, goal, state) \
           VALUES ('{GOING_ON}', 'ant', 'default', 'app', 'tenant_ant', 8, 'running')"
    ));
    session
}

fn word(outcome: &Outcome, pointer: &str) -> Value {
    outcome.json().pointer(pointer).cloned().unwrap_or_else(|| panic!("{}", outcome.transcript()))
}

#[test]
fn runs_are_listed_and_shown_to_people() {
    let world = remembering();
    let human = |arguments: &[&str], columns: &str| {
        world.tenantctl(["runs"]).args(arguments).env("COLUMNS", columns).run().ok()
    };
    human(&["list"], "140").snapshot("runs_list");
    human(&["list", "--limit", "2"], "80").snapshot("runs_list_narrow");
    human(&["show", "last"], "120").snapshot("runs_show_killed");
    human(&["show", "0199a8f2-3c4b"], "100").snapshot("runs_show_failed");
    human(&["show", "0199a8f2-3c4b", "--state", "failed"], "100").snapshot("runs_show_state");
    human(&["show", "0199a8f2-3c4a"], "100").snapshot("runs_show_done");
}

#[test]
fn a_run_that_goes_on_is_no_killed_one() {
    let world = remembering();
    let session = going_on(&world);
    let listed = world.run(["runs", "list", "-o", "json"]).ok();
    assert_eq!(word(&listed, "/runs/0/state"), "running");
    assert_eq!(word(&listed, "/runs/1/state"), "killed");
    assert!(word(&listed, "/runs/0/server_process").is_i64());
    let shown = world.run(["runs", "show", GOING_ON]).ok();
    assert!(shown.stdout().contains("pid "), "{}", shown.transcript());
    assert!(!shown.stdout().contains("resume"), "{}", shown.transcript());
    drop(session);
    let mut last = world.run(["runs", "show", "last", "-o", "json"]).ok();
    for _ in 0..100 {
        if word(&last, "/state") == "killed" {
            break;
        }
        last = world.run(["runs", "show", "last", "-o", "json"]).ok();
    }
    assert_eq!(word(&last, "/state"), "killed");
    assert_eq!(word(&last, "/targets/0/status"), "unknown");
    assert_eq!(word(&last, "/summary/unknown"), 1);
}

#[test]
fn scripts_read_runs() {
    let world = remembering();
    let listed = world.run(["runs", "list", "--limit", "3", "-o", "json"]).ok();
    assert_eq!(word(&listed, "/more"), true);
    let states: Vec<Value> = (0..3).map(|at| word(&listed, &format!("/runs/{at}/state"))).collect();
    assert_eq!(states, ["killed", "interrupted", "failed"]);
    world.run(["runs", "show", KILLED, "-o", "json"]).ok().snapshot("runs_show_json");
    let failed =
        world.run(["runs", "show", "0199a8f2-3c4b", "--state", "failed", "-o", "ndjson"]).ok();
    let lines: Vec<Value> =
        failed.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 13);
    assert!(lines.iter().all(|line| line["status"] == "failed" && line["format"] == 1));
    assert_eq!(
        lines[0]["error"],
        json!({
            "code": "server",
            "sqlstate": "42P07",
            "message": "apply V7__tags.sql to tenant_t1: relation \"tags\" already exists",
            "file": "migrations/tenant/V7__tags.sql",
            "line": 3,
            "column": 14,
        })
    );
    let lines = world.run(["runs", "list", "-o", "ndjson"]).ok();
    assert_eq!(lines.stdout().lines().count(), 4);
}

#[test]
fn a_run_must_be_named_so_that_it_is_one() {
    let world = remembering();
    let several = world.run(["runs", "show", "0199a8f2"]).code(64);
    assert!(several.stderr().contains(KILLED), "{}", several.transcript());
    let none = world.run(["runs", "show", "ffff"]).code(1);
    assert!(
        none.stderr().contains("error[not-found]: there is no run ffff"),
        "{}",
        none.transcript()
    );
    world.run(["runs", "show", "acme"]).code(64);
    world.run(["runs", "show", "last", "--state", "lost"]).code(64);
}

#[test]
fn where_there_is_no_registry_there_was_no_run_and_none_is_made() {
    let world = World::new();
    let before = catalog(&world);
    let listed = world.run(["runs", "list"]).ok();
    assert_eq!(listed.stdout(), "no runs yet, and no registry to remember them\n");
    let json = world.run(["runs", "list", "-o", "json"]).ok().json();
    assert_eq!(json, json!({"format": 1, "more": false, "runs": []}));
    let shown = world.run(["runs", "show", "last"]).code(1);
    assert!(shown.stderr().contains("there is no registry"), "{}", shown.transcript());
    assert_eq!(catalog(&world), before);

    // An older registry has tenants, and nothing to remember runs with.
    world.run(["create", "acme"]).ok();
    let empty = world.run(["runs", "list"]).ok();
    assert_eq!(empty.stdout(), "no runs yet\n");
    world.sql(
        "DROP TABLE tenantctl.run_targets, tenantctl.runs; \
         DELETE FROM tenantctl.refinery_schema_history WHERE version > 2",
    );
    let before = catalog(&world);
    let listed = world.run(["runs", "list"]).ok();
    assert!(listed.stdout().starts_with("no runs"), "{}", listed.transcript());
    assert_eq!(catalog(&world), before);
}

#[test]
fn who_only_reads_the_registry_sees_its_runs() {
    let world = remembering();
    world.sql(
        "CREATE ROLE auditor LOGIN; GRANT USAGE ON SCHEMA tenantctl TO auditor; \
         GRANT SELECT ON ALL TABLES IN SCHEMA tenantctl TO auditor; \
         ALTER ROLE auditor SET default_transaction_read_only = on; \
         REVOKE SELECT ON pg_stat_activity FROM PUBLIC",
    );
    let session = going_on(&world);
    let shown = world
        .tenantctl(["runs", "show", "last", "-o", "json"])
        .env("DATABASE_URL", world.url("app", "auditor"))
        .run()
        .ok();
    assert_eq!(word(&shown, "/state"), "running");
    drop(session);
}
