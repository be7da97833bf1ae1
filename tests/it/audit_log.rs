//! The audit log: who did what is kept by the server, and no change of it goes unseen.

use serde_json::{Value, json};
use std::thread;

use tenantctl::config::conninfo::{self, Environment};
use tenantctl::migrations::embedded;
use tenantctl::model::migration::MigrationSet;
use tenantctl::model::tenant::ClusterName;
use tenantctl::pg::{Servers, registry};

use crate::harness::{OPERATOR, World, on_every_version};

fn verify(world: &World, code: i32) -> Value {
    world.run(["audit", "verify", "-o", "json"]).code(code).json()
}

/// What is wrong with the log, in words, without the explanation.
fn tampered(world: &World) -> Vec<(String, Value, Value)> {
    verify(world, 2)["tampered"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["what"].as_str().unwrap().to_owned(), one["from"].clone(), one["to"].clone())
        })
        .collect()
}

fn one(what: &str, from: i64, to: i64) -> (String, Value, Value) {
    (what.to_owned(), json!(from), json!(to))
}

#[test]
fn the_server_chains_whatever_is_written_by_whomever() {
    on_every_version(|world| {
        world
            .run(["create", "acme", "--label", "note=it's \u{fc}ber", "--isolation", "schema"])
            .ok();
        world.run(["create", "globex", "--isolation", "shared"]).ok();
        // A writer that knows of no chain, with a lie about who it is.
        let mut other = world.session("app", OPERATOR);
        other.sql(
            "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET application_name = 'psql'; \
             INSERT INTO tenantctl.events (tenant, event, actor, at, detail) \
             VALUES ('acme', 'by hand', 'somebody else', '2001-01-01', '{\"b\": 1.50, \"a\": null}')",
        );
        // What is rolled back leaves no gap.
        other.sql("BEGIN; INSERT INTO tenantctl.events (event) VALUES ('x'); ROLLBACK");
        other.sql("INSERT INTO tenantctl.events (event) SELECT 'many' FROM generate_series(1, 3)");
        let whole = verify(&world, 0);
        assert_eq!(whole["whole"], true);
        assert_eq!(whole["events"], 10);
        assert_eq!(whole["head"]["id"], 10);

        let log = world.run(["audit", "log", "--tenant", "acme", "-o", "json"]).ok().json();
        let events = log["events"].as_array().unwrap();
        let words: Vec<&str> =
            events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(words, ["by hand", "create", "state", "state"]);
        assert_eq!(events[0]["actor"], OPERATOR);
        assert_eq!(events[0]["application"], "psql");
        assert!(!events[0]["at"].as_str().unwrap().starts_with("2001"), "{log}");
        let create = &events[1];
        assert_eq!(create["outcome"], "done");
        assert_eq!(create["client"], "local");
        assert_eq!(create["before"], Value::Null);
        assert_eq!(create["after"]["state"], "active");
        assert_eq!(
            create["asked"],
            "create acme --label 'note=it'\\''s \u{fc}ber' --isolation schema"
        );
        assert_eq!(create["origin"]["version"], env!("CARGO_PKG_VERSION"));
        let limited =
            world.run(["audit", "log", "--limit", "2", "--since", "1h", "-o", "json"]).ok();
        assert_eq!(limited.json()["more"], true);
        assert_eq!(limited.json()["events"].as_array().unwrap().len(), 2);
        // To add events is a right of its own, and nothing else follows from it.
        world.sql("CREATE ROLE auditor LOGIN; GRANT USAGE ON SCHEMA tenantctl TO auditor; GRANT INSERT ON tenantctl.events TO auditor");
        let mut auditor = world.session("app", "auditor");
        auditor.sql("INSERT INTO tenantctl.events (event) VALUES ('seen')");
        assert_eq!(
            auditor.attempt("UPDATE tenantctl.event_head SET id = 0").unwrap_err().sqlstate,
            "42501"
        );
        assert_eq!(verify(&world, 0)["events"], 11);
    });
}

