//! `erase`: a tenant, or what it knows of one person, and nothing else.

use crate::harness::{Model, Proxy, World, catalog};

/// Two tenants with the same people, who wrote the same documents.
fn people(model: Model) -> World {
    let world = World::new();
    for tenant in ["acme", "beta"] {
        world.run(["create", tenant, "--isolation", model.word()]).ok();
        world.seed(model, tenant, 12);
    }
    world
}

fn place(world: &World, model: Model, tenant: &str) -> (String, String, String) {
    let key = world.rows(&format!("SELECT key FROM tenantctl.tenants WHERE id = '{tenant}'"));
    let only = match model {
        Model::Shared => format!("tenant_id::text = '{}'", key[0][0]),
        Model::Schema | Model::Database => "true".to_owned(),
    };
    (model.database(tenant), model.schema(tenant), only)
}

fn number(world: &World, model: Model, tenant: &str, table: &str, condition: &str) -> i64 {
    let (database, schema, only) = place(world, model, tenant);
    let query = format!("SELECT count(*) FROM {schema}.{table} WHERE {only} AND ({condition})");
    world.rows_in(&database, &query)[0][0].parse().unwrap()
}

/// A hash over every row of a tenant.
fn everything(world: &World, model: Model, tenant: &str) -> Vec<Vec<String>> {
    let (database, schema, only) = place(world, model, tenant);
    let tables = [
        "users",
        "api_keys",
        "documents",
        "tags",
        "document_tags",
        "events",
        "embeddings",
        "settings",
        "audit_log",
    ];
    let parts: Vec<String> = tables
        .iter()
        .map(|table| {
            format!("SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {schema}.{table} t WHERE {only}")
        })
        .collect();
    world.rows_in(&database, &parts.join(" UNION ALL "))
}

const ANN: &str = "[where]\n\
    users = \"email = 'user3@example.org'\"\n\
    audit_log = \"before ->> 'email' = 'user3@example.org' or after ->> 'email' = 'user3@example.org'\"\n\
    \n\
    [keys]\n\
    \"documents.author_id\" = \"set null\"\n\
    \"api_keys.user_id\" = \"delete\"\n\
    \"settings.updated_by\" = \"set null\"\n";

#[test]
fn a_person_goes_with_what_hangs_on_them_in_every_model() {
    for model in Model::ALL {
        let world = people(model);
        world.file("ann.toml", ANN);
        let theirs = everything(&world, model, "beta");
        let all = everything(&world, model, "acme");
        let command = ["erase", "acme", "--where-file", "ann.toml"];

        let counted = world.tenantctl(command).args(["--dry-run", "-o", "json"]).run().ok().json();
        assert_eq!(counted["dry_run"], true, "{model:?}");
        assert_eq!(everything(&world, model, "acme"), all, "{model:?}: only counted");
        world.run(command).code(4);
        assert_eq!(everything(&world, model, "acme"), all, "{model:?}: nobody agreed");

        let erased = world.tenantctl(command).args(["--yes", "-o", "json"]).run().ok().json();
        assert_eq!(erased["deleted"], counted["deleted"], "{model:?}");
        assert_eq!(erased["receipt"].as_str().unwrap().len(), 64);
        assert_eq!(number(&world, model, "acme", "users", "email = 'user3@example.org'"), 0);
        assert_eq!(number(&world, model, "acme", "users", "true"), 11);
        assert_eq!(number(&world, model, "acme", "api_keys", "true"), 11);
        assert_eq!(number(&world, model, "acme", "documents", "true"), 12);
        // The trigger wrote down what was deleted: that is gone as well.
        let written =
            "before::text LIKE '%user3@example.org%' OR after::text LIKE '%user3@example.org%'";
        assert_eq!(number(&world, model, "acme", "audit_log", written), 0, "{model:?}");
        assert_eq!(everything(&world, model, "beta"), theirs, "{model:?}");
        let again = world.tenantctl(command).args(["--yes"]).run().ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        let log = world.rows(
            "SELECT count(*) FROM tenantctl.events WHERE event = 'erase' AND outcome = 'done'",
        );
        assert_eq!(log, [["1"]]);
        let said =
            world.rows("SELECT count(*) FROM tenantctl.events WHERE events::text LIKE '%user3%'");
        assert_eq!(said, [["0"]], "the log keeps nothing personal");
        if model == Model::Schema {
            world.run(["audit", "verify"]).ok();
        }
    }
}

