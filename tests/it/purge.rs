//! The end of a tenant: nothing of it is left, everything of others is as it was, and a receipt
//! proves it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Model, Proxy, World, catalog, on_every_version};

const UUID: &str = "11111111-1111-1111-1111-111111111111";

fn two(world: &World, model: Model) {
    for id in ["acme", "globex"] {
        let mut words = vec!["create", id, "--isolation", model.word()];
        if id == "acme" {
            words.extend(["--uuid", UUID]);
        }
        world.run(words).ok();
        world.seed(model, id, 7);
    }
}

/// The rows of a tenant, table by table: how many, and a digest.
fn rows(world: &World, model: Model, id: &str) -> BTreeMap<String, (String, String)> {
    let (database, schema) = (model.database(id), model.schema(id));
    let tables = world.rows_in(
        &database,
        &format!(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relkind IN ('r', 'p') \
             AND NOT c.relispartition AND c.relname NOT LIKE 'tenantctl%' AND c.relname <> 'refinery_schema_history'"
        ),
    );
    let key = world.rows(&format!("SELECT key FROM tenantctl.tenants WHERE id = '{id}'"));
    let own = format!("WHERE tenant_id::text = '{}'", key[0][0]);
    let filter = |table: &str| match (model, table) {
        (Model::Schema | Model::Database, _) => String::new(),
        // It has no tenant of its own: whose it is, says what it refers to.
        (Model::Shared, "later_lines") => {
            format!("WHERE id IN (SELECT id FROM {schema}.later {own})")
        }
        (Model::Shared, _) => own.clone(),
    };
    tables
        .into_iter()
        .flatten()
        .map(|table| {
            let found = world.rows_in(
                &database,
                &format!(
                    "SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {schema}.{table} t {}",
                    filter(&table)
                ),
            );
            (table, (found[0][0].clone(), found[0][1].clone()))
        })
        .collect()
}

/// What stands on the server that does not name a tenant.
fn others(world: &World, id: &str) -> BTreeSet<String> {
    catalog(world)
        .into_iter()
        .filter(|line| {
            !line.contains(id)
                && !line.contains("tenantctl_closed")
                && !line.contains("tenantctl_open")
        })
        .collect()
}

