//! Through a real PgBouncer: it is recognised, and what cannot pass goes around it or is refused.

use crate::harness::{DATABASE, Outcome, PgBouncer, World};

/// A world whose cluster is reached through PgBouncer, with more keys for the cluster.
fn behind(mode: &str, more: &str) -> Option<(World, PgBouncer)> {
    let world = World::new();
    let pooler = PgBouncer::start(&world, mode)?;
    let url = pooler.operator_url();
    world.file("tenants.toml", &format!("[clusters.main]\nurl = \"{url}\"\n{more}\n"));
    Some((world, pooler))
}

/// The state of a check of `doctor`, and what it says.
fn check(outcome: &Outcome, name: &str) -> Option<(String, String)> {
    let answer = outcome.json();
    let checks = answer["checks"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let found = checks.iter().find(|check| check["check"] == name)?;
    Some((text(&found["health"]), text(&found["detail"])))
}

#[test]
fn a_server_is_not_taken_for_a_pooler() {
    let world = World::new();
    assert_eq!(check(&world.run(["doctor", "-o", "json"]).ok(), "pooler"), None);
}

#[test]
fn a_server_with_tls_is_not_taken_for_a_pooler() {
    let world = World::tls();
    let doctor = world
        .tenantctl(["doctor", "-o", "json"])
        .env("DATABASE_URL", world.tls_url("verify-full"))
        .env("PGPASSWORD", crate::harness::OPERATOR_PASSWORD)
        .run()
        .ok();
    assert_eq!(check(&doctor, "pooler"), None);
}

#[test]
fn doctor_tells_the_modes_apart() {
    for (mode, health, says) in [
        ("session", "ok", "two clients had a session each"),
        ("transaction", "failed", "two clients were lent the same sessions in turn"),
        ("statement", "failed", "it refuses transactions"),
    ] {
        let Some((world, _pooler)) = behind(mode, "") else { return };
        let doctor = world.run(["doctor", "-o", "json"]);
        let (found, detail) = check(&doctor, "pooler").unwrap();
        assert_eq!(found, health, "{detail}");
        assert!(detail.starts_with(&format!("{mode} mode: ")), "{detail}");
        assert!(detail.contains(says), "{detail}");
    }
}

#[test]
fn a_session_pooler_is_as_good_as_the_server() {
    let Some((world, _pooler)) = behind("session", "") else { return };
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.run(["create", "bolt", "--isolation", "database"]).ok();
    world.run(["migrate", "up"]).ok();
}

#[test]
fn what_cannot_pass_is_refused_and_the_way_around_is_asked_for() {
    for mode in ["transaction", "statement"] {
        let Some((world, _pooler)) = behind(mode, "") else { return };
        let refused = world.run(["create", "acme", "--isolation", "schema"]).code(4);
        let said = refused.stderr();
        assert!(
            said.contains(&format!(
                "lock the registry: cluster main is reached through a pooler in {mode} mode"
            )),
            "{said}"
        );
        assert!(said.contains("direct_url"), "{said}");
        assert!(world.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'tenantctl'").is_empty());
        assert!(world.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").is_empty());
    }
}

#[test]
fn a_pooler_before_a_bare_url_is_refused_as_well() {
    let world = World::new();
    let Some(pooler) = PgBouncer::start(&world, "transaction") else { return };
    let refused = world
        .tenantctl(["create", "acme", "--isolation", "schema"])
        .env("DATABASE_URL", pooler.operator_url())
        .run()
        .code(4);
    assert!(refused.stderr().contains("name the server itself"), "{}", refused.stderr());
}

#[test]
fn around_a_transaction_pooler_everything_works() {
    let world = World::new();
    let Some(pooler) = PgBouncer::start(&world, "transaction") else { return };
    let (through, direct) = (pooler.operator_url(), world.operator_url());
    world.file(
        "tenants.toml",
        &format!("[clusters.main]\nurl = \"{through}\"\ndirect_url_env = \"DIRECT\"\n"),
    );
    let run = |args: &[&str]| world.tenantctl(args).env("DIRECT", &direct).run();
    for (id, isolation) in [("acme", "schema"), ("bolt", "shared"), ("cask", "database")] {
        run(&["create", id, "--isolation", isolation]).ok();
    }
    world.sql("DELETE FROM tenant_acme.refinery_schema_history WHERE version > 1");
    run(&["list"]).ok();
    run(&["migrate", "status"]).ok();
    let (health, detail) = check(&run(&["doctor", "-o", "json"]).ok(), "pooler").unwrap();
    assert_eq!(health, "ok");
    assert!(detail.ends_with("direct_url leads around it"), "{detail}");
    run(&["verify-rls"]).ok();
    // Nothing that a session held is left with the pooler's sessions.
    assert!(world.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").is_empty());
}

#[test]
fn reading_passes_through_a_transaction_pooler() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    let Some(pooler) = PgBouncer::start(&world, "transaction") else { return };
    for command in [["list"].as_slice(), &["migrate", "status"]] {
        world.tenantctl(command).env("DATABASE_URL", pooler.operator_url()).run().ok();
    }
}

#[test]
fn what_is_declared_is_believed() {
    let Some((world, _pooler)) = behind("transaction", "pooler = \"none\"") else { return };
    world.run(["create", "acme", "--isolation", "schema", "--dry-run"]).ok();
    let said = check(&world.run(["doctor", "-o", "json"]).ok(), "pooler").unwrap().1;
    assert!(said.contains("the configuration says pooler = \"none\""), "{said}");

    let world = World::new();
    world.config("pooler = \"transaction\"\n");
    let refused = world.run(["create", "acme", "--isolation", "schema"]).code(4);
    assert!(refused.stderr().contains("the configuration says"), "{}", refused.stderr());
    let url = world.url(DATABASE, "platform");
    world.config(&format!("pooler = \"transaction\"\ndirect_url = \"{url}\"\n"));
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.config(&format!("direct_url = \"{url}\"\ndirect_url_env = \"DIRECT\"\n"));
    let refused = world.run(["list"]).code(1);
    assert!(
        refused.stderr().contains("both direct_url and direct_url_env"),
        "{}",
        refused.stderr()
    );
}