#[test]
fn every_change_is_found() {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    let mut owner = world.session("app", OPERATOR);
    for number in 4..=9 {
        owner.sql(&format!("INSERT INTO tenantctl.events (event) VALUES ('event {number}')"));
    }
    let head = verify(&world, 0)["head"]["hash"].as_str().unwrap().to_owned();
    // Each change is one that the owner can make, and is taken back.
    let mut broken = |change: &str| {
        owner.sql(&format!(
            "CREATE TABLE tenantctl.kept AS TABLE tenantctl.events; CREATE TABLE tenantctl.kept_head AS TABLE tenantctl.event_head; \
             ALTER TABLE tenantctl.events DISABLE TRIGGER USER; {change}; ALTER TABLE tenantctl.events ENABLE TRIGGER USER"
        ));
        let found = tampered(&world);
        owner.sql(
            "ALTER TABLE tenantctl.events DISABLE TRIGGER USER; DELETE FROM tenantctl.events; \
             INSERT INTO tenantctl.events TABLE tenantctl.kept; UPDATE tenantctl.event_head h SET id = k.id, hash = k.hash FROM tenantctl.kept_head k; \
             ALTER TABLE tenantctl.events ENABLE TRIGGER USER; DROP TABLE tenantctl.kept, tenantctl.kept_head",
        );
        assert_eq!(verify(&world, 0)["events"], 9);
        found
    };
    for column in [
        "at = at - interval '1 microsecond'",
        "tenant = 'globex'",
        "event = 'nothing'",
        "outcome = 'failed'",
        "actor = 'somebody'",
        "application = 'x'",
        "client = '10.0.0.1'",
        "origin = '{}'",
        "run = gen_random_uuid()",
        "asked = 'list'",
        "before = '{}'",
        "after = '{}'",
        "detail = '{\"a\": 1}'",
    ] {
        let found = broken(&format!("UPDATE tenantctl.events SET {column} WHERE id = 5"));
        assert_eq!(found, [one("edited", 5, 5)], "{column}");
    }
    // Whoever mends the hash as well breaks the next event.
    let mended = "UPDATE tenantctl.events SET event = 'nothing' WHERE id = 5; \
                  UPDATE tenantctl.events e SET hash = sha256(convert_to(tenantctl.event_text(e), 'UTF8')) WHERE id = 5";
    assert_eq!(broken(mended), [one("replaced", 6, 6)]);
    assert_eq!(broken("DELETE FROM tenantctl.events WHERE id IN (4, 5)"), [one("missing", 4, 5)]);
    assert_eq!(broken("DELETE FROM tenantctl.events WHERE id = 1"), [one("missing", 1, 1)]);
    assert_eq!(broken("DELETE FROM tenantctl.events WHERE id > 7"), [one("cut-off", 8, 9)]);
    let added = "INSERT INTO tenantctl.events (id, event, application, previous, hash) \
                 SELECT 10, 'x', '', hash, hash FROM tenantctl.events WHERE id = 9";
    assert_eq!(broken(added), [one("edited", 10, 10), one("unchained", 10, 10)]);

    // A cut that the owner hides well shows only against a head that was kept.
    owner.sql(
        "ALTER TABLE tenantctl.events DISABLE TRIGGER USER; DELETE FROM tenantctl.events WHERE id = 9; \
         UPDATE tenantctl.event_head h SET id = e.id, hash = e.hash FROM tenantctl.events e WHERE e.id = 8",
    );
    let unguarded = world.run(["audit", "verify"]).code(2);
    for trigger in ["events_are_chained", "events_are_kept"] {
        let told = format!("unguarded: the trigger {trigger} is gone or switched off");
        assert!(unguarded.stdout().contains(&told), "{}", unguarded.transcript());
    }
    owner.sql("ALTER TABLE tenantctl.events ENABLE TRIGGER USER");
    assert_eq!(verify(&world, 0)["events"], 8);
    let cut = world.run(["audit", "verify", "--expect-head", &head]).code(2);
    assert!(
        cut.stdout().contains("head-unknown: no event has the expected hash"),
        "{}",
        cut.transcript()
    );
    // A head that was kept earlier stays known when events are added.
    let kept = verify(&world, 0)["head"]["hash"].as_str().unwrap().to_owned();
    world.run(["create", "globex"]).ok();
    let known = world.run(["audit", "verify", "--expect-head", &kept]).ok();
    assert!(known.stdout().contains("the expected one is among them"), "{}", known.transcript());
}

