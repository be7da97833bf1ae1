//! `create` that is killed at any request it sends is finished by the next one, and leaves nothing
//! that an undisturbed one would not have made.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Model, Proxy, World, catalog};

const UUID: &str = "11111111-1111-1111-1111-111111111111";

/// So many servers at once: more wait for each other.
const AT_ONCE: usize = 3;

fn create(model: Model) -> [&'static str; 6] {
    ["create", "acme", "--isolation", model.word(), "--uuid", UUID]
}

/// What an undisturbed `create` makes, and how many requests it sends.
fn undisturbed(model: Model) -> (BTreeSet<String>, usize) {
    let world = World::new();
    let proxy = Proxy::start(&world, None);
    let outcome =
        world.tenantctl(create(model)).env("DATABASE_URL", proxy.operator_url(&world)).run().ok();
    assert!(outcome.stdout().starts_with("created tenant acme"), "{}", outcome.transcript());
    (catalog(&world), proxy.requests())
}

/// Kills one `create`, and finishes it. Returns what is wrong, if anything is.
fn kill_and_finish(
    world: &World,
    model: Model,
    kill_after: usize,
    expected: &BTreeSet<String>,
) -> Result<(), String> {
    let proxy = Proxy::start(world, Some(kill_after));
    let victim =
        world.tenantctl(create(model)).env("DATABASE_URL", proxy.operator_url(world)).spawn();
    proxy.aim_at(victim.pid());
    let killed = victim.wait().transcript();
    if !killed.contains("signal: 9") {
        return Err(format!("was not killed:\n{killed}"));
    }

    let second = world.run(create(model)).transcript();
    if !second.contains("\nexit 0\n") {
        return Err(format!("was not finished:\n{second}"));
    }
    let found = catalog(world);
    if found != *expected {
        let more: Vec<_> = found.difference(expected).collect();
        let less: Vec<_> = expected.difference(&found).collect();
        return Err(format!("leftovers: {more:#?}\nmissing: {less:#?}\n{second}"));
    }
    let third = world.run(create(model)).transcript();
    if !third.contains("\nexit 0\n") || !third.contains("nothing to do") {
        return Err(format!("was not finished at once:\n{third}"));
    }
    Ok(())
}

/// Takes everything away again: a third of the time that a new server takes. What it forgets is
/// found by the next comparison.
fn start_over(world: &World, model: Model) {
    let mut session = world.session("app", "postgres");
    session.sql("DROP SCHEMA tenantctl CASCADE");
    match model {
        Model::Database => session.sql("DROP DATABASE tenant_acme WITH (FORCE)"),
        Model::Shared | Model::Schema => {
            session.sql(&format!("DROP SCHEMA {} CASCADE", model.schema("acme")));
        }
    }
    for role in [model.owner("acme"), model.role("acme")] {
        session.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    }
}

/// With a `stride` of 1, at every request; the models have most of them in common.
fn survives_kills(model: Model, stride: usize) {
    let (expected, requests) = undisturbed(model);
    assert!(requests > 20, "only {requests} requests passed");
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut world = World::new();
                loop {
                    let at = next.fetch_add(stride, Ordering::SeqCst);
                    if at >= requests {
                        return;
                    }
                    match kill_and_finish(&world, model, at, &expected) {
                        Ok(()) => start_over(&world, model),
                        Err(failure) => {
                            let failure = format!("killed after request {at}: {failure}");
                            failures.lock().unwrap().push(failure);
                            world = World::new();
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let (count, all) = (failures.len(), failures.join("\n\n"));
    assert!(failures.is_empty(), "{count} of {} kills:\n{all}", requests.div_ceil(stride));
}

#[test]
fn a_shared_tenant_survives_kills() {
    survives_kills(Model::Shared, 3);
}

#[test]
fn a_tenant_with_a_schema_survives_a_kill_at_every_request() {
    survives_kills(Model::Schema, 1);
}

#[test]
fn a_tenant_with_a_database_survives_kills() {
    survives_kills(Model::Database, 3);
}
