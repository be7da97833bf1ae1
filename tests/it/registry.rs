//! The registry: made by the first command that needs it, by whoever may, and by nobody older.

use tenantctl::migrations::embedded;

use crate::harness::{World, catalog, on_every_version};

/// The newest version that the binary knows.
fn head() -> String {
    embedded::registry().unwrap().head().unwrap().to_string()
}

#[test]
fn reading_never_makes_a_registry() {
    let world = World::new();
    let before = catalog(&world);
    for (arguments, code) in [
        (&["list"][..], 0),
        (&["list", "-o", "json"], 0),
        (&["show", "acme"], 1),
        (&["doctor"], 0),
        (&["config", "show"], 0),
        (&["migrate", "status"], 1),
        (&["create", "acme", "--dry-run"], 0),
    ] {
        world.run(arguments).code(code);
        assert_eq!(catalog(&world), before, "{arguments:?}");
    }
    // With tenants in tenants.toml, those are what is read.
    world.config("[[tenants]]\nid = \"acme\"\nisolation = \"schema\"\n");
    let listed = world.run(["list", "-o", "json"]).ok().json();
    assert_eq!(listed["source"], "tenants.toml");
    assert_eq!(listed["tenants"][0]["version"], serde_json::Value::Null);
    let human = world.run(["list"]).ok();
    assert!(
        human.stdout().contains("from tenants.toml: there is no registry"),
        "{}",
        human.transcript()
    );
    assert_eq!(catalog(&world), before);
}

#[test]
fn the_first_create_makes_the_registry_as_an_operator() {
    on_every_version(|world| {
        world.run(["create", "acme"]).ok();
        assert_eq!(
            world.rows(
                "SELECT nspowner::regrole, nspacl FROM pg_namespace WHERE nspname = 'tenantctl'"
            ),
            [["platform", "NULL"]]
        );
        assert_eq!(
            world.rows("SELECT count(*) FROM pg_class WHERE relnamespace = 'tenantctl'::regnamespace AND relacl IS NOT NULL"),
            [["0"]]
        );
        let events = "SELECT tenant, event, actor, application, detail ->> 'state' FROM tenantctl.events ORDER BY id";
        assert_eq!(
            world.rows(events),
            [
                ["acme", "state", "platform", "tenantctl/create", "provisioning"],
                ["acme", "state", "platform", "tenantctl/create", "active"],
                ["acme", "create", "platform", "tenantctl/create", "NULL"],
            ]
        );
        let kept =
            world.session("app", "platform").attempt("DELETE FROM tenantctl.events").unwrap_err();
        assert_eq!(kept.sqlstate, "42501");
        // Its history is refinery's, as everybody else's.
        assert_eq!(
            world.rows("SELECT max(version) FROM tenantctl.refinery_schema_history"),
            [[head()]]
        );
    });
}

#[test]
fn the_registry_may_have_a_database_of_its_own() {
    let world = World::new();
    world.sql_in("postgres", "CREATE DATABASE control OWNER platform");
    world.config("[registry]\ndatabase = \"control\"\n");
    for (tenant, model) in [("one", "shared"), ("two", "schema"), ("three", "database")] {
        world.run(["create", tenant, "--isolation", model]).ok();
        let again = world.run(["create", tenant]).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
    }
    assert_eq!(world.rows("SELECT to_regnamespace('tenantctl')"), [["NULL"]]);
    assert_eq!(world.rows_in("control", "SELECT count(*) FROM tenantctl.tenants"), [["3"]]);
    let taken = world.run(["create", "control", "--isolation", "schema"]).ok();
    assert!(taken.stdout().starts_with("created"), "{}", taken.transcript());
}

#[test]
fn a_newer_registry_is_refused_and_left_alone() {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    world.sql(
        "INSERT INTO tenantctl.refinery_schema_history VALUES (99, 'the_future', '2031-01-01T00:00:00Z', '1')",
    );
    let before = catalog(&world);
    for arguments in [
        &["create", "globex"][..],
        &["create", "acme"],
        &["create", "acme", "--dry-run"],
        &["list"],
        &["show", "acme"],
        &["migrate", "up"],
        &["migrate", "status"],
    ] {
        let refused = world.run(arguments).code(4);
        for part in [
            "error[registry-newer]: the registry is at version 99; this tenantctl ",
            &format!("knows versions up to {}", head()),
            "install the newer tenantctl",
        ] {
            assert!(refused.stderr().contains(part), "{}", refused.transcript());
        }
        assert_eq!(refused.stdout(), "");
    }
    let json = world.run(["list", "-o", "json"]).code(4).json();
    assert_eq!(json["error"]["code"], "registry-newer");
    assert_eq!(catalog(&world), before);
}

#[test]
fn a_registry_that_something_else_changed_is_refused() {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    world.sql("UPDATE tenantctl.refinery_schema_history SET checksum = '1' WHERE version = 1");
    let before = catalog(&world);
    let refused = world.run(["create", "globex"]).code(4);
    assert!(refused.stderr().contains("error[history-diverged]"), "{}", refused.transcript());
    assert_eq!(catalog(&world), before);
}

#[test]
fn an_operator_who_may_not_is_told_what_to_grant() {
    on_every_version(|world| {
        let hint = |arguments: &[&str], sqlstate: &str, grant: &str| {
            let refused = world.run(arguments).code(1);
            for part in ["error[permission]", &format!("SQLSTATE {sqlstate}"), grant] {
                assert!(refused.stderr().contains(part), "{}", refused.transcript());
            }
            // The advice is meant to be typed.
            let line = refused.stderr().lines().find(|line| line.contains(grant)).unwrap();
            world.sql(line.split_once(": ").and_then(|(_, rest)| rest.split_once(": ")).unwrap().1);
        };
        world.sql("REVOKE CREATE ON DATABASE app FROM platform; ALTER ROLE platform NOCREATEROLE NOCREATEDB");
        hint(&["create", "acme"], "42501", "GRANT CREATE ON DATABASE app TO platform;");
        hint(&["create", "acme"], "42501", "ALTER ROLE platform CREATEROLE;");
        world.sql("REVOKE CREATE ON DATABASE app FROM platform");
        hint(&["create", "acme"], "42501", "GRANT CREATE ON DATABASE app TO platform;");
        world.run(["create", "acme"]).ok();
        hint(
            &["create", "globex", "--isolation", "database"],
            "42501",
            "ALTER ROLE platform CREATEDB;",
        );
        let finished = world.run(["create", "globex"]).ok();
        assert!(
            finished.stdout().starts_with("finished tenant globex"),
            "{}",
            finished.transcript()
        );
    });
}

#[test]
fn two_first_creates_make_one_registry() {
    for _ in 0..3 {
        let world = World::new();
        let running: Vec<_> =
            (0..6).map(|at| world.tenantctl(["create", &format!("t{at}")]).spawn()).collect();
        for one in running {
            one.wait().ok();
        }
        assert_eq!(
            world.rows("SELECT count(*) = count(DISTINCT version), max(version) FROM tenantctl.refinery_schema_history"),
            [["t".to_owned(), head()]]
        );
    }
}
