//! While a move is open a tenant has two places: whatever would forget one of them waits for its end.

use crate::harness::{Proxy, World};

const VERBS: [&[&str]; 6] = [
    &["suspend", "acme"],
    &["delete", "acme"],
    &["purge", "acme", "--yes"],
    &["rename", "acme", "acorn"],
    &["erase", "acme", "--yes"],
    &["erase", "acme", "--where-file", "ann.toml", "--yes"],
];

fn all_are_refused(world: &World, says: &str, hint: &str) {
    for args in VERBS {
        let outcome = world.run(args).code(4);
        let stderr = outcome.stderr();
        assert!(stderr.contains(says) && stderr.contains(hint), "{}", outcome.transcript());
        let dry = world.tenantctl(args).args(["--dry-run"]).run().code(4);
        assert!(dry.stderr().contains(says), "{}", dry.transcript());
    }
    // What loses nothing is done.
    world.run(["hold", "set", "acme", "--reason", "case 12"]).ok();
    world.run(["hold", "clear", "acme"]).ok();
}

#[test]
fn a_move_comes_to_its_end_before_the_tenant_does() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.file("ann.toml", "[where]\nusers = \"true\"\n");
    let to = ["move", "acme", "--to-isolation", "database"];
    world.run(["suspend", "acme"]).ok();
    let refused = world.run(to).code(4);
    assert!(
        refused.stderr().contains("it is suspended")
            && refused.stderr().contains("first: tenantctl resume acme"),
        "{}",
        refused.transcript()
    );
    world.run(["resume", "acme"]).ok();
    let proxy = Proxy::start(&world, None);
    world.tenantctl(to).env("DATABASE_URL", proxy.operator_url(&world)).run().ok();
    all_are_refused(
        &world,
        "it has moved, and its old place is kept",
        "first: tenantctl move finish acme, or tenantctl move abort acme",
    );
    world.run(["move", "abort", "acme"]).ok();
    let half = proxy.requests() / 2;
    let proxy = Proxy::start(&world, Some(half));
    let victim = world.tenantctl(to).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
    proxy.aim_at(victim.pid());
    drop(victim.wait());
    assert_eq!(world.rows("SELECT state FROM tenantctl.tenants"), [["moving"]]);
    all_are_refused(
        &world,
        "it is being moved",
        "first: tenantctl move acme, or tenantctl move abort acme",
    );
    world.run(["move", "acme"]).ok();
    world.run(["move", "finish", "acme", "--yes"]).ok();
    world.run(["suspend", "acme"]).ok();
}
