//! The second login of a rotated password goes where its tenant goes: closed, opened, renamed, moved
//! and removed with it.

use std::collections::BTreeSet;

use crate::credentials_rotate::{open, secret, with_passwords};
use crate::harness::{Model, World, catalog, on_every_version_with};

/// A login and its password.
type Secret = (String, String);

/// A tenant whose password was rotated: what worked first, and the second login's.
fn rotated(world: &World, tenant: &str, isolation: &str) -> [Secret; 2] {
    let (first, second) = (format!("{tenant}.json"), format!("{tenant}-b.json"));
    let create = ["create", tenant, "--isolation", isolation, "--tier", "pro"];
    world.run(create.into_iter().chain(["--credentials-file", &first])).ok();
    let to = format!("file:{second}");
    world.run(["credentials", "rotate", tenant, "--grace", "1d", "--to", &to]).ok();
    let both = [secret(world, &first), secret(world, &second)];
    assert_eq!(both[1].0, format!("{}-b", both[0].0));
    both
}

fn fleet(world: &World) {
    world.config(
        "[tiers.pro]\nconnection_limit = 7\nstatement_timeout = \"31s\"\n[isolation.shared]\nrole = \"app_{tenant}\"\n",
    );
}

/// Both logins get in, are the role, and find their tables.
fn works(world: &World, database: &str, role: &str, schema: &str, secrets: &[Secret; 2]) {
    for secret in secrets {
        let mut session = open(world, database, secret).unwrap();
        let rows = session
            .rows("SELECT current_user, current_schema(), current_setting('statement_timeout')");
        assert_eq!(rows, [[role, schema, "31s"]], "{}", secret.0);
        session.sql("SELECT count(*) FROM tags");
    }
}

fn renamed(secrets: &[Secret; 2], old: &str, new: &str) -> [Secret; 2] {
    secrets.clone().map(|(login, password)| (login.replace(old, new), password))
}

/// Everything but what closing shared rows leaves behind for the next time.
fn standing(world: &World) -> BTreeSet<String> {
    catalog(world)
        .into_iter()
        .filter(|line| !line.contains("tenantctl_closed") && !line.contains("tenantctl_open"))
        .collect()
}

fn issued(world: &World, like: &str) -> Vec<Vec<String>> {
    world.rows(&format!(
        "SELECT login, role, state, issued_at::text FROM tenantctl.credentials WHERE login LIKE '%{like}%' ORDER BY 1"
    ))
}

#[test]
fn who_is_closed_is_closed_to_both_logins_and_comes_back_with_both() {
    on_every_version_with(with_passwords, |world| {
        fleet(&world);
        let tenants = [
            ("acme", "schema", "app"),
            ("globex", "shared", "app"),
            ("initech", "database", "tenant_initech"),
        ];
        let secrets = tenants.map(|(tenant, isolation, _)| rotated(&world, tenant, isolation));
        // Somebody has closed one of them before: that is not ours to open.
        world.sql("ALTER ROLE app_globex NOLOGIN");
        let before = standing(&world);
        let mut inside = open(&world, "app", &secrets[0][1]).unwrap();
        world.run(["suspend", "acme", "globex", "initech"]).ok();
        assert!(inside.attempt("SELECT 1").is_err(), "the second login's session goes on");
        for ((_, _, database), secrets) in tenants.iter().zip(&secrets) {
            for secret in secrets {
                let refused = open(&world, database, secret).err().unwrap();
                assert_eq!(refused.sqlstate, "28000", "{}: {}", secret.0, refused.message);
            }
        }
        // One that is dropped while it is closed is not missed.
        world.sql("DROP ROLE \"app_globex-b\"");
        world.run(["resume", "acme", "globex", "initech"]).ok();
        let without = |lines: BTreeSet<String>| -> Vec<String> {
            lines.into_iter().filter(|line| !line.contains("app_globex-b")).collect()
        };
        assert_eq!(without(standing(&world)), without(before));
        works(&world, "app", "app_tenant_acme", "tenant_acme", &secrets[0]);
        works(&world, "tenant_initech", "app_tenant_initech", "app", &secrets[2]);
    });
}

