//! Where a tenant goes and what it may use: clusters, regions, tiers, labels, roles.

use crate::harness::{OPERATOR, Postgres, World, on_every_version};

#[test]
fn a_tiers_limits_hold_on_the_tenants_own_roles() {
    on_every_version(|world| {
        world.config(
            "[isolation.shared]\nrole = [\"app_{tenant}\", \"worker_{tenant}\"]\nreadonly_role = \"read_{tenant}\"\n\
             [tiers.free]\nisolation = \"shared\"\nstatement_timeout = \"30s\"\nconnection_limit = 1\n\
             lock_timeout = \"2s\"\nsettings = { timezone = \"UTC\" }\n\
             [tiers.pro]\nisolation = \"schema\"\nstatement_timeout = \"2min\"\nconnection_limit = 2\n\
             [tiers.own]\nisolation = \"database\"\nstatement_timeout = \"5min\"\nwork_mem = \"8MB\"\nconnection_limit = 3\n",
        );
        for (tenant, tier) in [("one", "free"), ("two", "pro"), ("three", "own")] {
            world.run(["create", tenant, "--tier", tier]).ok();
            let again = world.run(["create", tenant]).ok();
            assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        }
        for (database, role, timeout, limit) in [
            ("app", "app_one", "30s", 1),
            ("app", "worker_one", "30s", 1),
            ("app", "app_tenant_two", "2min", 2),
            ("tenant_three", "app_tenant_three", "5min", 3),
        ] {
            let mut sessions: Vec<_> = (0..limit).map(|_| world.session(database, role)).collect();
            assert_eq!(sessions[0].rows("SHOW statement_timeout"), [[timeout]]);
            let limits = format!("SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'");
            assert_eq!(world.rows(&limits), [[limit.to_string()]]);
        }
        let mut app = world.session("app", "app_one");
        assert_eq!(app.rows("SHOW lock_timeout; SHOW timezone"), [["2s"], ["UTC"]]);
        // Every role of a list, and the one that only reads, is bound by the policies.
        world.run(["create", "four", "--tier", "free"]).ok();
        let uuid = world.rows("SELECT uuid FROM tenantctl.tenants WHERE id = 'one'")[0][0].clone();
        drop(app);
        let mut worker = world.session("app", "worker_one");
        worker.sql(&format!("SET app.tenant_id = '{uuid}'"));
        worker
            .sql(&format!("INSERT INTO organisations (tenant_id, name) VALUES ('{uuid}', 'One')"));
        let mut reader = world.session("app", "postgres");
        reader.sql("SET ROLE read_one");
        assert_eq!(reader.rows("SELECT count(*) FROM app.organisations"), [["0"]]);
        reader.sql(&format!("SET app.tenant_id = '{uuid}'"));
        assert_eq!(reader.rows("SELECT count(*) FROM app.organisations"), [["1"]]);
        let write = reader.attempt("DELETE FROM app.organisations").unwrap_err();
        assert_eq!(write.sqlstate, "42501");
    });
}

#[test]
fn a_setting_that_only_a_superuser_may_give_says_what_to_grant() {
    let world = World::new();
    world.config("[tiers.free]\nsettings = { \"app.plan\" = \"free\" }\n");
    let refused = world.run(["create", "acme", "--tier", "free"]).code(1);
    let hint = "hint: as a superuser: GRANT SET ON PARAMETER app.plan TO platform;";
    assert!(refused.stderr().contains(hint), "{}", refused.transcript());
    if world.server().version().major() >= 15 {
        world.sql("GRANT SET ON PARAMETER app.plan TO platform");
        world.run(["create", "acme"]).ok();
        assert_eq!(world.session("app", "app_tenant_acme").rows("SHOW app.plan"), [["free"]]);
    }
}

#[test]
fn a_shared_role_that_somebody_else_made_says_what_to_grant() {
    let world = World::new();
    world.sql("CREATE ROLE app_owner");
    // Before PostgreSQL 16, CREATEROLE was enough.
    if world.server().version().major() >= 16 {
        let refused = world.run(["create", "acme", "--isolation", "shared"]).code(1);
        let hint = "hint: as a superuser: GRANT app_owner TO platform WITH ADMIN OPTION;";
        assert!(refused.stderr().contains(hint), "{}", refused.transcript());
        world.sql("GRANT app_owner TO platform WITH ADMIN OPTION");
    }
    world.run(["create", "acme", "--isolation", "shared"]).ok();
}

