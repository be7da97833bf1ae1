//! `move`: every pair of models, there and back, with everything that a tenant has and nobody else's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{Model, Postgres, Proxy, World, catalog};

const UUID: &str = "11111111-1111-1111-1111-111111111111";

/// Where a tenant lives, as the registry says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Home {
    model: Model,
    cluster: String,
    database: String,
    schema: String,
    role: String,
    key: String,
    state: String,
}

fn home(registry: &Postgres, tenant: &str) -> Home {
    let rows = registry.rows(&format!(
        "SELECT isolation, cluster, database, schema, roles[1], key, state FROM tenantctl.tenants WHERE id = '{tenant}'"
    ));
    let [isolation, cluster, database, schema, role, key, state] =
        <[String; 7]>::try_from(rows[0].clone()).unwrap();
    let model = Model::ALL.into_iter().find(|model| model.word() == isolation).unwrap();
    Home { model, cluster, database, schema, role, key, state }
}

/// Every row that a tenant has, by table, whatever the model: without what tells tenants apart.
fn contents(server: &Postgres, home: &Home) -> BTreeMap<String, String> {
    let mut session = server.session(&home.database, "postgres");
    session.sql(&format!(
        "SET search_path = {}; SET row_security = off; SET timezone = 'UTC'",
        home.schema
    ));
    let tables = session.rows(&format!(
        "SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname), \
                bool_or(a.attname = 'tenant_id') \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relnamespace = '{}'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
           AND c.relname NOT IN ('refinery_schema_history', 'tenantctl_repeatables') \
         GROUP BY 1",
        home.schema
    ));
    let mut contents = BTreeMap::new();
    for row in tables {
        let (table, shared) = (&row[0], row[2] == "t");
        let columns: Vec<&str> = row[1]
            .split(", ")
            .filter(|column| {
                *column != "tenant_id" && !(table == "organisations" && *column == "id")
            })
            .collect();
        let only =
            if shared { format!("WHERE tenant_id::text = '{}'", home.key) } else { String::new() };
        let found = session.rows(&format!(
            "SELECT count(*) || ' rows ' || md5(coalesce(string_agg(line, '|' ORDER BY line), '')) \
             FROM (SELECT ROW({})::text AS line FROM {table} {only}) AS lines",
            columns.join(", ")
        ));
        contents.insert(table.clone(), found[0][0].clone());
    }
    contents
}

/// What an application gets when it writes, and when it reads, in a place.
fn application(server: &Postgres, home: &Home) -> (Result<(), String>, Result<usize, String>) {
    let there = format!(
        "SELECT FROM pg_database WHERE datname = '{}' AND datconnlimit <> -2",
        home.database
    );
    if server.rows(&there).is_empty() {
        return (Err("3D000".to_owned()), Err("3D000".to_owned()));
    }
    let mut session = server.session(&home.database, "postgres");
    let enter = format!(
        "BEGIN; SET LOCAL ROLE {}; SET LOCAL search_path = {}; SELECT set_config('app.tenant_id', '{}', true)",
        home.role, home.schema, home.key
    );
    let tenant =
        if home.model == Model::Shared { format!("'{}', ", home.key) } else { String::new() };
    let column = if home.model == Model::Shared { "tenant_id, " } else { "" };
    let mut attempt = |statement: &str| {
        let done = session.attempt(&enter).and_then(|_| session.attempt(statement));
        session.sql("ROLLBACK");
        done.map_err(|failure| failure.sqlstate)
    };
    let write = attempt(&format!("INSERT INTO tags ({column}name) VALUES ({tenant}'a new one')"));
    let read = attempt("SELECT id FROM users");
    (write.map(|_| ()), read.map(|rows| rows.len()))
}

fn is_open(server: &Postgres, home: &Home) -> bool {
    let (write, read) = application(server, home);
    write.is_ok() && read.is_ok_and(|rows| rows > 0)
}

/// Nobody writes there and nobody reads; or nothing is there.
fn is_closed(server: &Postgres, home: &Home) -> bool {
    let (write, read) = application(server, home);
    write.is_err() && read.is_err()
}

/// Without the registry's own bookkeeping of moves.
fn objects(server: &Postgres) -> Vec<String> {
    catalog(server).into_iter().collect()
}

fn to(model: Model) -> [&'static str; 4] {
    ["move", "acme", "--to-isolation", model.word()]
}

