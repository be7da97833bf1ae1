//! Tenants are suspended, resumed, deleted and brought back, and are whole afterwards.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Model, Proxy, SqlFailure, Turn, World, catalog, on_every_version};

const UUID: &str = "11111111-1111-1111-1111-111111111111";

/// Two tenants of a model, with rows.
fn two(world: &World, model: Model) {
    for id in ["acme", "globex"] {
        world.run(["create", id, "--isolation", model.word()]).ok();
        world.seed(model, id, 3);
    }
}

/// What the application of a tenant sees: how many tags there are.
fn tags(world: &World, model: Model, id: &str) -> Result<String, SqlFailure> {
    let Some(mut session) = try_session(world, model, id) else {
        return Err(SqlFailure {
            sqlstate: "login".to_owned(),
            message: "may not log in".to_owned(),
        });
    };
    if model == Model::Shared {
        let key = world.rows(&format!("SELECT key FROM tenantctl.tenants WHERE id = '{id}'"));
        session.attempt(&format!("SET app.tenant_id = '{}'", key[0][0]))?;
    }
    let rows = session.attempt(&format!("SELECT count(*) FROM {}.tags", model.schema(id)))?;
    Ok(rows[0][0].clone())
}

fn try_session(world: &World, model: Model, id: &str) -> Option<crate::harness::Session> {
    let (database, role) = (model.database(id), model.role(id));
    let may = world.rows(&format!(
        "SELECT rolcanlogin AND has_database_privilege('{role}', '{database}', 'CONNECT') FROM pg_roles WHERE rolname = '{role}'"
    ));
    (may == [["t"]]).then(|| world.session(&database, &role))
}

/// Everything but what the registry says of states, and what closing rows leaves behind for the next
/// time.
fn standing(world: &World) -> BTreeSet<String> {
    catalog(world)
        .into_iter()
        .filter(|line| !line.contains("tenantctl_closed") && !line.contains("tenantctl_open"))
        .collect()
}

fn closed(world: &World, model: Model, id: &str) -> bool {
    match tags(world, model, id) {
        Err(_) => true,
        Ok(rows) => rows == "0",
    }
}