#[test]
fn a_purged_tenant_is_gone_and_its_neighbour_is_as_it_was() {
    on_every_version(|world| {
        for model in Model::ALL {
            two(&world, model);
            // What the catalogue finds and no list would: a table that came later, and refers on.
            if model != Model::Database {
                let schema = model.schema("acme");
                let column = if model == Model::Shared { "tenant_id uuid NOT NULL, " } else { "" };
                world.sql(&format!(
                    "SET ROLE {}; CREATE TABLE {schema}.later ({column}id int PRIMARY KEY); \
                     CREATE TABLE {schema}.later_lines (id int REFERENCES {schema}.later ON DELETE RESTRICT)",
                    model.owner("acme")
                ));
                let values = if model == Model::Shared {
                    format!("('{UUID}', 1)")
                } else {
                    "(1)".to_owned()
                };
                world.sql(&format!(
                    "INSERT INTO {schema}.later VALUES {values}; INSERT INTO {schema}.later_lines VALUES (1), (1)"
                ));
            }
            let (before, neighbour) = (rows(&world, model, "acme"), rows(&world, model, "globex"));
            assert!(before.values().filter(|(count, _)| count != "0").count() >= 10, "{before:?}");
            let standing = others(&world, "acme");

            world.run(["delete", "acme", "--grace", "0s"]).ok();
            let unasked = world.run(["purge", "acme"]).code(4);
            assert!(unasked.stderr().contains("--yes"), "{}", unasked.transcript());
            let dry = world.run(["purge", "acme", "--dry-run", "-o", "json"]).ok().json();
            assert_eq!(dry["targets"][0]["status"], "pending");
            assert_eq!(rows(&world, model, "acme"), before, "{model:?}");
            let purged = world
                .run(["purge", "acme", "--yes", "--receipt", "acme.json", "-o", "json"])
                .ok()
                .json();
            let target = &purged["targets"][0];
            assert_eq!([&target["to"], &target["status"]], [&json!("purged"), &json!("done")]);

            assert_eq!(rows(&world, model, "globex"), neighbour, "{model:?}");
            assert_eq!(others(&world, "acme"), standing, "{model:?}");
            let text = std::fs::read_to_string(world.path("acme.json")).unwrap();
            let receipt: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(receipt["uuid"], UUID);
            for table in receipt["tables"].as_array().unwrap() {
                let name = table["name"].as_str().unwrap().split('.').nth(1).unwrap();
                if name != "later_lines" {
                    assert_eq!(table["rows_before"].to_string(), before[name].0, "{name}");
                }
                assert_eq!(table["rows_after"], 0);
            }
            assert_eq!(receipt["tables"].as_array().unwrap().len(), before.len(), "{receipt:#}");
            let kept = world.rows(
                "SELECT after -> 'receipt' ->> 'sha256' FROM tenantctl.events WHERE event = 'purge' AND outcome = 'done'",
            );
            assert_eq!(kept[0][0], target["receipt"]["sha256"].as_str().unwrap());
            // Nothing of it is left in any database.
            let left: Vec<String> = catalog(&world)
                .into_iter()
                .filter(|line| line.contains("acme") && !line.starts_with("tenant | "))
                .collect();
            assert!(left.is_empty(), "{model:?}: {left:#?}");
            if model == Model::Shared {
                assert!(rows(&world, model, "acme").values().all(|(count, _)| count == "0"));
                assert_eq!(world.rows("SELECT count(*) FROM app.later_lines"), [["0"]]);
                assert_eq!(world.rows("SELECT count(*) FROM app.tenantctl_closed"), [["0"]]);
            }
            let again = world.run(["purge", "acme", "--yes"]).ok();
            assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
            let taken = world.run(["create", "acme", "--isolation", model.word()]).code(4);
            assert!(
                taken.stderr().contains("exists already and is purged"),
                "{}",
                taken.transcript()
            );
            // The fleet goes on without it.
            let listed = world.run(["list", "-o", "json"]).ok().json();
            assert_eq!(listed["tenants"].as_array().unwrap().len(), 1);
            assert_eq!(
                world.run(["show", "acme", "-o", "json"]).ok().json()["tenant"]["state"],
                "purged"
            );
            world.run(["migrate", "status", "--check"]).ok();
            let proof = world.run(["verify-rls", "--tenant", "globex"]);
            if model == Model::Shared {
                drop(proof);
            } else {
                proof.ok();
            }
            world.run(["audit", "verify"]).ok();
            world.run(["delete", "globex", "--grace", "0s"]).ok();
            world.run(["purge", "--expired", "--yes"]).ok();
            world.sql("DROP SCHEMA tenantctl CASCADE; DROP SCHEMA IF EXISTS app CASCADE");
        }
    });
}