fn difference(was: &[String], is: &[String]) -> String {
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    format!("gone: {:#?}\nnew: {:#?}", only(was, is), only(is, was))
}

/// Two tenants of a model, with rows in every table.
fn seeded(models: &[(&str, Model)]) -> World {
    seeded_in(World::new(), models)
}

/// A server that lets the operator read its log.
fn logical() -> World {
    let world = World::with(|options| options.setting("wal_level", "logical"));
    world.sql("ALTER ROLE platform REPLICATION");
    world
}

/// Nothing makes the server keep its log.
fn keeps_no_log(world: &World) -> bool {
    world.rows("SELECT slot_name FROM pg_replication_slots").is_empty()
        && world.rows("SELECT pubname FROM pg_publication").is_empty()
}

fn seeded_in(world: World, models: &[(&str, Model)]) -> World {
    for (tenant, model) in models {
        world.run(["create", tenant, "--isolation", model.word()]).ok();
        world.seed(*model, tenant, 20);
    }
    world
}

#[test]
fn every_pair_of_models_there_and_back_and_for_good() {
    let world = seeded(&[
        ("acme", Model::Shared),
        ("beta", Model::Shared),
        ("gamma", Model::Schema),
        ("delta", Model::Database),
    ]);
    let others = ["beta", "gamma", "delta"];
    let theirs: Vec<_> =
        others.iter().map(|tenant| contents(&world, &home(&world, tenant))).collect();
    let everything = contents(&world, &home(&world, "acme"));
    assert_eq!(everything.len(), 10, "{everything:#?}");
    // Round and round: each of the six pairs once.
    for model in [
        Model::Schema,
        Model::Database,
        Model::Shared,
        Model::Database,
        Model::Schema,
        Model::Shared,
    ] {
        let was = home(&world, "acme");
        let pair = format!("{:?} to {model:?}", was.model);
        let before = objects(&world);

        world.run(to(model)).ok();
        let is = home(&world, "acme");
        assert_eq!((is.model, is.state.as_str()), (model, "active"), "{pair}");
        assert_eq!(contents(&world, &is), everything, "{pair}");
        assert_eq!(contents(&world, &was), everything, "{pair}: the old place is kept");
        assert!(is_open(&world, &is), "{pair}: {:?}", application(&world, &is));
        assert!(is_closed(&world, &was), "{pair}: {:?}", application(&world, &was));
        world.run(["verify-rls"]).ok();

        world.run(["move", "abort", "acme"]).ok();
        let after = objects(&world);
        assert!(before == after, "{pair}: {}", difference(&before, &after));
        assert_eq!(home(&world, "acme"), was, "{pair}");
        assert_eq!(contents(&world, &was), everything, "{pair}: aborted");
        assert!(is_open(&world, &was), "{pair}: {:?}", application(&world, &was));

        world.run(to(model)).ok();
        let again = world.run(to(model)).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        world.run(["move", "finish", "acme"]).code(4);
        let kept = world.run(["move", "finish", "acme", "--dry-run"]).ok();
        assert!(kept.stdout().contains("is to be removed"), "{}", kept.transcript());
        world.run(["move", "finish", "acme", "--yes"]).ok();
        assert_eq!(contents(&world, &is), everything, "{pair}: finished");
        assert!(is_open(&world, &is), "{pair}");
        if was.model != Model::Shared {
            assert!(
                !objects(&world)
                    .iter()
                    .any(|line| line.contains("tenantctl_") && !line.contains("tenantctl.")),
                "{pair}: {:#?}",
                objects(&world)
            );
        }
        for (tenant, theirs) in others.iter().zip(&theirs) {
            let now = home(&world, tenant);
            assert_eq!(contents(&world, &now), *theirs, "{pair}: {tenant}");
            assert!(is_open(&world, &now), "{pair}: {tenant}");
        }
        world.run(["create", "acme"]).ok();
    }
    world.run(["audit", "verify"]).ok();
}