#[test]
fn limits_of_a_role_that_serves_everybody_are_not_applied_and_that_is_said() {
    let world = World::new();
    world.config("[tiers.free]\nisolation = \"shared\"\nstatement_timeout = \"30s\"\n");
    let made = world.run(["create", "acme", "--tier", "free"]).ok();
    let note =
        "note: the tier's limits do not apply to acme: its role app_rw serves every tenant of app";
    assert!(made.stdout().contains(note), "{}", made.transcript());
    assert_eq!(world.session("app", "app_rw").rows("SHOW statement_timeout"), [["0"]]);
}

#[test]
fn a_pool_may_become_its_tenants_and_is_nobody_by_itself() {
    on_every_version(|world| {
        world.config(
            "[isolation.schema]\nlogin_role = \"pool\"\n[isolation.shared]\nlogin_role = \"pool\"\n\
             [isolation.database]\nlogin_role = \"pool\"\nreadonly_role = \"read_{tenant}\"\n",
        );
        // A login that somebody made before, with what CREATE ROLE gives.
        world.sql("CREATE ROLE pool LOGIN INHERIT; GRANT pool TO platform WITH ADMIN OPTION");
        for (tenant, model) in [("one", "schema"), ("two", "shared"), ("three", "database")] {
            world.run(["create", tenant, "--isolation", model]).ok();
            let again = world.run(["create", tenant]).ok();
            assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        }
        assert_eq!(
            world.rows("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname ~ 'tenant|app'"),
            Vec::<Vec<String>>::new()
        );
        let options = world.rows(
            "SELECT DISTINCT coalesce(to_jsonb(m) ->> 'inherit_option', 'by role'), m.admin_option \
             FROM pg_auth_members m WHERE m.member = 'pool'::regrole",
        );
        let inherits = world.rows("SELECT rolinherit FROM pg_roles WHERE rolname = 'pool'");
        if world.server().version().major() >= 16 {
            assert_eq!(options, [["false", "f"]]);
        } else {
            assert_eq!(
                (options, inherits),
                (vec![vec!["by role".into(), "f".into()]], vec![vec!["f".into()]])
            );
        }
        let mut pool = world.session("app", "pool");
        for forbidden in [
            "SELECT * FROM tenant_one.users",
            "SELECT * FROM app.users",
            "SET ROLE tenant_one_owner",
            "SET ROLE app_owner",
            "SELECT * FROM tenantctl.tenants",
        ] {
            assert_eq!(pool.attempt(forbidden).unwrap_err().sqlstate, "42501", "{forbidden}");
        }
        pool.sql("BEGIN; SET LOCAL ROLE app_tenant_one; SET LOCAL search_path = tenant_one");
        pool.sql("INSERT INTO users (email) VALUES ('a@example.org'); COMMIT");
        pool.sql("SET ROLE app_rw");
        assert_eq!(pool.rows("SELECT count(*) FROM app.users"), [["0"]]);
        let mut pool = world.session("tenant_three", "pool");
        assert_eq!(pool.attempt("SELECT * FROM app.users").unwrap_err().sqlstate, "42501");
        pool.sql("SET ROLE app_tenant_three; INSERT INTO users (email) VALUES ('a@example.org')");
        pool.sql("RESET ROLE; SET ROLE read_three");
        assert_eq!(pool.rows("SELECT count(*) FROM users"), [["1"]]);
        assert_eq!(pool.attempt("DELETE FROM users").unwrap_err().sqlstate, "42501");
    });
}

#[test]
fn a_pool_that_was_granted_a_tenants_role_in_full_loses_what_is_too_much() {
    on_every_version(|world| {
        if world.server().version().major() < 16 {
            return;
        }
        world.config("[isolation.schema]\nlogin_role = \"pool\"\n");
        world.run(["create", "acme", "--isolation", "schema"]).ok();
        let mut operator = world.session("app", OPERATOR);
        let mut pool = world.session("app", "pool");
        operator.sql("GRANT app_tenant_acme TO pool WITH INHERIT TRUE, SET FALSE");
        pool.sql("SELECT * FROM tenant_acme.users");
        let repaired = world.run(["create", "acme"]).ok();
        assert!(repaired.stdout().starts_with("put right 1 thing"), "{}", repaired.transcript());
        let failure = pool.attempt("SELECT * FROM tenant_acme.users").unwrap_err();
        assert_eq!(failure.sqlstate, "42501");
        pool.sql("SET ROLE app_tenant_acme; SELECT * FROM tenant_acme.users; RESET ROLE");

        // What somebody else granted is theirs to take back.
        world.sql("GRANT app_tenant_acme TO pool WITH INHERIT TRUE");
        let refused = world.run(["create", "acme"]).code(4);
        let hint = "REVOKE INHERIT OPTION FOR app_tenant_acme FROM pool GRANTED BY postgres;";
        assert!(refused.stderr().contains(hint), "{}", refused.transcript());
        world.sql(hint);
        let settled = world.run(["create", "acme"]).ok();
        assert!(settled.stdout().starts_with("nothing to do"), "{}", settled.transcript());
    });
}