#[test]
fn a_suspended_tenant_is_shut_and_opened_exactly_as_it_was() {
    on_every_version(|world| {
        for model in Model::ALL {
            two(&world, model);
            let before = standing(&world);
            assert_eq!(tags(&world, model, "acme").unwrap(), "3");
            let mut acme = try_session(&world, model, "acme").unwrap();
            let mut globex = try_session(&world, model, "globex").unwrap();
            let suspended =
                world.run(["suspend", "acme", "--reason", "unpaid", "-o", "json"]).ok().json();
            let target = &suspended["targets"][0];
            assert_eq!(
                [&target["from"], &target["to"], &target["status"]],
                [&json!("active"), &json!("suspended"), &json!("done")]
            );
            assert!(closed(&world, model, "acme"), "{model:?}");
            assert_eq!(tags(&world, model, "globex").unwrap(), "3", "{model:?}");
            globex.sql("SELECT 1");
            // Roles that are everybody's are ended for nobody.
            assert_eq!(acme.attempt("SELECT 1").is_err(), model != Model::Shared, "{model:?}");
            let again = world.run(["suspend", "acme"]).ok();
            assert!(again.stdout().starts_with("nothing to do: tenant acme is suspended"));
            let proof = world.run(["verify-rls", "-o", "json"]).ok().json();
            assert_eq!(proof["findings"], json!([]), "{model:?}: {proof:#}");
            // What is suspended is migrated as everybody is.
            world.run(["migrate", "status", "--check"]).ok();

            world.run(["resume", "acme"]).ok();
            assert_eq!(tags(&world, model, "acme").unwrap(), "3", "{model:?}");
            assert_eq!(standing(&world), before, "{model:?}");
            let proof = world.run(["verify-rls", "-o", "json"]).ok().json();
            assert_eq!(proof["findings"], json!([]), "{model:?}: {proof:#}");
            let again = world.run(["resume", "acme"]).ok();
            assert!(again.stdout().starts_with("nothing to do: tenant acme is active"));

            // Deleted, it is kept, and comes back whole.
            let deleted = world.run(["delete", "acme", "--grace", "2d", "-o", "json"]).ok().json();
            assert_eq!(deleted["targets"][0]["to"], "deleting");
            assert!(deleted["targets"][0]["delete_after"].is_string(), "{deleted}");
            assert!(closed(&world, model, "acme"), "{model:?}");
            let refused = world.run(["create", "acme", "--isolation", model.word()]).code(4);
            assert!(
                refused.stderr().contains("tenantctl undelete acme"),
                "{}",
                refused.transcript()
            );
            world.run(["undelete", "acme"]).ok();
            assert_eq!(tags(&world, model, "acme").unwrap(), "3", "{model:?}");
            assert_eq!(standing(&world), before, "{model:?}");
            for id in ["acme", "globex"] {
                world.run(["suspend", id]).ok();
            }
            // A tenant that is made beside suspended ones is open, and shut when it is its turn.
            world.run(["create", "later", "--isolation", model.word()]).ok();
            world.seed(model, "later", 2);
            assert_eq!(tags(&world, model, "later").unwrap(), "2", "{model:?}");
            assert!(closed(&world, model, "acme") && closed(&world, model, "globex"), "{model:?}");
            world.run(["delete", "later"]).ok();
            assert!(closed(&world, model, "later"), "{model:?}");
            world.run(["undelete", "later"]).ok();
            // The next model starts with a clean slate.
            world.sql("DROP SCHEMA tenantctl CASCADE; DROP SCHEMA IF EXISTS app CASCADE");
            for id in ["acme", "globex", "later"] {
                match model {
                    Model::Database => {
                        world.sql(&format!("DROP DATABASE tenant_{id} WITH (FORCE)"));
                    }
                    Model::Schema => world.sql(&format!("DROP SCHEMA tenant_{id} CASCADE")),
                    Model::Shared => continue,
                }
                for role in [model.owner(id), model.role(id)] {
                    world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
                }
            }
        }
    });
}

#[test]
fn what_is_suspended_is_migrated_and_stays_shut() {
    let world = World::new();
    world.file(
        "migrations/V1__notes.sql",
        "CREATE TABLE notes (tenant_id uuid NOT NULL, id uuid DEFAULT gen_random_uuid(), PRIMARY KEY (tenant_id, id));\n",
    );
    let with = |args: &[&str]| {
        let words: Vec<String> = ["--migrations", "migrations"]
            .iter()
            .chain(args)
            .map(|word| (*word).to_owned())
            .collect();
        world.run(words)
    };
    for id in ["acme", "globex"] {
        with(&["create", id, "--isolation", "shared"]).ok();
    }
    with(&["suspend", "acme"]).ok();
    world.file(
        "migrations/V2__more.sql",
        "CREATE TABLE more (tenant_id uuid NOT NULL, id uuid DEFAULT gen_random_uuid(), PRIMARY KEY (tenant_id, id));\n",
    );
    with(&["migrate", "up", "--allow-lint"]).ok();
    let keys = world.rows("SELECT key FROM tenantctl.tenants ORDER BY id");
    let mut app = world.session("app", "app_rw");
    // The new table is shut for the same tenant, for reading and for writing.
    for table in ["notes", "more"] {
        app.sql(&format!("SET app.tenant_id = '{}'", keys[1][0]));
        app.sql(&format!("INSERT INTO app.{table} VALUES ('{}')", keys[1][0]));
        assert_eq!(app.rows(&format!("SELECT count(*) FROM app.{table}")), [["1"]]);
        app.sql(&format!("SET app.tenant_id = '{}'", keys[0][0]));
        assert_eq!(app.rows(&format!("SELECT count(*) FROM app.{table}")), [["0"]]);
        let refused = app.attempt(&format!("INSERT INTO app.{table} VALUES ('{}')", keys[0][0]));
        assert_eq!(refused.unwrap_err().sqlstate, "42501", "{table}");
        // Who is closed is seen by nobody else, and written by no application.
        assert_eq!(app.rows("SELECT count(*) FROM app.tenantctl_closed"), [["1"]]);
        assert_eq!(app.attempt("DELETE FROM app.tenantctl_closed").unwrap_err().sqlstate, "42501");
        app.sql(&format!("SET app.tenant_id = '{}'", keys[1][0]));
        assert_eq!(app.rows("SELECT count(*) FROM app.tenantctl_closed"), [["0"]]);
    }
    let proof = with(&["verify-rls", "-o", "json"]).ok().json();
    assert_eq!(proof["findings"], json!([]), "{proof:#}");
    with(&["resume", "acme"]).ok();
    app.sql(&format!("SET app.tenant_id = '{}'", keys[0][0]));
    app.sql(&format!("INSERT INTO app.more VALUES ('{}')", keys[0][0]));
}