#[test]
fn a_move_says_what_it_costs_and_what_is_to_be_changed() {
    let world = seeded(&[("acme", Model::Schema)]);
    world.run(to(Model::Schema)).ok().snapshot("move_nothing");
    world.run(["move", "acme"]).code(64).snapshot("move_nowhere");
    let planned = world.run(["move", "acme", "--to-isolation", "database", "--dry-run"]).ok();
    assert_eq!(home(&world, "acme").model, Model::Schema, "{}", planned.transcript());
    world.run(["move", "acme", "--to-isolation", "database", "--max-freeze", "10ms"]).code(4);
    let answer =
        world.run(["move", "acme", "--to-isolation", "database", "-o", "json"]).ok().json();
    assert_eq!(answer["outcome"], "moved");
    assert_eq!(answer["move"]["phase"], "kept");
    assert_eq!(answer["move"]["tables"].as_array().unwrap().len(), 10);
    assert!(answer["move"]["could_not_write_ms"].as_u64().unwrap() > 0);
    assert_eq!(answer["tenant"]["isolation"], "database");
    assert_eq!(answer["changes"][0]["what"], "isolation");
    world.run(["move", "status"]).ok();
    world.run(["move", "acme", "--to-isolation", "shared"]).code(4).snapshot("move_elsewhere");
    // What it wrote since would be lost.
    let is = home(&world, "acme");
    world.sql_in(&is.database, "INSERT INTO app.tags (name) VALUES ('written later')");
    world.run(["move", "abort", "acme"]).code(4).snapshot("move_abort_refused");
    assert!(is_open(&world, &is));
    world.run(["move", "abort", "acme", "--lose-writes"]).ok();
    let status = world.run(["move", "status", "acme", "-o", "json"]).ok().json();
    assert_eq!(status["moves"][0]["phase"], "aborted");
    world.run(["move", "abort", "acme"]).ok();
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_leaves_no_trace() {
    let world = seeded(&[("acme", Model::Schema)]);
    world.sql(
        "SET ROLE tenant_acme_owner; SET search_path = tenant_acme; \
         ALTER TABLE users ADD COLUMN nickname text; CREATE TABLE by_hand (id int PRIMARY KEY)",
    );
    let before = objects(&world);
    world.run(["move", "acme", "--to-isolation", "database"]).code(4).snapshot("move_does_not_fit");
    let after = objects(&world);
    assert!(before == after, "{}", difference(&before, &after));
    assert!(is_open(&world, &home(&world, "acme")));
}

#[test]
fn between_two_clusters() {
    let world = World::new();
    let other = Postgres::start();
    world.config(&other.cluster_toml("second", "eu"));
    for model in Model::ALL {
        let tenant = format!("of-{}", model.word());
        world.run(["create", &tenant, "--isolation", model.word(), "--cluster", "main"]).ok();
        let was = home(&world, &tenant);
        let shared = (model == Model::Shared).then_some(("tenant_id", was.key.as_str()));
        crate::harness::Seed {
            server: &world,
            database: &was.database,
            schema: &was.schema,
            tenant: shared,
            rows: 12,
        }
        .plant();
        let everything = contents(&world, &was);
        world.run(["move", &tenant, "--to-cluster", "second"]).ok();
        let is = home(&world, &tenant);
        assert_eq!((is.cluster.as_str(), is.model), ("second", model));
        assert_eq!(contents(&other, &is), everything, "{model:?}");
        assert!(is_open(&other, &is), "{model:?}");
        assert!(is_closed(&world, &was), "{model:?}: {:?}", application(&world, &was));
        world.run(["move", "finish", &tenant, "--yes"]).ok();
        let left: Vec<String> = objects(&world)
            .into_iter()
            .filter(|line| {
                line.contains(&tenant.replace('-', "_")) && !line.starts_with("tenant |")
            })
            .collect();
        assert!(left.is_empty() || model == Model::Shared, "{model:?}: {left:#?}");
    }
}

/// An application that adds, changes and removes all the time, and remembers what was acknowledged.
fn writer(
    url: impl Fn(&str) -> String,
    registry: &str,
    mut number: u32,
    stop: &AtomicBool,
) -> Vec<u32> {
    let mut registry = crate::harness::Session::open(registry);
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let row = registry
            .rows("SELECT isolation, database, schema, roles[1], key FROM tenantctl.tenants WHERE id = 'acme'")
            .remove(0);
        let [isolation, database, schema, role, key] = <[String; 5]>::try_from(row).unwrap();
        let mut session = crate::harness::Session::open(&url(&database));
        let (column, value) = match isolation.as_str() {
            "shared" => ("tenant_id, ", format!("'{key}', ")),
            _ => ("", String::new()),
        };
        while !stop.load(Ordering::SeqCst) {
            let statement = format!(
                "BEGIN; SET LOCAL ROLE {role}; SET LOCAL search_path = {schema}; \
                 SELECT set_config('app.tenant_id', '{key}', true); \
                 INSERT INTO events ({column}stream, stream_version, type, payload) \
                 VALUES ({value}'writer', {number}, 'tick', '{{}}'); \
                 UPDATE users SET display_name = '{number}' WHERE email = 'user3@example.org'; \
                 DELETE FROM tags WHERE name = 'w{}'; \
                 INSERT INTO tags ({column}name) VALUES ({value}'w{number}'); COMMIT",
                number - 1
            );
            match session.attempt(&statement) {
                Ok(_) => {
                    acknowledged.push(number);
                    number += 1;
                }
                Err(_) => {
                    drop(session.attempt("ROLLBACK"));
                    break;
                }
            }
        }
    }
    acknowledged
}

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let world = seeded(&[("acme", Model::Shared), ("beta", Model::Shared)]);
    loses_nothing(world, |_| "freeze");
}

