//! Tenants that something else has made enter the registry, and nothing is changed in them.

use crate::harness::{OPERATOR, Proxy, World, catalog, on_every_version};

/// A fleet that grew by hand: schemas and a database whose owners the operator may be, a table of
/// customers, and shared tables.
fn legacy(world: &World) {
    let option =
        if world.server().version().major() >= 16 { "WITH INHERIT TRUE, SET TRUE" } else { "" };
    for (schema, owner, app) in [
        ("tenant_acme", "own_acme", Some("app_acme")),
        ("tenant_globex", "own_globex", Some("app_globex")),
        ("tenant_alone", "own_alone", None),
    ] {
        world.sql(&format!(
            "CREATE ROLE {owner} NOLOGIN; GRANT {owner} TO {OPERATOR} {option}; \
             CREATE SCHEMA {schema} AUTHORIZATION {owner}; \
             SET ROLE {owner}; CREATE TABLE {schema}.notes (id int PRIMARY KEY, body text); \
             INSERT INTO {schema}.notes VALUES (1, 'kept'); RESET ROLE"
        ));
        if let Some(app) = app {
            world.sql(&format!(
                "CREATE ROLE {app} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {app}; \
                 GRANT SELECT ON {schema}.notes TO {app}"
            ));
        }
    }
    world.sql(
        "CREATE TABLE tenant_globex.refinery_schema_history \
           (version int8 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255)); \
         ALTER TABLE tenant_globex.refinery_schema_history OWNER TO own_globex; \
         INSERT INTO tenant_globex.refinery_schema_history VALUES (1, 'x', '2026-01-01T00:00:00Z', '1')",
    );
    world.sql("CREATE ROLE own_big NOLOGIN");
    world.sql(&format!("GRANT own_big TO {OPERATOR} {option}"));
    world.sql("CREATE DATABASE customer_big OWNER own_big");
    world.sql_in("customer_big", "CREATE SCHEMA app AUTHORIZATION own_big");
    world.sql(&format!(
        "CREATE ROLE own_app NOLOGIN; GRANT own_app TO {OPERATOR} {option}; CREATE ROLE app_rw LOGIN; \
         CREATE SCHEMA app AUTHORIZATION own_app; GRANT USAGE ON SCHEMA app TO app_rw; SET ROLE own_app; \
         CREATE TABLE app.customers (id int PRIMARY KEY, slug text); \
         INSERT INTO app.customers VALUES (1, 'hooli'), (2, 'Pied Piper'); \
         CREATE TABLE app.invoices (tenant_id int, id int); RESET ROLE"
    ));
    world.config("[isolation.shared]\nkey_type = \"integer\"\n");
}

/// Everything that stands on the server but the registry.
fn standing(world: &World) -> Vec<String> {
    catalog(world)
        .into_iter()
        .filter(|line| !line.contains("tenantctl") && !line.starts_with("tenant | "))
        .collect()
}

#[test]
fn what_others_made_is_adopted_as_it_is() {
    on_every_version(|world| {
        legacy(&world);
        let before = standing(&world);
        let preview = world.run(["adopt", "--schema-pattern", "tenant_*", "--dry-run"]).ok();
        let text = preview.transcript();
        assert!(text.contains("3 tenants to be adopted; nothing is done"), "{text}");
        assert_eq!(world.rows("SELECT to_regnamespace('tenantctl')"), [["NULL"]]);

        let adopt = ["adopt", "--schema-pattern", "tenant_*", "--label", "from=legacy"];
        let adopted = world.run(adopt.into_iter().chain(["-o", "json"])).ok().json();
        assert_eq!(adopted["summary"]["adopted"], 3, "{adopted:#}");
        let (acme, alone, globex) =
            (&adopted["targets"][0], &adopted["targets"][1], &adopted["targets"][2]);
        assert_eq!(acme["owner"], "own_acme");
        assert_eq!(acme["roles"], serde_json::json!(["app_acme"]));
        assert_eq!(acme["version"], serde_json::Value::Null);
        assert_eq!(globex["version"], 1);
        assert_eq!(alone["roles"], serde_json::json!(["own_alone"]));
        let says = |target: &serde_json::Value, words: &str| {
            let all = format!("{} {}", target["differences"], target["notes"]);
            assert!(all.contains(words), "{words} is not in {all}");
        };
        says(acme, "let app_acme use tenant_acme.notes");
        says(acme, "create the migration history tenant_acme.refinery_schema_history");
        says(acme, "its role is app_acme; create would name it app_tenant_acme");
        says(alone, "the application works as the owner");

        let databases = ["adopt", "--database-pattern", "customer_*"];
        world.run(databases).ok();
        // A key that is no id refuses all, and says how it is mapped.
        let keys = ["adopt", "--keys-from", "customers.id", "--ids-from", "slug"];
        let refused = world.run(keys).code(4);
        assert!(refused.stderr().contains("--map '2=ID'"), "{}", refused.transcript());
        world.file("names.txt", "# what sales calls them\n2 = pied-piper\n");
        world.run(keys.into_iter().chain(["--map-file", "names.txt"])).ok();

        // Nothing was changed, and again there is nothing to do.
        assert_eq!(standing(&world), before);
        for again in [adopt.to_vec(), databases.to_vec()] {
            let known = world.run(again).ok();
            assert!(known.stdout().contains("0 tenants adopted"), "{}", known.transcript());
        }
        let rows = world.rows(
            "SELECT id, isolation, database, schema, owner, roles[1], key ~ '^[0-9]$', state \
             FROM tenantctl.tenants ORDER BY id",
        );
        let expected = [
            ["acme", "schema", "app", "tenant_acme", "own_acme", "app_acme", "f", "active"],
            ["alone", "schema", "app", "tenant_alone", "own_alone", "own_alone", "f", "active"],
            ["big", "database", "customer_big", "app", "own_big", "own_big", "f", "active"],
            ["globex", "schema", "app", "tenant_globex", "own_globex", "app_globex", "f", "active"],
            ["hooli", "shared", "app", "app", "own_app", "app_rw", "t", "active"],
            ["pied-piper", "shared", "app", "app", "own_app", "app_rw", "t", "active"],
        ];
        assert_eq!(rows, expected.map(|row| row.map(str::to_owned).to_vec()));
        world.run(["list"]).ok();
        world.run(["audit", "verify"]).ok();
    });
}