#[test]
fn a_pool_that_becomes_its_tenants_is_kept_out_and_ended_where_it_can_be() {
    on_every_version(|world| {
        world.config("[isolation.schema]\nlogin_role = \"pool\"\n[isolation.database]\nlogin_role = \"pool\"\n");
        world.run(["create", "acme", "--isolation", "schema"]).ok();
        world.run(["create", "corp", "--isolation", "database"]).ok();
        let mut pool = world.session("app", "pool");
        let mut inside = world.session("tenant_corp", "pool");
        pool.sql("SET ROLE app_tenant_acme; SELECT count(*) FROM tenant_acme.tags");
        world.run(["suspend", "acme", "corp"]).ok();
        // The pool's session is everybody's: it goes on, and reaches nothing.
        let denied = pool.attempt("SELECT count(*) FROM tenant_acme.tags").unwrap_err();
        assert_eq!(denied.sqlstate, "42501");
        // Whoever was in the tenant's own database is out.
        assert!(inside.attempt("SELECT 1").is_err());
        // And no membership is left of the operator's deed.
        assert_eq!(
            world.rows(
                "SELECT count(*) FROM pg_auth_members WHERE roleid = 'pool'::regrole AND member = 'platform'::regrole \
                 AND NOT admin_option"
            ),
            [["0"]]
        );
        world.run(["resume", "--selector", "state=suspended"]).ok();
        pool.sql("SELECT count(*) FROM tenant_acme.tags");
        let mut inside = world.session("tenant_corp", "pool");
        inside.sql("SET ROLE app_tenant_corp; SELECT count(*) FROM app.tags");
    });
}

