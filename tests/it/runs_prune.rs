//! `runs prune`: old runs are forgotten, and nothing that somebody still needs.

use serde_json::{Value, json};

use crate::fleet::{Fleet, target};
use crate::harness::{OPERATOR, Outcome, World};
use crate::runs::{GOING_ON, KILLED, going_on, remembering};

const LEFT: &str = "SELECT right(id::text, 1) FROM tenantctl.runs ORDER BY id";
const ROWS: &str = "SELECT count(*)::text FROM tenantctl.run_targets";

fn prune(world: &World, args: &[&str]) -> crate::harness::Invocation {
    world.tenantctl(["runs", "prune", "-o", "json"]).args(args)
}

/// The last digit of every run of a list.
fn ids(outcome: &Outcome, list: &str) -> Vec<String> {
    let last = |one: &Value| one["run"].as_str().unwrap().chars().last().unwrap().to_string();
    outcome.json()[list].as_array().unwrap().iter().map(last).collect()
}

fn events(world: &World) -> Value {
    world.run(["audit", "verify"]).ok();
    let log = world.run(["audit", "log", "-o", "json", "--limit", "200"]).ok().json();
    let pruned = log["events"].as_array().unwrap().iter().rev();
    pruned.filter(|event| event["event"] == "runs prune").cloned().collect()
}

#[test]
fn old_runs_are_shown_confirmed_and_forgotten() {
    let world = remembering();
    let human =
        |args: &[&str]| world.tenantctl(["runs", "prune"]).args(args).env("COLUMNS", "140").run();
    human(&["--older-than", "30d", "--dry-run"]).ok().snapshot("runs_prune_dry_run");
    prune(&world, &["--older-than", "30d"]).run().code(4);
    world.run(["runs", "prune"]).code(64);
    world.run(["runs", "prune", "--keep", "0"]).code(64);
    // The killed one was noted last when this test began.
    assert_eq!(world.rows(LEFT).concat(), ["1", "2", "3", "4"]);
    assert_eq!(events(&world), json!([]));

    let kept = prune(&world, &["--older-than", "30d", "--keep", "3", "--yes"]).run().ok();
    assert_eq!(ids(&kept, "runs"), ["1"]);
    assert_eq!((&kept.json()["rows"], &kept.json()["left"]), (&json!(3), &json!(3)));
    human(&["--older-than", "30d", "--yes"]).ok().snapshot("runs_prune");
    assert_eq!(world.rows(LEFT).concat(), ["4"]);
    assert_eq!(world.rows(ROWS).concat(), ["4"]);
    let deeds = events(&world);
    let told: Vec<_> = deeds.as_array().unwrap().iter().map(|event| &event["outcome"]).collect();
    assert_eq!(told, ["begun", "done", "begun", "done"]);
    assert_eq!(deeds[1]["after"]["runs"], 1);
    assert_eq!(deeds[2]["before"]["tenants"], 41);
    assert_eq!(deeds[2]["detail"], json!({"older_than_s": 30 * 24 * 60 * 60, "keep": null}));

    // A run that was killed goes as well, once it is old.
    world.sql("UPDATE tenantctl.run_targets SET noted_at = now() - interval '31 days'");
    let last = human(&["--older-than", "30d", "--yes", "-o", "ndjson"]).ok();
    assert_eq!(last.json()["run"], KILLED);
    let nothing = human(&["--older-than", "0s", "--yes"]).ok();
    assert_eq!(nothing.stdout(), "nothing to do: 0 runs are remembered\n");
    assert_eq!(events(&world).as_array().unwrap().len(), 6);
}

#[test]
fn where_there_is_no_registry_nothing_is_forgotten_and_none_is_made() {
    let world = World::new();
    let pruned = prune(&world, &["--keep", "1", "--yes"]).run().ok();
    assert_eq!(pruned.json()["runs"], json!([]));
    assert_eq!(world.rows("SELECT FROM pg_namespace WHERE nspname = 'tenantctl'").len(), 0);
}

#[test]
fn a_run_that_goes_on_stays() {
    let world = remembering();
    let session = going_on(&world);
    world.sql(
        "UPDATE tenantctl.runs SET started_at = now() - interval '40 days' WHERE state = 'running'; \
         UPDATE tenantctl.run_targets SET noted_at = now() - interval '40 days'",
    );
    let pruned = prune(&world, &["--older-than", "30d", "--yes"]).run().ok();
    assert_eq!(ids(&pruned, "runs"), ["4", "3", "2", "1"]);
    let going = json!([{"run": GOING_ON, "reason": "going-on", "tenants": null}]);
    assert_eq!(pruned.json()["kept"], going);
    assert_eq!(world.rows(LEFT).concat(), ["5"]);
    drop(session);
    let mut left = world.rows(LEFT).len();
    for _ in 0..100 {
        prune(&world, &["--older-than", "30d", "--yes"]).run().ok();
        left = world.rows(LEFT).len();
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0);
}

