//! `verify-rls matrix`: who can do what, in every model and every format.

use serde_json::Value;

use crate::harness::{OPERATOR, World};
use crate::verify_rls::fleet;

/// How far a role reaches with a verb on an object; `-` when it cannot.
fn access<'a>(answer: &'a Value, object: &str, role: &str, verb: &str) -> &'a str {
    let entries = answer["matrix"].as_array().unwrap();
    entries
        .iter()
        .filter(|one| one["object"]["name"] == object && one["role"] == role)
        .find_map(|one| one["access"][verb].as_str())
        .unwrap_or("-")
}

#[test]
fn it_says_who_can_do_what_and_what_is_open() {
    let world = fleet(World::new(), OPERATOR, "app_rw");
    let read = |world: &World| world.run(["verify-rls", "matrix", "-o", "json"]).ok().json();
    let sound = read(&world);
    for (object, role, verb, wanted) in [
        ("app.users", "app_rw", "SELECT", "bound"),
        ("app.users", "app_rw", "TRUNCATE", "-"),
        ("app.users", "ro_rw", "SELECT", "bound"),
        ("app.users", "ro_rw", "INSERT", "-"),
        ("tenant_cat.users", "app_tenant_cat", "DELETE", "own"),
        ("tenant_cat.users", "app_tenant_dan", "SELECT", "-"),
        ("tenant_cat.users", "ro_cat", "SELECT", "own"),
        ("app", "app_rw", "USAGE", "common"),
        ("tenant_eve", "app_tenant_eve", "CONNECT", "own"),
    ] {
        assert_eq!(access(&sound, object, role, verb), wanted, "{role} {verb} {object}");
    }
    let open = |answer: &Value| {
        let entries = answer["matrix"].as_array().unwrap();
        let any =
            |one: &&Value| one["access"].as_object().unwrap().values().any(|far| far == "open");
        entries.iter().filter(any).count()
    };
    assert_eq!(open(&sound), 0);
    let clean = world.run(["verify-rls", "matrix", "--open"]).ok();
    assert!(clean.stdout().contains("nothing is open"), "{}", clean.stdout());
    for (columns, name) in [("80", "verify_rls_matrix_narrow"), ("160", "verify_rls_matrix_wide")] {
        let shown = world.tenantctl(["verify-rls", "matrix", "-q"]).env("COLUMNS", columns).run();
        drop(shown.ok().snapshot(name));
    }

    world.sql(
        "GRANT TRUNCATE ON app.users TO app_rw; ALTER TABLE app.tags DISABLE ROW LEVEL SECURITY;
         CREATE VIEW app.all_users AS SELECT * FROM app.users; GRANT SELECT ON app.all_users TO ro_rw;
         GRANT USAGE ON SCHEMA tenant_dan TO app_tenant_cat; GRANT SELECT ON tenant_dan.users TO app_tenant_cat",
    );
    let broken = read(&world);
    for (object, role, verb, wanted) in [
        ("app.users", "app_rw", "TRUNCATE", "open"),
        ("app.users", "app_rw", "SELECT", "bound"),
        ("app.tags", "app_rw", "INSERT", "open"),
        ("app.all_users", "ro_rw", "SELECT", "open"),
        ("tenant_dan.users", "app_tenant_cat", "SELECT", "open"),
        ("tenant_dan", "app_tenant_cat", "USAGE", "open"),
    ] {
        assert_eq!(access(&broken, object, role, verb), wanted, "{role} {verb} {object}");
    }
    let csv = world.run(["verify-rls", "matrix", "--open", "-o", "csv"]).ok();
    let lines: Vec<&str> = csv.stdout().lines().collect();
    assert_eq!(lines[0], "cluster,database,kind,object,role,tenants,verb,access");
    assert!(lines.contains(&"main,app,table,app.users,app_rw,ann bob,TRUNCATE,open"), "{lines:#?}");
    let marked = world.run(["verify-rls", "matrix", "--tenant", "cat", "-o", "markdown"]).ok();
    assert!(
        marked
            .stdout()
            .contains("| main/app | table tenant_dan.users | app_tenant_cat | **open** SELECT |"),
        "{}",
        marked.stdout()
    );
    drop(world.run(["verify-rls", "matrix", "-o", "sarif"]).code(64));
    drop(world.run(["verify-rls", "-o", "csv"]).code(64));
    drop(world.run(["verify-rls", "--static", "matrix"]).code(64));
    drop(world.run(["-o", "json", "verify-rls", "matrix"]).ok());
    world.sql("ALTER DATABASE tenant_eve WITH ALLOW_CONNECTIONS false");
    drop(world.run(["verify-rls", "matrix"]).code(3));
}