#[test]
fn what_others_hang_on_stays() {
    let world = World::new();
    two(&world, Model::Schema);
    let refused = |args: &[&str], says: &str| {
        let outcome = world.run(args).code(4);
        assert!(outcome.stderr().contains(says), "{}", outcome.transcript());
    };
    refused(&["purge", "acme", "--yes"], "it is active, and was not deleted");
    world.run(["delete", "acme", "--grace", "1d"]).ok();
    refused(&["purge", "acme", "--yes"], "its grace lasts until");
    let none = world.run(["purge", "--expired", "--yes"]).ok();
    assert!(none.stdout().starts_with("nothing to do"), "{}", none.transcript());
    world.run(["delete", "acme", "--grace", "0s"]).ok();
    world.run(["hold", "set", "acme", "--reason", "case 12"]).ok();
    refused(&["purge", "acme", "--yes"], "it is held: case 12");
    world.run(["purge", "--expired", "--yes"]).ok();
    world.run(["hold", "clear", "acme"]).ok();

    let before = rows(&world, Model::Schema, "acme");
    for (make, unmake, says) in [
        (
            "CREATE VIEW public.tags AS SELECT * FROM tenant_acme.tags",
            "DROP VIEW public.tags",
            "view",
        ),
        (
            "CREATE TABLE tenant_globex.refers (id uuid REFERENCES tenant_acme.users (id))",
            "DROP TABLE tenant_globex.refers",
            "constraint",
        ),
        (
            "CREATE FUNCTION public.one(tenant_acme.tags) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "DROP FUNCTION public.one(tenant_acme.tags)",
            "function",
        ),
        (
            "CREATE TABLE public.stray (); ALTER TABLE public.stray OWNER TO tenant_acme_owner",
            "DROP TABLE public.stray",
            "table stray",
        ),
        (
            "CREATE EXTENSION citext SCHEMA tenant_acme; CREATE TABLE tenant_globex.uses (c tenant_acme.citext)",
            "DROP TABLE tenant_globex.uses; DROP EXTENSION citext",
            "extension citext",
        ),
    ] {
        if make.contains("EXTENSION")
            && world.rows("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'")
                == [["0"]]
        {
            continue;
        }
        world.sql(make);
        refused(&["purge", "acme", "--yes"], says);
        assert_eq!(rows(&world, Model::Schema, "acme"), before, "{make}");
        world.sql(unmake);
    }
    // Something of its roles in another database of the cluster is found, and stays.
    world.sql("CREATE DATABASE elsewhere");
    world.sql_in("elsewhere", "CREATE TABLE t (); ALTER TABLE t OWNER TO tenant_acme_owner");
    refused(&["purge", "acme", "--yes"], "its role tenant_acme_owner owns 1 object in elsewhere");
    world.sql_in(
        "elsewhere",
        "DROP TABLE t; CREATE TABLE u (); GRANT SELECT ON u TO app_tenant_acme",
    );
    // What somebody else has granted, only they can take back: until then the role stays.
    let stuck = world.run(["purge", "acme", "--yes"]).code(1);
    assert!(stuck.stderr().contains("1 object in database elsewhere"), "{}", stuck.transcript());
    world.sql_in("elsewhere", "REVOKE SELECT ON u FROM app_tenant_acme");
    world.run(["purge", "acme", "--yes"]).ok();
    assert_eq!(world.rows("SELECT count(*) FROM pg_roles WHERE rolname ~ 'acme'"), [["0"]]);
    assert_eq!(
        world.rows_in("elsewhere", "SELECT relacl FROM pg_class WHERE relname = 'u'").len(),
        1
    );
}

#[test]
fn a_row_of_another_tenant_that_refers_across_keeps_it() {
    let world = World::new();
    two(&world, Model::Shared);
    world.sql(
        "SET ROLE app_owner; CREATE TABLE app.parents (tenant_id uuid NOT NULL, id int PRIMARY KEY); \
         CREATE TABLE app.children (tenant_id uuid NOT NULL, parent int REFERENCES app.parents ON DELETE CASCADE); \
         CREATE TABLE app.hidden (tenant_id uuid NOT NULL, id int, deleted bool NOT NULL DEFAULT true); \
         ALTER TABLE app.hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; \
         CREATE POLICY mine ON app.hidden TO app_rw USING (tenant_id = current_setting('app.tenant_id')::uuid AND NOT deleted)",
    );
    world.run(["create", "globex", "--isolation", "shared"]).ok();
    let keys = world.rows("SELECT key FROM tenantctl.tenants ORDER BY id");
    let (acme, globex) = (&keys[0][0], &keys[1][0]);
    world.sql(&format!(
        "INSERT INTO app.parents VALUES ('{acme}', 1); INSERT INTO app.children VALUES ('{globex}', 1); \
         INSERT INTO app.hidden VALUES ('{acme}', 1), ('{acme}', 2), ('{globex}', 3)"
    ));
    world.run(["delete", "acme", "--grace", "0s"]).ok();
    let kept = world.run(["purge", "acme", "--yes"]).code(4);
    for part in ["a row of app.children that is not its own", "would be deleted as well"] {
        assert!(kept.stderr().contains(part), "{}", kept.transcript());
    }
    world.sql("DELETE FROM app.children");
    let purged = world.run(["purge", "acme", "--yes", "-o", "json"]).ok().json();
    // Rows that a policy hides from everybody are counted and removed as well.
    let tables = purged["targets"][0]["receipt"]["document"]["tables"].as_array().unwrap();
    let hidden = tables.iter().find(|table| table["name"] == "app.hidden").unwrap();
    assert_eq!(hidden["rows_before"], 2);
    assert_eq!(world.rows("SELECT tenant_id, id FROM app.hidden"), [[globex.as_str(), "3"]]);
    assert_eq!(
        world.rows("SELECT bool_and(relforcerowsecurity) FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relrowsecurity"),
        [["t"]]
    );
    assert_eq!(
        world.rows("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'"),
        [["0"]]
    );
}