#[test]
fn events_of_an_older_registry_are_chained_in_their_order() {
    let world = World::new();
    let set = embedded::registry().unwrap();
    let older = MigrationSet::new("older", set.migrations()[..3].to_vec()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let source = conninfo::Source::Flag("--database-url".to_owned());
        let settings =
            conninfo::resolve(&world.operator_url(), &source, &Environment::bare()).unwrap();
        let cluster = ClusterName::new("main").unwrap();
        let servers = Servers::new([(cluster.clone(), settings, 4)], "test");
        let session = servers.dedicated(&cluster, None).await.unwrap();
        registry::ensure(&session, &older).await.unwrap();
    });
    let mut owner = world.session("app", OPERATOR);
    owner.sql(
        "INSERT INTO tenantctl.events (tenant, event) VALUES ('old', 'first'), ('old', 'second')",
    );
    owner.sql(
        "BEGIN; INSERT INTO tenantctl.events (tenant, event) VALUES ('old', 'lost'); ROLLBACK",
    );
    owner.sql("INSERT INTO tenantctl.events (tenant, event) VALUES ('old', 'third')");
    let not_yet = world.run(["audit", "verify"]).code(4);
    assert!(
        not_yet.stderr().contains("an older tenantctl made the registry"),
        "{}",
        not_yet.transcript()
    );
    world.run(["create", "acme"]).ok();
    assert_eq!(verify(&world, 0)["events"], 6);
    assert_eq!(
        world.rows("SELECT id, event FROM tenantctl.events WHERE tenant = 'old' ORDER BY id"),
        [["1", "first"], ["2", "second"], ["3", "third"]]
    );
    let kept = owner.attempt("UPDATE tenantctl.events SET event = 'x'").unwrap_err();
    assert_eq!(kept.sqlstate, "42501");
}

#[test]
fn writers_at_once_make_one_chain() {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    thread::scope(|scope| {
        for writer in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let mut session = world.session("app", OPERATOR);
                for event in 0..50 {
                    session.sql(&format!(
                        "INSERT INTO tenantctl.events (event) VALUES ('{writer} {event}')"
                    ));
                }
            });
        }
    });
    assert_eq!(verify(&world, 0)["events"], 203);
}

#[test]
fn every_command_that_changes_something_answers_for_it() {
    let world = World::new();
    world.file("migrations/V1__notes.sql", "CREATE TABLE notes (id bigint PRIMARY KEY);\n");
    let with = |args: &[&str]| {
        let words: Vec<String> = ["--migrations", "migrations"]
            .iter()
            .chain(args)
            .map(|word| (*word).to_owned())
            .collect();
        world.run(words)
    };
    for id in ["cat", "dog"] {
        with(&["create", id, "--isolation", "schema"]).ok();
    }
    let before = verify(&world, 0)["events"].clone();
    // Nothing to do is no deed.
    with(&["create", "cat"]).ok();
    with(&["migrate", "up", "--allow-lint"]).ok();
    with(&["migrate", "status"]).ok();
    assert_eq!(verify(&world, 0)["events"], before);

    world.file("migrations/V2__more.sql", "CREATE TABLE more (id bigint PRIMARY KEY);\n");
    world.file("migrations/down/2__more.sql", "DROP TABLE more;\n");
    with(&["migrate", "up", "--allow-lint"]).ok();
    with(&["migrate", "down", "--to", "1", "--reason", "a bad release", "--yes"]).ok();
    world.file("migrations/V2__more.sql", "SELECT 1 / 0;\n");
    let failed = with(&["migrate", "up", "--allow-lint", "-o", "json"]).code(1);
    let run = failed.json()["run"].clone();
    with(&["create", "cat", "--isolation", "database"]).code(4);
    let log = world.run(["audit", "log", "-o", "json", "--limit", "100"]).ok().json();
    let deeds: Vec<(String, String)> = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .filter(|event| !event["outcome"].is_null() && event["event"] != "create")
        .map(|event| {
            let word = |key: &str| event[key].as_str().unwrap().to_owned();
            (word("event"), word("outcome"))
        })
        .collect();
    let expected = [
        ("migrate up", "begun"),
        ("migrate up", "done"),
        ("migrate down", "begun"),
        ("migrate down", "done"),
        ("migrate up", "begun"),
        ("migrate up", "failed"),
    ]
    .map(|(event, outcome)| (event.to_owned(), outcome.to_owned()));
    assert_eq!(deeds, expected);
    let last = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["event"] == "migrate up")
        .unwrap();
    assert_eq!(last["run"], run);
    assert_eq!(last["after"]["failed"], 2);
    assert_eq!(last["asked"], "--migrations migrations migrate up --allow-lint -o json");
    verify(&world, 0);
    let human = world.tenantctl(["audit", "log"]).env("COLUMNS", "120").run().ok();
    assert!(human.stdout().starts_with("NR  "), "{}", human.transcript());
}

#[test]
fn without_a_registry_there_is_nothing_to_show_and_nothing_to_trust() {
    let world = World::new();
    let log = world.run(["audit", "log"]).ok();
    assert_eq!(log.stdout(), "no events yet, and no registry to keep them\n");
    let verify = world.run(["audit", "verify"]).code(1);
    assert!(verify.stderr().contains("there is no registry"), "{}", verify.transcript());
    world.run(["audit", "verify", "--expect-head", "abc"]).code(64);
}