#[test]
fn a_team_may_have_its_own_column_setting_and_type_of_key() {
    on_every_version(|world| {
        world.config(
            "[isolation.shared]\nschema = \"crm\"\ncolumn = \"Account Id\"\nsetting = \"crm.account\"\nkey_type = \"bigint\"\n\
             role = \"crm_app\"\n[migrations]\nshared = \"sql\"\n",
        );
        world.file(
            "sql/V1__orders.sql",
            "CREATE TABLE orders (id bigserial PRIMARY KEY, \"Account Id\" bigint NOT NULL, what text);\n\
             CREATE TABLE countries (code text PRIMARY KEY);\n",
        );
        let mistaken = world.run(["create", "one", "--isolation", "shared"]).code(1);
        assert!(mistaken.stderr().contains("is no bigint"), "{}", mistaken.transcript());
        world.run(["create", "one", "--isolation", "shared", "--key", "1"]).ok();
        world.run(["create", "two", "--isolation", "shared", "--key", "2"]).ok();
        let mut app = world.session("app", "crm_app");
        for key in [1, 2] {
            app.sql(&format!(
                "BEGIN; SELECT crm.set_tenant_context({key}); \
                 INSERT INTO crm.orders (\"Account Id\", what) VALUES (crm.current_tenant_id(), 'x'); COMMIT"
            ));
        }
        assert_eq!(app.rows("SELECT count(*) FROM crm.orders"), [["0"]]);
        app.sql("SET crm.account = '2'");
        assert_eq!(app.rows("SELECT \"Account Id\" FROM crm.orders"), [["2"]]);
        let other = app.attempt("INSERT INTO crm.orders (\"Account Id\") VALUES (1)").unwrap_err();
        assert_eq!(other.sqlstate, "42501");
        // A table without the column belongs to nobody: closed, not open.
        let closed = app.attempt("SELECT * FROM crm.countries").unwrap_err();
        assert_eq!(closed.sqlstate, "42501");
    });
}