#[test]
fn a_schema_of_many_tables_goes_through_a_small_lock_table() {
    let world = World::with(|options| {
        options.setting("max_locks_per_transaction", "10").setting("max_connections", "20")
    });
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.sql(
        "DO $$ BEGIN FOR n IN 1 .. 30 LOOP PERFORM 1; END LOOP; END $$; SET ROLE tenant_acme_owner",
    );
    let mut session = world.session("app", "postgres");
    for batch in 0..20 {
        let tables: String = (0..40)
            .map(|n| format!("CREATE TABLE tenant_acme.t_{batch}_{n} (id int PRIMARY KEY);"))
            .collect();
        session.sql(&format!("SET ROLE tenant_acme_owner; {tables}"));
    }
    let whole = session.attempt("RESET ROLE; DROP SCHEMA tenant_acme CASCADE").unwrap_err();
    assert_eq!(whole.sqlstate, "53200", "{}", whole.message);
    drop(session);
    world.run(["delete", "acme", "--grace", "0s"]).ok();
    world.run(["purge", "acme", "--yes"]).ok();
    assert_eq!(world.rows("SELECT to_regnamespace('tenant_acme')"), [["NULL"]]);
}

fn survives_kills(model: Model) {
    let args = ["purge", "acme", "--yes", "--receipt", "r.json"];
    let world = World::new();
    two(&world, model);
    world.run(["delete", "acme", "--grace", "0s"]).ok();
    let neighbour = rows(&world, model, "globex");
    let had = rows(&world, model, "acme");
    let saved = world.save();
    let world = saved.world();
    let proxy = Proxy::start(&world, None);
    world.tenantctl(args).env("DATABASE_URL", proxy.operator_url(&world)).run().ok();
    let (expected, turns) = (catalog(&world), proxy.turns());
    assert!(turns.len() >= 8, "{turns:#?}");
    drop((proxy, world));
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(turn) = turns.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let world = saved.world();
                    let proxy = Proxy::killing(&world, turn);
                    let victim = world
                        .tenantctl(args)
                        .env("DATABASE_URL", proxy.operator_url(&world))
                        .spawn();
                    proxy.aim_at(victim.pid());
                    let killed = victim.wait().transcript();
                    let second = world.run(args).transcript();
                    let mut wrong = Vec::new();
                    if !killed.contains("signal: 9") || !second.contains("\nexit 0\n") {
                        wrong.push(format!("{killed}\n{second}"));
                    }
                    if catalog(&world) != expected {
                        let found = catalog(&world);
                        wrong.push(format!(
                            "more: {:#?} less: {:#?}",
                            found.difference(&expected).collect::<Vec<_>>(),
                            expected.difference(&found).collect::<Vec<_>>()
                        ));
                    }
                    if rows(&world, model, "globex") != neighbour {
                        wrong.push("the neighbour's rows are others".to_owned());
                    }
                    // The receipt tells of all rows, also of those that the killed run removed.
                    let text = std::fs::read_to_string(world.path("r.json")).unwrap_or_default();
                    let receipt: Value = serde_json::from_str(&text).unwrap_or_default();
                    let tables = receipt["tables"].as_array().cloned().unwrap_or_default();
                    let told: BTreeMap<String, String> = tables
                        .iter()
                        .map(|table| {
                            let name = table["name"].as_str().unwrap().split('.').nth(1).unwrap();
                            (name.to_owned(), table["rows_before"].to_string())
                        })
                        .collect();
                    let all: BTreeMap<String, String> = had
                        .iter()
                        .map(|(name, (count, _))| (name.clone(), count.clone()))
                        .collect();
                    if told != all {
                        wrong.push(format!("the receipt tells {told:?}, and there were {all:?}"));
                    }
                    if !wrong.is_empty() {
                        let failure = format!("killed behind {turn:?}: {}", wrong.join("\n"));
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn purging_shared_rows_survives_kills() {
    survives_kills(Model::Shared);
}

#[test]
fn purging_a_schema_survives_kills() {
    survives_kills(Model::Schema);
}

#[test]
fn purging_a_database_survives_kills() {
    survives_kills(Model::Database);
}