#[test]
fn steps_that_are_out_of_order_say_why_and_what_to_type() {
    let world = World::new();
    let none = world.run(["suspend", "acme"]).code(1);
    assert!(none.stderr().contains("there is no registry"), "{}", none.transcript());
    world.run(["create", "acme"]).ok();
    let refused = |args: &[&str], says: &str, hint: &str| {
        let outcome = world.run(args).code(4);
        let stderr = outcome.stderr();
        assert!(stderr.contains(says) && stderr.contains(hint), "{}", outcome.transcript());
    };
    world.run(["suspend", "nobody"]).code(1);
    world.run(["suspend"]).code(64);
    world.run(["delete", "acme", "--grace", "1d"]).ok();
    refused(&["suspend", "acme"], "suspend tenant acme: it was deleted", "tenantctl undelete acme");
    refused(&["resume", "acme"], "resume tenant acme: it was deleted", "tenantctl undelete acme");
    let dry = world.run(["undelete", "acme", "--dry-run"]).ok().snapshot("undelete_dry_run");
    assert!(dry.stdout().contains("nothing is done"));
    assert_eq!(
        world.run(["show", "acme", "-o", "json"]).ok().json()["tenant"]["state"],
        "deleting"
    );
    world.run(["undelete", "acme"]).ok();
    world.run(["suspend", "acme", "--dry-run"]).ok().snapshot("suspend_dry_run");
    world.run(["suspend", "acme"]).ok().snapshot("suspend");
    world.run(["delete", "acme", "--grace", "1d"]).ok();
    // It was suspended, and is again.
    let back = world.run(["undelete", "acme"]).ok();
    assert!(back.stdout().contains("it is suspended"), "{}", back.transcript());
    world.run(["hold", "set", "acme", "--reason", "case 12"]).ok();
    world.run(["hold", "set", "acme", "--reason", "case 13"]).ok();
    let held = world.run(["hold", "set", "acme", "--reason", "case 12"]).ok();
    assert!(held.stdout().starts_with("nothing to do"), "{}", held.transcript());
    world.run(["hold", "clear", "acme"]).code(64);
    world.run(["hold", "clear", "acme", "--reason", "case 14"]).code(1);
    let left =
        world.run(["hold", "clear", "acme", "--reason", "case 12", "-o", "json"]).ok().json();
    assert_eq!(left["targets"][0]["holds"][0]["reason"], "case 13");
    world.run(["hold", "clear", "acme", "--all"]).ok();
    let log = world.run(["audit", "log", "--tenant", "acme", "-o", "json"]).ok().json();
    let suspend = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["event"] == "suspend" && event["outcome"] == "done")
        .unwrap();
    assert_eq!([&suspend["before"]["state"], &suspend["after"]["state"]], ["active", "suspended"]);
    assert_eq!(suspend["asked"], "suspend acme");
    world.run(["audit", "verify"]).ok();
}

fn kill_and_finish(
    world: &World,
    args: &[&str],
    turn: &Turn,
    expected: &BTreeSet<String>,
) -> Result<(), String> {
    let proxy = Proxy::killing(world, turn);
    let victim = world.tenantctl(args).env("DATABASE_URL", proxy.operator_url(world)).spawn();
    proxy.aim_at(victim.pid());
    let killed = victim.wait().transcript();
    if !killed.contains("signal: 9") {
        return Err(format!("was not killed:\n{killed}"));
    }
    let second = world.run(args).transcript();
    if !second.contains("\nexit 0\n") {
        return Err(format!("was not finished:\n{second}"));
    }
    let found = catalog(world);
    if found != *expected {
        let more: Vec<_> = found.difference(expected).collect();
        let less: Vec<_> = expected.difference(&found).collect();
        return Err(format!("leftovers: {more:#?}\nmissing: {less:#?}\n{second}"));
    }
    Ok(())
}

fn survives_kills(model: Model, there: &'static [&'static str], back: &'static [&'static str]) {
    let world = World::new();
    world.run(["create", "acme", "--isolation", model.word(), "--uuid", UUID]).ok();
    let count = |args: &[&str]| {
        let proxy = Proxy::start(&world, None);
        world.tenantctl(args).env("DATABASE_URL", proxy.operator_url(&world)).run().ok();
        (catalog(&world), proxy.turns())
    };
    // Once there and back, so that what closing leaves behind is there.
    let (_, first) = count(there);
    let (open, _) = count(back);
    let (shut, to_shut) = count(there);
    let (_, to_open) = count(back);
    assert!(first.len() >= to_shut.len() && to_shut.len() > 2 && to_open.len() > 2, "{to_open:?}");
    for at in 0..to_shut.len().max(to_open.len()) {
        for (args, turns, expected) in [(there, &to_shut, &shut), (back, &to_open, &open)] {
            match turns.get(at) {
                Some(turn) => {
                    if let Err(failure) = kill_and_finish(&world, args, turn, expected) {
                        panic!("{args:?} killed behind {turn:?}: {failure}");
                    }
                }
                None => drop(world.run(args).ok()),
            }
        }
    }
}

#[test]
fn suspending_and_resuming_survive_kills() {
    for model in Model::ALL {
        survives_kills(model, &["suspend", "acme"], &["resume", "acme"]);
    }
}

#[test]
fn deleting_and_bringing_back_survive_kills() {
    survives_kills(Model::Database, &["delete", "acme"], &["undelete", "acme"]);
}