#[test]
fn tenants_go_to_the_cluster_of_their_region_and_to_no_other() {
    let (world, us) = (World::new(), Postgres::start());
    world.config(&us.cluster_toml("us-1", "us"));
    for (tenant, arguments) in [
        ("berlin", vec!["--region", "eu"]),
        ("boston", vec!["--region", "us", "--isolation", "shared"]),
        (
            "denver",
            vec![
                "--cluster",
                "us-1",
                "--isolation",
                "database",
                "--label",
                "wave=canary",
                "--label",
                "size=l",
            ],
        ),
    ] {
        world.run(["create", tenant].iter().chain(&arguments)).ok();
        let again = world.run(["create", tenant]).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
    }
    let placed = "SELECT id, cluster, region, labels FROM tenantctl.tenants ORDER BY id";
    assert_eq!(
        world.rows(placed),
        [
            ["berlin", "main", "eu", "{}"],
            ["boston", "us-1", "us", "{}"],
            ["denver", "us-1", "NULL", r#"{"size": "l", "wave": "canary"}"#],
        ]
    );
    // One registry, in the control database; the tenants where they belong.
    assert_eq!(us.rows("SELECT to_regnamespace('tenantctl')"), [["NULL"]]);
    let schemas = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(app|tenant_)' ORDER BY 1";
    assert_eq!(us.rows(schemas), [["app"]]);
    assert_eq!(world.rows(schemas), [["tenant_berlin"]]);
    assert_eq!(
        us.session("tenant_denver", "app_tenant_denver").rows("SELECT count(*) FROM users"),
        [["0"]]
    );

    let declared = "\n[[tenants]]\nid = \"paris\"\nregion = \"eu\"\n";
    world.config(&format!("{}{declared}", us.cluster_toml("us-1", "us")));
    for (arguments, code, says) in [
        (
            vec!["paris", "--cluster", "us-1"],
            4,
            "tenant paris must stay in region eu, and cluster us-1 is in us",
        ),
        (
            vec!["oslo", "--region", "no"],
            4,
            "tenant oslo must stay in region no, where no cluster is",
        ),
        (vec!["berlin", "--region", "us"], 4, "tenant berlin exists already: region eu, not us"),
        (vec!["berlin", "--cluster", "us-1"], 4, "tenant berlin "),
        (vec!["oslo", "--cluster", "us-2"], 1, "there is no cluster us-2"),
        (vec!["oslo", "--tier", "gold"], 1, "tier"),
        (vec!["oslo", "--cluster", "us-1", "--region", "us"], 64, "cannot be used with"),
    ] {
        let refused = world.run(["create"].iter().chain(&arguments)).code(code);
        assert!(refused.stderr().contains(says), "{}", refused.transcript());
    }
    assert_eq!(world.rows(placed).len(), 3);
    // A cluster that is down says which it is, and the others are still listed.
    drop(us);
    let down = world.run(["create", "austin", "--region", "us"]).code(6);
    assert!(down.stderr().contains("cluster us-1: "), "{}", down.transcript());
    let listed = world.run(["list", "-o", "json"]).ok().json();
    let versions: Vec<_> =
        listed["tenants"].as_array().unwrap().iter().map(|one| one["version"].as_i64()).collect();
    assert_eq!(versions, [Some(7), None, None], "{listed:#}");
    assert!(listed["tenants"][1]["error"].as_str().unwrap().contains("us-1"), "{listed:#}");
}

#[test]
fn a_cluster_that_says_no_region_takes_no_tenant_that_must_stay_in_one() {
    let world = World::new();
    let url = world.url("app", OPERATOR);
    world.config(&format!("[clusters.spare]\nurl = \"{url}\"\n"));
    drop(world.run(["create", "paris", "--cluster", "spare"]).ok());
    world.config(&format!(
        "[clusters.spare]\nurl = \"{url}\"\n\
         [[tenants]]\nid = \"rome\"\nregion = \"eu\"\ncluster = \"spare\"\n"
    ));
    let refused = world.run(["create", "rome"]).code(4);
    let says = "tenant rome must stay in region eu, and cluster spare is in no region that tenants.toml names";
    assert!(refused.stderr().contains(says), "{}", refused.transcript());
    assert_eq!(world.rows("SELECT to_regnamespace('tenant_rome')"), [["NULL"]]);
}

#[test]
fn declared_tenants_of_shared_tables_need_keys_of_their_own_unless_a_registry_knows_them() {
    let world = World::new();
    let entry = |id, key| format!("[[tenants]]\nid = \"{id}\"\nisolation = \"shared\"\n{key}\n");
    let uuid = "uuid = \"11111111-1111-1111-1111-111111111111\"";
    for (entries, says) in [
        (entry("acme", ""), "[[tenants]] gives acme of shared tables no uuid or key"),
        (
            entry("acme", uuid) + &entry("bolt", uuid),
            "[[tenants]] gives acme and bolt of the same shared tables one key",
        ),
    ] {
        world.config(&entries);
        let refused = world.run(["list"]).code(1);
        assert!(refused.stderr().contains(says), "{}", refused.transcript());
    }
    world.config("");
    drop(world.run(["create", "acme", "--isolation", "shared"]).ok());
    world.config(&entry("bolt", ""));
    let listed = world.run(["list", "-o", "json"]).ok().json();
    assert_eq!(listed["tenants"][0]["id"], "acme", "{listed:#}");
}

#[test]
fn what_tenants_toml_says_of_a_tenant_is_what_it_becomes() {
    let world = World::new();
    world.config(
        "[tiers.free]\nisolation = \"shared\"\n\
         [[tenants]]\nid = \"acme\"\nuuid = \"11111111-1111-1111-1111-111111111111\"\ntier = \"free\"\n\
         labels = { wave = \"canary\" }\n",
    );
    world.run(["create", "acme"]).ok();
    assert_eq!(
        world.rows("SELECT uuid, isolation, tier, labels FROM tenantctl.tenants"),
        [["11111111-1111-1111-1111-111111111111", "shared", "free", r#"{"wave": "canary"}"#]]
    );
    let listed = world.run(["list", "-o", "json"]).ok().json();
    let tenant = &listed["tenants"][0];
    for (field, value) in [
        ("id", "acme"),
        ("isolation", "shared"),
        ("cluster", "main"),
        ("database", "app"),
        ("schema", "app"),
        ("role", "app_rw"),
        ("tier", "free"),
        ("state", "active"),
        ("uuid", "11111111-1111-1111-1111-111111111111"),
    ] {
        assert_eq!(tenant[field], value, "{listed:#}");
    }
    assert_eq!(tenant["version"], 7);
    assert_eq!(world.session("app", OPERATOR).rows("SELECT event FROM tenantctl.events").len(), 3);
}