#[test]
fn a_tenant_is_renamed_with_both_logins_and_what_is_known_of_them() {
    on_every_version_with(with_passwords, |world| {
        fleet(&world);
        let acme = rotated(&world, "acme", "schema");
        let globex = rotated(&world, "globex", "shared");
        let initech = rotated(&world, "initech", "database");
        let was: Vec<Vec<String>> = issued(&world, "acme");
        assert_eq!(was.len(), 2);
        let dry = world.run(["rename", "acme", "acorn", "--dry-run"]).ok();
        assert!(
            dry.stdout().contains("\"app_tenant_acme-b\" -> \"app_tenant_acorn-b\""),
            "{}",
            dry.transcript()
        );
        world.run(["suspend", "acme"]).ok();
        for (old, new) in [("acme", "acorn"), ("globex", "glow"), ("initech", "inn")] {
            world.run(["rename", old, new]).ok();
        }
        world.run(["resume", "acorn"]).ok();
        let acorn = renamed(&acme, "acme", "acorn");
        works(&world, "app", "app_tenant_acorn", "tenant_acorn", &acorn);
        works(&world, "app", "app_glow", "app", &renamed(&globex, "globex", "glow"));
        let inn = renamed(&initech, "initech", "inn");
        works(&world, "tenant_inn", "app_tenant_inn", "app", &inn);
        let now: Vec<Vec<String>> = issued(&world, "acorn");
        let expected: Vec<Vec<String>> = was
            .into_iter()
            .map(|row| row.into_iter().map(|text| text.replace("acme", "acorn")).collect())
            .collect();
        assert_eq!(now, expected);
        for old in ["acme", "globex", "initech"] {
            assert_eq!(issued(&world, old), Vec::<Vec<String>>::new());
        }
        let given =
            world.rows("SELECT tenant FROM tenantctl.limits WHERE tenant IN ('acorn', 'acme')");
        assert_eq!(given, [["acorn"]]);
        world.run(["set", "acorn", "--check"]).ok();
        // The next rotation takes the right one.
        world
            .run(["credentials", "rotate", "acorn", "--now", "--yes", "--to", "file:acorn.json"])
            .ok();
        let next = secret(&world, "acorn.json");
        assert_eq!(next.0, "app_tenant_acorn");
        open(&world, "app", &next).unwrap();
        assert!(open(&world, "app", &acorn[1]).is_err());
        world.run(["create", "acorn"]).ok();
    });
}

#[test]
fn a_tenant_moves_with_both_logins() {
    let world = World::with(with_passwords);
    fleet(&world);
    let acme = rotated(&world, "acme", "schema");
    let globex = rotated(&world, "globex", "shared");
    world.seed(Model::Schema, "acme", 3);
    let before = standing(&world);
    let to = |isolation| ["move", "acme", "--to-isolation", isolation];
    world.run(to("database")).ok();
    works(&world, "tenant_acme", "app_tenant_acme", "app", &acme);
    world.run(["move", "abort", "acme"]).ok();
    assert_eq!(standing(&world), before);
    works(&world, "app", "app_tenant_acme", "tenant_acme", &acme);
    world.run(to("database")).ok();
    world.run(["move", "finish", "acme", "--yes"]).ok();
    works(&world, "tenant_acme", "app_tenant_acme", "app", &acme);
    assert_eq!(
        world.rows("SELECT count(*) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE r.rolname ~ 'acme' AND s.setdatabase <> 0"),
        [["0"]]
    );
    world.run(to("schema")).ok();
    works(&world, "app", "app_tenant_acme", "tenant_acme", &acme);
    world.run(["move", "finish", "acme", "--yes"]).ok();
    works(&world, "app", "app_tenant_acme", "tenant_acme", &acme);
    assert_eq!(standing(&world), before);
    assert_eq!(issued(&world, "acme").len(), 2);
    // Where the role is another one, the old one goes with both of its logins.
    world.run(["move", "globex", "--to-isolation", "schema"]).ok();
    world.run(["move", "finish", "globex", "--yes"]).ok();
    for secret in &globex {
        assert!(open(&world, "app", secret).is_err());
    }
    assert_eq!(world.rows("SELECT rolname FROM pg_roles WHERE rolname ~ '^app_globex'").len(), 0);
    assert_eq!(issued(&world, "app_globex"), Vec::<Vec<String>>::new());
}

#[test]
fn a_purged_tenant_leaves_no_login_and_nothing_of_it_in_the_registry() {
    let world = World::with(with_passwords);
    fleet(&world);
    for (tenant, isolation) in [("acme", "schema"), ("globex", "shared"), ("initech", "database")] {
        rotated(&world, tenant, isolation);
        world.run(["delete", tenant, "--grace", "0s"]).ok();
        let purged = world.run(["purge", tenant, "--yes", "-o", "json"]).ok().json();
        let removed = purged["targets"][0]["receipt"]["document"]["removed"].to_string();
        assert!(removed.contains("-b"), "{removed}");
        let left = world.rows(&format!("SELECT rolname FROM pg_roles WHERE rolname ~ '{tenant}'"));
        assert_eq!(left, Vec::<Vec<String>>::new());
        assert_eq!(issued(&world, tenant), Vec::<Vec<String>>::new());
    }
    assert_eq!(world.rows("SELECT count(*) FROM tenantctl.limits"), [["0"]]);
}