#[test]
fn what_is_not_decided_or_not_there_is_refused() {
    let world = people(Model::Schema);
    let all = everything(&world, Model::Schema, "acme");
    let erase = |name: &str, text: &str| {
        world.file(name, text);
        world.run(["erase", "acme", "--where-file", name, "--yes"])
    };
    erase("open.toml", "[where]\nusers = \"email = 'user3@example.org'\"\n")
        .code(4)
        .snapshot("erase_undecided");
    erase("table.toml", "[where]\nusers = \"true\"\npeople = \"true\"\n")
        .code(1)
        .snapshot("erase_unknown_table");
    erase("column.toml", "[where]\n\nusers = \"mail = 'x'\"\n")
        .code(1)
        .snapshot("erase_unknown_column");
    erase("null.toml", "[where]\nusers = \"true\"\n[keys]\n\"api_keys.user_id\" = \"set null\"\n")
        .code(1);
    erase("two.toml", "[where]\nusers = \"true; DROP TABLE users\"\n")
        .code(1)
        .snapshot("erase_no_expression");
    erase("writes.toml", "[where]\nusers = \"nextval('x') > 0\"\n").code(1);
    assert_eq!(everything(&world, Model::Schema, "acme"), all);
    world.sql("UPDATE tenantctl.tenants SET holds = '[{\"reason\": \"case 12\", \"by\": \"me\", \"since\": \"now\"}]'");
    world.file("ann.toml", ANN);
    let held = world.run(["erase", "acme", "--where-file", "ann.toml", "--yes"]).code(4);
    assert!(held.stderr().contains("case 12"), "{}", held.transcript());
}

#[test]
fn people_read_what_will_be_erased() {
    let world = people(Model::Schema);
    world.file("ann.toml", ANN);
    world
        .run(["erase", "acme", "--where-file", "ann.toml", "--dry-run"])
        .ok()
        .snapshot("erase_dry_run");
}

#[test]
fn a_whole_tenant_is_erased_at_once_and_leaves_a_receipt() {
    for model in Model::ALL {
        let world = people(model);
        let (all, theirs) = (everything(&world, model, "acme"), everything(&world, model, "beta"));
        let dry = world.run(["erase", "acme", "--dry-run", "-o", "json"]).ok().json();
        assert_eq!(dry["targets"][0]["status"], "pending", "{dry:#}");
        let unasked = world.run(["erase", "acme"]).code(4);
        assert!(unasked.stderr().contains("--yes"), "{}", unasked.transcript());
        let lost = world.run(["erase", "acme", "--yes", "--receipt", "no/such/place.json"]).code(1);
        assert!(lost.stderr().contains("--receipt PATH"), "{}", lost.transcript());
        world.run(["hold", "set", "acme", "--reason", "case 12"]).ok();
        let held = world.run(["erase", "acme", "--yes"]).code(4);
        assert!(
            held.stderr().contains("erase tenant acme: it is held: case 12"),
            "{}",
            held.transcript()
        );
        assert_eq!(everything(&world, model, "acme"), all, "{model:?}");
        assert_eq!(
            world.rows("SELECT state FROM tenantctl.tenants WHERE id = 'acme'"),
            [["active"]]
        );
        world.run(["hold", "clear", "acme"]).ok();

        let erase =
            ["erase", "acme", "--yes", "--receipt", "acme.json", "--reason", "request 4711"];
        let erased = world.run(erase.into_iter().chain(["-o", "json"])).ok().json();
        let target = &erased["targets"][0];
        assert_eq!((&erased["command"], &target["to"]), (&"erase".into(), &"purged".into()));
        let text = std::fs::read_to_string(world.path("acme.json")).unwrap();
        let receipt: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(receipt["tenant"], "acme");
        let rows = |table: &serde_json::Value| table["rows_before"].as_u64().unwrap();
        let before: u64 = receipt["tables"].as_array().unwrap().iter().map(rows).sum();
        assert!(before > 90, "{receipt:#}");
        assert_eq!(everything(&world, model, "beta"), theirs, "{model:?}");
        let left: Vec<String> = catalog(&world)
            .into_iter()
            .filter(|line| line.contains("acme") && !line.starts_with("tenant | "))
            .collect();
        assert!(left.is_empty(), "{model:?}: {left:#?}");
        let logged = world.rows(
            "SELECT outcome, detail ->> 'reason', after -> 'receipt' ->> 'sha256' FROM tenantctl.events \
             WHERE event = 'erase' ORDER BY id",
        );
        let sha256 = target["receipt"]["sha256"].as_str().unwrap();
        assert_eq!(logged, [["begun", "request 4711", "NULL"], ["done", "request 4711", sha256]]);
        let again = world.run(erase).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        world.run(["audit", "verify"]).ok();
    }
}

#[test]
fn an_erasure_that_is_killed_is_finished_by_the_next() {
    let world = people(Model::Schema);
    let saved = world.save();
    let erase = ["erase", "acme", "--yes", "--receipt", "r.json"];
    let world = saved.world();
    let proxy = Proxy::start(&world, None);
    world.tenantctl(erase).env("DATABASE_URL", proxy.operator_url(&world)).run().ok();
    let (expected, turns) = (catalog(&world), proxy.turns());
    // The end itself is `purge`'s: here is what comes before it.
    for turn in turns.iter().take(8) {
        let world = saved.world();
        let proxy = Proxy::killing(&world, turn);
        let victim = world.tenantctl(erase).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
        proxy.aim_at(victim.pid());
        let killed = victim.wait().transcript();
        assert!(killed.contains("signal: 9"), "{turn:?}: {killed}");
        world.run(erase).ok();
        assert_eq!(catalog(&world), expected, "{turn:?}");
        let text = std::fs::read_to_string(world.path("r.json")).unwrap();
        assert!(text.contains("tenant_acme.users"), "{turn:?}: {text}");
    }
}