/// Why a tenant failed is what `migrate status` tells of one that lags.
#[test]
fn the_last_run_that_tried_a_tenant_stays() {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration("V2__tags.sql", "CREATE TABLE tags ();\nSELECT 1 / 0;\n");
    fleet.up(&["--tenant", "cat", "--tenant", "dog"]).run().code(1);
    fleet.migration("V2__tags.sql", "CREATE TABLE tags ();\n");
    fleet.up(&["--tenant", "dog"]).run().ok();
    fleet.up(&["--tenant", "elk"]).run().ok();
    let before = target(&fleet.status(&[]).run().ok(), "cat")["last_failure"].clone();
    assert!(before["message"].as_str().unwrap().contains("division by zero"), "{before}");

    let all = ["--older-than", "0s", "--yes"];
    let kept = prune(&fleet, &all).run().ok().json();
    assert_eq!((&kept["runs"], &kept["left"]), (&json!([]), &json!(3)));
    assert_eq!(kept["kept"][2], json!({"run": before["run"], "reason": "last-try", "tenants": 1}));
    assert_eq!(target(&fleet.status(&[]).run().ok(), "cat")["last_failure"], before);

    // What was made up for is needed no more.
    fleet.up(&[]).run().ok();
    assert_eq!(prune(&fleet, &all).run().ok().json()["runs"][2]["run"], before["run"]);
}

/// A run that ended after a newer one had begun may be what has made up for the newer one's failure.
#[test]
fn a_failure_that_was_made_up_for_does_not_come_back() {
    let fleet = Fleet::of_schemas(&["cat"]);
    let row = |run: &str, state: &str, error: &str, days: u32| {
        format!(
            "INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, state, \
               error_code, error_message, noted_at) VALUES \
             ('{run}', 'cat', 'main', 'app', 'tenant_cat', '{state}', {error}, {error}, \
              now() - interval '{days} days');"
        )
    };
    let run = |number: u8| format!("0199a8f2-3c4a-7000-8000-00000000000{number}");
    let began = |number: u8, from: u32, to: u32| {
        format!(
            "INSERT INTO tenantctl.runs (id, kind, state, started_at, finished_at, asked) VALUES \
             ('{}', 'up', 'done', now() - interval '{from} days', now() - interval '{to} days', '');",
            run(number)
        )
    };
    // The first was stopped, and resumed when the second was over.
    let rows = [
        began(1, 50, 40),
        began(2, 46, 45),
        began(3, 30, 30),
        row(&run(1), "applied", "NULL", 41),
        row(&run(2), "failed", "'server'", 45),
    ];
    fleet.sql(&rows.concat());
    fleet.migration("V2__tags.sql", "CREATE TABLE tags ();\n");
    let pruned = prune(&fleet, &["--older-than", "1d", "--yes"]).run().ok();
    assert_eq!(
        (ids(&pruned, "runs"), ids(&pruned, "kept")),
        (vec!["3".into()], vec!["2".into(), "1".into()])
    );
    let status = target(&fleet.status(&[]).run().ok(), "cat");
    assert_eq!((&status["status"], &status["last_failure"]), (&json!("pending"), &Value::Null));
}

/// 400 runs, each over three tenants that are there no more.
fn many() -> World {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    world.session("app", OPERATOR).sql(
        "INSERT INTO tenantctl.runs (id, kind, state, started_at, finished_at, asked) \
         SELECT ('0199a8f2-3c4a-7000-8000-' || lpad(at::text, 12, '0'))::uuid, 'up', 'done', \
           now() - interval '90 days', now() - interval '89 days', '' FROM generate_series(1, 400) at; \
         INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, state) \
         SELECT id, 't' || at, 'default', 'app', 't' || at, 'applied' \
         FROM tenantctl.runs, generate_series(1, 3) at",
    );
    world
}

#[test]
fn two_at_once_forget_everything_once() {
    let world = many();
    let both = [(); 2].map(|()| prune(&world, &["--older-than", "30d", "--yes"]).spawn());
    let removed = both.map(|one| one.wait().ok().json()["runs"].as_array().unwrap().len());
    assert_eq!(removed.iter().sum::<usize>(), 400, "{removed:?}");
    assert_eq!((world.rows(LEFT).len(), world.rows(ROWS).concat()), (0, vec!["0".to_owned()]));
    let begun = events(&world);
    let done = |event: &&Value| event["outcome"] == "done";
    let counted =
        begun.as_array().unwrap().iter().filter(done).map(|event| &event["after"]["runs"]);
    assert_eq!(counted.filter_map(Value::as_u64).sum::<u64>(), 400);
}

#[test]
fn who_may_not_remove_runs_is_told_what_to_grant() {
    let world = many();
    world.sql(
        "CREATE ROLE pruner LOGIN; GRANT USAGE ON SCHEMA tenantctl TO pruner; \
         GRANT SELECT ON ALL TABLES IN SCHEMA tenantctl TO pruner; \
         GRANT INSERT ON tenantctl.events TO pruner",
    );
    let pruned = |expected: i32| {
        prune(&world, &["--keep", "399", "--yes"])
            .env("DATABASE_URL", world.url("app", "pruner"))
            .run()
            .code(expected)
    };
    let refused = pruned(1).json()["error"].clone();
    assert_eq!(refused["code"], "permission");
    let grant = "GRANT SELECT, DELETE ON tenantctl.runs TO pruner;";
    assert!(refused["hints"][0].as_str().unwrap().ends_with(grant), "{refused}");
    assert_eq!(world.rows(LEFT).len(), 400);
    assert_eq!(events(&world)[1]["outcome"], "failed");
    world.sql(grant);
    assert_eq!(pruned(0).json()["left"], 399);
    assert_eq!(world.rows(ROWS).concat(), ["1197"]);
}