#[test]
fn nothing_is_lost_that_was_written_while_it_was_copied() {
    let world = seeded_in(logical(), &[("acme", Model::Shared), ("beta", Model::Shared)]);
    // Triggers of shared tables would fire for every change.
    loses_nothing(world, |model| if model == Model::Shared { "freeze" } else { "replication" });
}

fn loses_nothing(world: World, method: impl Fn(Model) -> &'static str) {
    let world = Arc::new(world);
    let theirs = contents(&world, &home(&world, "beta"));
    for (from, model) in (1..).zip([Model::Schema, Model::Database, Model::Shared]) {
        let stop = Arc::new(AtomicBool::new(false));
        let (far, flag) = (Arc::clone(&world), Arc::clone(&stop));
        let writing = thread::spawn(move || {
            let url = |database: &str| far.url(database, "postgres");
            writer(url, &far.url("app", "postgres"), from * 1_000_000, &flag)
        });
        let answer = world.tenantctl(to(model)).args(["-o", "json"]).run().ok();
        assert_eq!(answer.json()["move"]["method"], method(model), "{}", answer.transcript());
        thread::sleep(std::time::Duration::from_millis(100));
        stop.store(true, Ordering::SeqCst);
        let acknowledged = writing.join().unwrap();
        let is = home(&world, "acme");
        let only = if model == Model::Shared {
            format!("AND tenant_id::text = '{}'", is.key)
        } else {
            String::new()
        };
        let found: Vec<u32> = world
            .rows_in(
                &is.database,
                &format!(
                    "SELECT stream_version FROM {}.events WHERE stream = 'writer' {only} ORDER BY 1",
                    is.schema
                ),
            )
            .into_iter()
            .map(|row| row[0].parse().unwrap())
            .collect();
        assert!(acknowledged.len() > 10, "{} were written", acknowledged.len());
        assert_eq!(found, acknowledged, "{model:?}");
        assert!(keeps_no_log(&world), "{model:?}");
        world.run(["move", "finish", "acme", "--yes"]).ok();
        let clear = format!(
            "SET ROLE {}; ",
            if model == Model::Shared { "app_owner" } else { "tenant_acme_owner" }
        );
        world.sql_in(
            &is.database,
            &format!(
                "{clear} SELECT set_config('app.tenant_id', '{}', false); DELETE FROM {}.events WHERE stream = 'writer'",
                is.key, is.schema
            ),
        );
    }
    assert_eq!(contents(&world, &home(&world, "beta")), theirs);
}