#[test]
fn what_create_made_has_no_difference_when_its_registry_is_lost() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.run(["create", "initech", "--isolation", "database"]).ok();
    let uuid = world.rows("SELECT uuid FROM tenantctl.tenants WHERE id = 'acme'");
    world.sql("DROP SCHEMA tenantctl CASCADE");
    world.run(["adopt", "--schema-pattern", "tenant_*"]).ok().snapshot("adopt_what_create_made");
    world.run(["adopt", "--database-pattern", "tenant_*"]).ok();
    let again = world.run(["create", "acme"]).ok();
    assert!(again.stdout().contains("nothing to do"), "{}", again.transcript());
    world.run(["migrate", "status"]).ok();
    world.run(["verify-rls", "--fail-on", "info"]).ok();
    // The identity is new: nothing that was left says what it was.
    assert_ne!(world.rows("SELECT uuid FROM tenantctl.tenants WHERE id = 'acme'"), uuid);
}

#[test]
fn what_cannot_be_adopted_is_refused_with_the_reason() {
    let world = World::new();
    world.run(["adopt"]).code(64).snapshot("adopt_nothing_said");
    world.run(["adopt", "--schema-pattern", "tenant_*"]).code(1).snapshot("adopt_nothing_fits");
    world.sql(
        "CREATE SCHEMA \"tenant_Acme\" AUTHORIZATION platform; \
         CREATE SCHEMA tenant_9 AUTHORIZATION platform; CREATE SCHEMA tenant_ok",
    );
    let adopt = ["adopt", "--schema-pattern", "tenant_*"];
    world.run(adopt).code(4).snapshot("adopt_no_ids");
    assert_eq!(world.rows("SELECT to_regclass('tenantctl.tenants')"), [["NULL"]]);
    // Of a superuser's schema the operator cannot find out all.
    let mapped = ["--map", "tenant_Acme=acme", "--map", "tenant_9=nine"];
    world.sql("CREATE TABLE tenant_ok.refinery_schema_history (version int8 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255))");
    let partial = world.run(adopt.into_iter().chain(mapped).chain(["-o", "json"])).code(3).json();
    assert_eq!(partial["summary"]["adopted"], 2, "{partial:#}");
    assert_eq!(partial["targets"][2]["error"]["code"], "permission", "{partial:#}");
    // A place that is somebody's already is not adopted under another name.
    let other = ["adopt", "--isolation", "schema", "--map", "tenant_Acme=other"];
    let taken = world.run(other).code(4);
    assert!(taken.stdout().contains("is known as tenant acme"), "{}", taken.transcript());
}

#[test]
fn an_adoption_that_is_killed_is_finished_by_the_next() {
    let world = World::new();
    legacy(&world);
    let before = standing(&world);
    let mut at = 0;
    loop {
        let proxy = Proxy::start(&world, Some(at));
        let text = std::fs::read_to_string(world.path("tenants.toml")).unwrap();
        let through = text.replacen(&world.operator_url(), &proxy.operator_url(&world), 1);
        let file = world.file("through.toml", &through);
        let adopt = ["adopt", "--schema-pattern", "tenant_*"];
        let config = ["-c", file.to_str().unwrap()];
        let victim = world.tenantctl(adopt.into_iter().chain(config)).spawn();
        proxy.aim_at(victim.pid());
        let was_killed = victim.wait().transcript().contains("signal: 9");
        world.run(adopt).ok();
        assert_eq!(world.rows("SELECT count(*) FROM tenantctl.tenants"), [["3"]], "{at}");
        assert_eq!(standing(&world), before, "{at}");
        if !was_killed {
            break;
        }
        world.sql("DELETE FROM tenantctl.tenants");
        // The first requests are those that make the registry.
        at += if at < 40 { 7 } else { 3 };
    }
    assert!(at > 40, "{at} requests");
    world.run(["audit", "verify"]).ok();
}
