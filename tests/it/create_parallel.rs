//! Many `create` at once: they all succeed, and two of one tenant make one tenant.

use std::time::Duration;

use crate::harness::{Model, World};

/// The key of a tenant's lock: the first eight bytes of a digest, as `pg::lock` derives it.
const TENANT_LOCK: &str = "('x' || encode(substr(sha256(decode('74656e616e7463746c0074656e616e7400', 'hex') \
                           || 'acme'::bytea), 1, 8), 'hex'))::bit(64)::bigint";

/// Starts sixteen at once, twice in a row; every one must succeed.
fn sixteen_at_once(model: impl Fn(usize) -> Model) {
    let world = World::with(|options| options.setting("max_connections", "100"));
    for round in 0..2 {
        let running: Vec<_> = (0..16)
            .map(|at| {
                let tenant = format!("t{round}-{at}");
                world.tenantctl(["create", &tenant, "--isolation", model(at).word()]).spawn()
            })
            .collect();
        for one in running {
            let outcome = one.wait().ok();
            assert!(outcome.stdout().starts_with("created tenant t"), "{}", outcome.transcript());
        }
    }
    let states = world.rows("SELECT state, count(*) FROM tenantctl.tenants GROUP BY 1");
    assert_eq!(states, [["active", "32"]]);
    for at in [0, 7, 15] {
        let again = world.run(["create", &format!("t1-{at}")]).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
    }
}

#[test]
fn sixteen_shared_tenants_are_made_at_once() {
    sixteen_at_once(|_| Model::Shared);
}

#[test]
fn sixteen_tenants_with_schemas_are_made_at_once() {
    sixteen_at_once(|_| Model::Schema);
}

#[test]
fn sixteen_tenants_with_databases_are_made_at_once() {
    sixteen_at_once(|_| Model::Database);
}

#[test]
fn sixteen_tenants_of_all_models_are_made_at_once() {
    sixteen_at_once(|at| Model::ALL[at % 3]);
}

#[test]
fn of_two_that_make_one_tenant_one_makes_it_and_the_other_waits() {
    let world = World::new();
    for round in 0..3 {
        let tenant = format!("t{round}");
        let running = [(); 2].map(|()| world.tenantctl(["create", &tenant]).spawn());
        let mut said: Vec<String> = running
            .map(|one| one.wait().ok().stdout().split([':', ' ']).next().unwrap().to_owned())
            .into();
        said.sort();
        assert_eq!(said, ["created", "nothing"]);
    }
}

#[test]
fn a_held_lock_is_waited_for_and_then_named() {
    let world = World::new();
    world.run(["create", "first"]).ok();
    let mut holder = world.session("app", "postgres");
    holder.sql("SET application_name = 'tenantctl/create'");
    holder.sql(&format!("SELECT pg_advisory_lock({TENANT_LOCK})"));
    let refused = world.run(["create", "acme", "--tenant-lock-wait", "100ms"]).code(5);
    for part in [
        "error[lock-busy]: lock tenant acme: another session still holds it after 0.1 s",
        "it is held by tenantctl/create, pid ",
        "--tenant-lock-wait",
    ] {
        assert!(refused.stderr().contains(part), "{}", refused.transcript());
    }
    assert_eq!(refused.stdout(), "");
    assert!(refused.elapsed() < Duration::from_secs(5), "{:?}", refused.elapsed());
    let json = world.run(["create", "acme", "--tenant-lock-wait", "0s", "-o", "json"]).code(5);
    assert_eq!(json.json()["error"]["code"], "lock-busy");
    // Another tenant does not wait, and the lock's end is noticed.
    world.run(["create", "globex", "--tenant-lock-wait", "0s"]).ok();
    let mut waiting = world.tenantctl(["create", "acme", "--tenant-lock-wait", "60s"]).spawn();
    let mut watcher = world.session("app", "postgres");
    waiting.wait_until("it waits", || {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tenantctl/create' \
                     AND query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid()";
        watcher.rows(waits) == [["1"]]
    });
    holder.sql("SELECT pg_advisory_unlock_all()");
    let made = waiting.wait().ok();
    assert!(made.stdout().starts_with("created tenant acme"), "{}", made.transcript());
}