/// Kills `move` behind changes of so many kinds, and goes on.
fn survives_a_kill(world: &World, from: Model, model: Model, samples: usize) {
    world.run(["create", "acme", "--isolation", from.word(), "--uuid", UUID]).ok();
    world.run(["create", "beta", "--isolation", "shared"]).ok();
    world.seed(from, "acme", 5);
    let was = home(world, "acme");
    let everything = contents(world, &was);
    // The first time makes what stays: the registry's tables, a shared layout.
    world.run(to(model)).ok();
    let target = home(world, "acme");
    world.run(["move", "abort", "acme"]).ok();
    let before = objects(world);
    let counting = Proxy::start(world, None);
    world.tenantctl(to(model)).env("DATABASE_URL", counting.operator_url(world)).run().ok();
    let turns = counting.turns();
    world.run(["move", "abort", "acme"]).ok();
    assert!(turns.len() > samples, "only {turns:#?}");
    let mut kills = 0;
    for sample in 0..samples {
        let at = &turns[sample * turns.len() / samples];
        let proxy = Proxy::killing(world, at);
        let victim =
            world.tenantctl(to(model)).env("DATABASE_URL", proxy.operator_url(world)).spawn();
        proxy.aim_at(victim.pid());
        let killed = victim.wait().transcript();
        // How often changes are fetched is no two times the same.
        kills += usize::from(killed.contains("signal: 9"));
        assert!(killed.contains("signal: 9") || killed.contains("\nexit 0\n"), "{at:?}: {killed}");
        let both = is_open(world, &was) && is_open(world, &target);
        assert!(!both, "killed behind {at:?}: two writable copies");
        // Every other time straight back; otherwise on, and then back.
        if sample % 2 == 0 {
            let on = world.run(to(model));
            assert!(on.transcript().contains("\nexit 0\n"), "{at:?}: {}", on.transcript());
            assert_eq!(home(world, "acme"), target, "{at:?}");
            assert_eq!(contents(world, &target), everything, "{at:?}");
            assert!(is_open(world, &target) && is_closed(world, &was), "{at:?}");
        }
        let back = world.run(["move", "abort", "acme"]);
        assert!(back.transcript().contains("\nexit 0\n"), "{at:?}: {}", back.transcript());
        let after = objects(world);
        assert!(before == after, "killed behind {at:?}: {}", difference(&before, &after));
        assert_eq!(contents(world, &was), everything, "{at:?}");
        assert!(is_open(world, &was), "{at:?}: {:?}", application(world, &was));
        assert!(keeps_no_log(world), "{at:?}");
    }
    assert!(kills * 4 >= samples * 3, "killed {kills} times of {samples}");
}

#[test]
fn a_move_from_shared_tables_survives_kills() {
    survives_a_kill(&World::new(), Model::Shared, Model::Schema, 8);
}

#[test]
fn a_move_that_follows_changes_survives_kills() {
    survives_a_kill(&logical(), Model::Shared, Model::Schema, 10);
}

#[test]
fn a_move_into_shared_tables_survives_kills() {
    survives_a_kill(&World::new(), Model::Database, Model::Shared, 8);
}

#[test]
fn a_move_between_places_of_its_own_survives_kills() {
    survives_a_kill(&World::new(), Model::Schema, Model::Database, 8);
}

#[test]
fn the_end_of_a_move_survives_kills() {
    for (from, model) in [
        (Model::Shared, Model::Schema),
        (Model::Schema, Model::Database),
        (Model::Database, Model::Shared),
    ] {
        let world = World::new();
        world.run(["create", "acme", "--isolation", from.word(), "--uuid", UUID]).ok();
        world.run(["create", "beta", "--isolation", "shared"]).ok();
        world.seed(from, "acme", 5);
        let was = home(&world, "acme");
        let everything = contents(&world, &was);
        world.run(to(model)).ok();
        let target = home(&world, "acme");
        // Killed again and again, a little later each time, until it is through.
        let mut at = 8;
        loop {
            let proxy = Proxy::start(&world, Some(at));
            let victim = world
                .tenantctl(["move", "finish", "acme", "--yes"])
                .env("DATABASE_URL", proxy.operator_url(&world))
                .spawn();
            proxy.aim_at(victim.pid());
            let outcome = victim.wait().transcript();
            assert_eq!(contents(&world, &target), everything, "{from:?}, {at}");
            assert!(is_open(&world, &target), "{from:?}, {at}");
            if !outcome.contains("signal: 9") {
                assert!(outcome.contains("\nexit 0\n"), "{from:?}, {at}: {outcome}");
                break;
            }
            at += 5;
        }
        let status = world.run(["move", "status", "acme", "-o", "json"]).ok().json();
        assert_eq!(status["moves"][0]["phase"], "done", "{from:?}");
        assert_eq!(home(&world, "acme"), target);
    }
}

#[test]
fn on_every_version_of_the_server() {
    crate::harness::on_every_version(|world| {
        let world = seeded_in(world, &[("acme", Model::Schema), ("beta", Model::Shared)]);
        let everything = contents(&world, &home(&world, "acme"));
        for model in [Model::Shared, Model::Database, Model::Schema] {
            world.run(to(model)).ok();
            let is = home(&world, "acme");
            assert_eq!(contents(&world, &is), everything, "{model:?}");
            assert!(is_open(&world, &is), "{model:?}");
            world.run(["move", "finish", "acme", "--yes"]).ok();
        }
    });
}
