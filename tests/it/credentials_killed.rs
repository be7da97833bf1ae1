//! A rotation that is killed at every request it sends: whoever had a password gets in, and so does
//! whoever is told the new one, once it has been run again.

use crate::credentials_rotate::{open, secret, with_passwords};
use crate::harness::{Proxy, World};

const ROTATE: [&str; 5] = ["credentials", "rotate", "--to", "file:{role}.json", "-q"];

fn world() -> World {
    let world = World::with(with_passwords);
    world.run(["create", "acme", "--credentials-file", "app_tenant_acme.json"]).ok();
    world
        .run(["create", "globex", "--isolation", "shared", "--credentials-file", "app_rw.json"])
        .ok();
    world
}

/// Both roles' current passwords.
fn secrets(world: &World) -> [(String, String); 2] {
    ["app_tenant_acme.json", "app_rw.json"].map(|file| secret(world, file))
}

#[test]
fn a_rotation_that_is_killed_locks_nobody_out() {
    let world = world();
    let mut at = 0;
    loop {
        let before = secrets(&world);
        let proxy = Proxy::start(&world, Some(at));
        let victim =
            world.tenantctl(ROTATE).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
        proxy.aim_at(victim.pid());
        let was_killed = victim.wait().transcript().contains("signal: 9");
        for secret in &before {
            assert!(open(&world, "app", secret).is_ok(), "{at}: {} is locked out", secret.0);
        }
        let told = secrets(&world);
        let again = world.run(ROTATE).ok();
        let after = secrets(&world);
        for (secret, told) in after.iter().zip(&told) {
            assert!(open(&world, "app", secret).is_ok(), "{at}: {}", again.transcript());
            // What had arrived before is not replaced again.
            if secret == told {
                assert!(open(&world, "app", told).is_ok(), "{at}");
            }
        }
        for secret in &before {
            assert!(open(&world, "app", secret).is_ok(), "{at}: {}", again.transcript());
        }
        let rows = world.rows(
            "SELECT count(*) FILTER (WHERE state = 'current'), count(*) FILTER (WHERE state = 'issuing') \
             FROM tenantctl.credentials",
        );
        assert_eq!(rows, [["2", "0"]], "{at}: {}", again.transcript());
        let third = world.run(ROTATE).ok();
        assert!(third.stdout().contains("2 unchanged"), "{}", third.transcript());
        world.run(["credentials", "revoke", "--old", "-q"]).ok();
        // Every second time the second login is made anew.
        if after[0].0 == "app_tenant_acme" && at % 2 == 0 {
            world.sql(
                "DROP OWNED BY \"app_tenant_acme-b\"; DROP ROLE \"app_tenant_acme-b\"; \
                 DELETE FROM tenantctl.credentials WHERE login = 'app_tenant_acme-b'",
            );
        }
        if !was_killed {
            break;
        }
        at += 1;
    }
    assert!(at > 30, "{at} requests");
    world.run(["verify-rls", "--fail-on", "info"]).ok();
}
