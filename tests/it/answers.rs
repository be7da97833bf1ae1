//! What people and scripts read: stdout is the answer, stderr the story, 80 columns wide.

use crate::harness::{Outcome, World};

const UUID: &str = "11111111-1111-1111-1111-111111111111";

#[track_caller]
fn fits(outcome: Outcome) -> Outcome {
    // Sentences are left to the terminal, which wraps them; a table would fall apart.
    let tables = outcome.stdout().lines().filter(|line| !line.starts_with("note: "));
    for line in tables {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    assert!(!outcome.transcript().contains('\u{1b}'), "colour without a terminal");
    outcome
}

/// Runs a command for a reader of 80 columns: a pipe has no width of its own.
fn narrow<const N: usize>(world: &World, arguments: [&str; N]) -> Outcome {
    world.tenantctl(arguments).env("COLUMNS", "80").run()
}

#[test]
fn what_people_read() {
    let world = World::new();
    fits(narrow(&world, ["list"]).ok()).snapshot("list_nothing");
    // As a superuser: an operator becomes a member in one step more before PostgreSQL 16.
    let superuser = world.url("app", "postgres");
    let create = ["create", "acme", "--isolation", "schema", "--uuid", UUID];
    let run = |arguments: &[&str]| world.tenantctl(arguments).env("DATABASE_URL", &superuser).run();
    fits(run(&create).ok()).snapshot("create");
    fits(run(&create).ok()).snapshot("create_again");
    fits(run(&["create", "globex", "--isolation", "shared", "-q"]).ok()).snapshot("create_quiet");
    run(&["create", "initech", "--isolation", "database", "--label", "wave=canary"]).ok();
    fits(run(&["list"]).ok()).snapshot("list");
    fits(run(&["show", "initech"]).ok()).snapshot("show");
    run(&["show", "initec"]).code(1).snapshot("show_unknown");
    run(&["create", "acme", "--isolation", "database"]).code(4).snapshot("create_refused");
    run(&["create", "Acme"]).code(64).snapshot("create_usage");
    run(&["create", "acme", "--isolation", "none"]).code(64).snapshot("create_no_model");
    world.sql("ALTER TABLE tenantctl.tenants RENAME TO moved");
    run(&["list"]).code(1).snapshot("server_error");
}

#[test]
fn a_list_shows_the_columns_that_tell_tenants_apart() {
    let world = World::new();
    let second = crate::harness::Postgres::start();
    world.config(&format!(
        "{}[tiers.free]\n[tiers.enterprise]\n",
        second.cluster_toml("second", "us")
    ));
    world.run(["create", "acme", "--tier", "free"]).ok();
    let one = fits(narrow(&world, ["list"]).ok());
    assert!(
        one.stdout().contains("TIER") && !one.stdout().contains("CLUSTER"),
        "{}",
        one.transcript()
    );
    world
        .run([
            "create",
            "a-customer-with-a-long-name",
            "--cluster",
            "second",
            "--tier",
            "enterprise",
        ])
        .ok();
    fits(narrow(&world, ["list"]).ok()).snapshot("list_of_two_clusters");
}

#[test]
fn what_scripts_read() {
    let world = World::new();
    let create = ["create", "acme", "--isolation", "schema", "--uuid", UUID, "-o", "json"];
    let made = world.run(create).ok();
    let mut document = made.json();
    document["credentials"] = serde_json::Value::Null;
    world.snapshot("create_json", &serde_json::to_string_pretty(&document).unwrap());
    world.run(["list", "-o", "json"]).ok().snapshot("list_json");
    world.run(["show", "acme", "-o", "json"]).ok().snapshot("show_json");
    world.run(["show", "nobody", "-o", "json"]).code(1).snapshot("show_unknown_json");
    let refused = ["create", "acme", "--isolation", "shared", "-o", "json"];
    world.run(refused).code(4).snapshot("create_refused_json");
    world.run(["create", "globex"]).ok();
    let lines = world.run(["list", "-o", "ndjson"]).ok().ndjson();
    let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["acme", "globex"]);
    // The story is on stderr, and -q takes it away.
    let quiet = world.run(["create", "initech", "-q", "-o", "json"]).ok();
    assert_eq!((quiet.json()["outcome"].as_str(), quiet.stderr()), (Some("created"), ""));
}

#[test]
fn the_doctor_says_how_things_stand() {
    let world = World::new();
    let fresh = world.run(["doctor"]).ok();
    assert!(fresh.stdout().contains("0 failed"), "{}", fresh.transcript());
    world.sql("ALTER ROLE platform NOCREATEDB");
    let less = world.run(["doctor"]);
    assert!(less.stdout().contains("CREATEDB"), "{}", less.transcript());
    drop(world);
    let gone = World::new();
    let url = gone.operator_url().replace("/app", "/nowhere");
    let failed = gone.tenantctl(["doctor"]).env("DATABASE_URL", url).run().code(2);
    assert!(failed.stdout().contains("failed"), "{}", failed.transcript());
}

#[test]
fn tenants_are_selected() {
    let world = World::new();
    world.config("[tiers.free]\n[tiers.pro]\n");
    for (tenant, tier, label) in
        [("a", "free", "wave=canary"), ("b", "pro", "wave=late"), ("c", "free", "wave=late")]
    {
        world.run(["create", tenant, "--tier", tier, "--label", label]).ok();
    }
    let ids = |arguments: &[&str]| -> Vec<String> {
        let lines = world.run(["list", "-o", "ndjson"].iter().chain(arguments)).ok().ndjson();
        lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--selector", "tier=free"]), ["a", "c"]);
    assert_eq!(ids(&["--selector", "tier=free,wave!=canary"]), ["c"]);
    assert_eq!(ids(&["--tenant", "b", "--tenant", "a"]), ["a", "b"]);
    assert_eq!(ids(&["--exclude", "b"]), ["a", "c"]);
    let unknown = world.run(["list", "--tenant", "d"]).code(1);
    assert!(unknown.stderr().contains("tenant d"), "{}", unknown.transcript());
}

#[test]
fn a_tenant_without_its_schema_is_told_from_one_that_was_never_migrated() {
    let world = World::new();
    drop(world.run(["create", "acme"]).ok());
    world.sql("DROP SCHEMA tenant_acme CASCADE");
    let listed = world.run(["list", "-o", "json"]).ok().json();
    assert_eq!(listed["tenants"][0]["version"], serde_json::Value::Null, "{listed:#}");
    assert_eq!(listed["tenants"][0]["error"], "there is no schema tenant_acme", "{listed:#}");
}
