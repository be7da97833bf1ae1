//! `migrate up` and `migrate status` over a selection of tenants.

use crate::fleet::{Fleet, statuses, summary, target};
use crate::harness::{OPERATOR_PASSWORD, World, on_every_version};

const TAGS: (&str, &str) = ("V2__tags.sql", "CREATE TABLE tags (id bigint PRIMARY KEY);\n");
const LINKS: (&str, &str) = ("V3__links.sql", "CREATE TABLE links (id bigint PRIMARY KEY);\n");

/// Two tenants that share tables, two with a schema, one with a database.
fn mixed(world: World) -> Fleet {
    let fleet = Fleet::on(world);
    for (id, isolation) in [
        ("ant", "shared"),
        ("bee", "shared"),
        ("cat", "schema"),
        ("dog", "schema"),
        ("elk", "database"),
    ] {
        fleet.create(id, isolation);
    }
    fleet.migration(TAGS.0, TAGS.1);
    fleet.shared_migration(
        "V2__tags.sql",
        "CREATE TABLE tags (tenant_id uuid NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));\n",
    );
    fleet
}

#[test]
fn every_model_of_a_mixed_fleet_is_migrated_on_every_version() {
    on_every_version(|world| up_and_status(&mixed(world)));
}

#[test]
fn a_superuser_migrates_the_same_fleet_on_every_version() {
    on_every_version(|world| {
        let fleet = mixed(world);
        let text = std::fs::read_to_string(fleet.path("tenants.toml")).unwrap();
        let as_superuser = text.replace("platform@", "").replace("user=platform", "user=postgres");
        assert_ne!(as_superuser, text);
        fleet.file("tenants.toml", &as_superuser);
        up_and_status(&fleet);
    });
}

#[test]
fn the_same_goes_through_tls() {
    let world = World::tls();
    let url = world.tls_url("verify-full");
    world.file("migrations/V1__notes.sql", "CREATE TABLE notes ();\n");
    world.file(
        "tenants.toml",
        &format!(
            "[clusters.main]\nurl = \"{url}\"\n[migrations]\nschema = \"migrations\"\n\
             database = \"migrations\"\n"
        ),
    );
    let run = |args: &[&str]| world.tenantctl(args).env("PGPASSWORD", OPERATOR_PASSWORD).run().ok();
    run(&["create", "cat", "--isolation", "schema"]);
    run(&["create", "elk", "--isolation", "database"]);
    world.file("migrations/V2__tags.sql", TAGS.1);
    let up = run(&["migrate", "up", "-o", "json"]);
    assert_eq!(statuses(&up), ["cat applied", "elk applied"]);
    assert!(!up.transcript().contains(OPERATOR_PASSWORD));
}

fn up_and_status(fleet: &Fleet) {
    let before = fleet.status(&[]).run().ok();
    assert_eq!(summary(&before), [0, 0, 0, 5], "{}", before.transcript());
    fleet.status(&["--check"]).run().code(2);

    let up = fleet.up(&[]).run().ok();
    assert_eq!(summary(&up), [5, 0, 0, 0], "{}", up.transcript());
    for id in ["ant", "bee", "cat", "dog", "elk"] {
        let row = target(&up, id);
        assert_eq!(row["from"], 1, "{row}");
        assert_eq!(row["to"], 2, "{row}");
        assert_eq!(row["applied"], serde_json::json!([2]), "{row}");
        assert_eq!(row["status"], "applied", "{row}");
        assert!(row["error"].is_null(), "{row}");
    }
    for (database, schema) in
        [("app", "app"), ("app", "tenant_cat"), ("app", "tenant_dog"), ("tenant_elk", "app")]
    {
        assert_eq!(
            fleet.history_in(database, schema),
            ["1 notes", "2 tags"],
            "{database}.{schema}"
        );
    }
    let after = fleet.status(&["--check"]).run().ok();
    assert_eq!(summary(&after), [5, 0, 0, 0], "{}", after.transcript());
    fleet.up(&["--check"]).run().ok();
}

#[test]
fn the_answer_is_one_document_of_the_promised_shape() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration(TAGS.0, TAGS.1);
    let status = fleet.status(&[]).run().ok().json();
    let expected = serde_json::json!({
        "format": 1, "command": "status", "run": null, "interrupted": false, "stopped": null,
        "summary": {"ok": 0, "failed": 0, "skipped": 0, "pending": 1},
        "head": {"database": 2, "schema": 2, "shared": 1},
        "versions": [{"isolation": "schema", "version": 1, "tenants": 1}],
        "targets": [{
            "tenant": "cat", "isolation": "schema", "cluster": "main", "database": "app",
            "schema": "tenant_cat", "from": 1, "to": 1, "applied": [], "pending": [2], "repeatables": [],
            "status": "pending", "error": null, "attempts": 0, "waited_for": null,
            "duration_ms": 0, "last_failure": null,
        }],
    });
    assert_eq!(status, expected);

    let up = fleet.up(&[]).run().ok().json();
    assert!(uuid::Uuid::parse_str(up["run"].as_str().unwrap()).is_ok(), "{up}");
    assert_eq!(up["command"], "up");
    assert_eq!(up["targets"][0]["applied"], serde_json::json!([2]));
    assert_eq!(up["targets"][0]["pending"], serde_json::json!([]));
}

#[test]
fn people_read_tables_and_a_closing_line() {
    let fleet = mixed(World::new());
    let human = |args: &[&str]| fleet.tenantctl(["migrate"]).args(args).run();
    human(&["status"]).ok().snapshot("migrate_status");
    // The order in which schemas are done is nobody's promise.
    human(&["up", "--jobs", "1"]).ok().snapshot("migrate_up");
    human(&["up"]).ok().snapshot("migrate_up_again");
}

#[test]
fn a_selection_bounds_what_is_touched() {
    let fleet = Fleet::new();
    fleet.run(["create", "cat", "--label", "wave=canary"]).ok();
    fleet.run(["create", "dog", "--label", "wave=late"]).ok();
    fleet.run(["create", "elk"]).ok();
    fleet.migration(TAGS.0, TAGS.1);
    let picked = |args: &[&str]| statuses(&fleet.status(args).run().ok());
    assert_eq!(picked(&["--tenant", "cat", "--tenant", "elk"]), ["cat pending", "elk pending"]);
    assert_eq!(picked(&["--exclude", "cat"]), ["dog pending", "elk pending"]);
    assert_eq!(picked(&["--selector", "wave=canary"]), ["cat pending"]);
    assert_eq!(picked(&["--selector", "wave!=canary,id!=elk"]), ["dog pending"]);

    let up = fleet.up(&["--selector", "wave!=late", "--exclude", "elk"]).run().ok();
    assert_eq!(statuses(&up), ["cat applied"]);
    assert_eq!(fleet.tables("tenant_cat"), ["notes", "tags"]);
    assert_eq!(fleet.tables("tenant_dog"), ["notes"]);
    assert_eq!(fleet.tables("tenant_elk"), ["notes"]);
}

#[test]
fn an_unknown_tenant_is_an_error_with_a_suggestion() {
    let fleet = Fleet::of_schemas(&["acme"]);
    for args in [["--tenant", "acne"], ["--exclude", "acne"]] {
        let refused = fleet.up(&args).run().code(1);
        assert_eq!(refused.json()["error"]["code"], "not-found");
        assert!(refused.stderr().contains("did you mean acme?"), "{}", refused.transcript());
    }
    fleet.up(&["--selector", "nonsense"]).run().code(64);
}

#[test]
fn a_selection_of_nobody_says_so() {
    let fleet = Fleet::of_schemas(&["acme"]);
    // A check of nothing must not pass: a mistyped selector would keep a pipeline green for ever.
    for command in [["migrate", "up"], ["migrate", "status"]] {
        let nobody = fleet.tenantctl(command).args(["--selector", "wave=none"]).run().code(1);
        assert!(nobody.stderr().contains("no tenant fits"), "{}", nobody.transcript());
    }
    let audit = fleet.tenantctl(["verify-rls", "--selector", "wave=none"]).run().code(1);
    assert!(audit.stderr().contains("no tenant fits"), "{}", audit.transcript());
}

#[test]
fn a_target_version_is_reached_and_not_passed() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration(TAGS.0, TAGS.1);
    fleet.migration(LINKS.0, LINKS.1);
    let status = fleet.status(&["--to", "2"]).run().ok();
    assert_eq!(target(&status, "cat")["pending"], serde_json::json!([2]));
    let up = fleet.up(&["--to", "V2"]).run().ok();
    assert_eq!(target(&up, "cat")["to"], 2);
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags"]);
    // A target below the version takes nothing back.
    assert_eq!(statuses(&fleet.up(&["--to", "1"]).run().ok()), ["cat up-to-date"]);

    let unknown = fleet.up(&["--to", "9"]).run().code(1);
    assert_eq!(unknown.json()["error"]["code"], "not-found");
    assert!(unknown.stderr().contains("the newest version is 3"), "{}", unknown.transcript());
    fleet.up(&["--to", "two"]).run().code(64);
    fleet.up(&[]).run().ok();
    assert_eq!(fleet.tables("tenant_cat"), ["links", "notes", "tags"]);
}

#[test]
fn a_target_that_only_one_set_has_is_no_divergence_of_the_others() {
    let fleet = mixed(World::new());
    fleet.migration(LINKS.0, LINKS.1);
    let up = fleet.up(&["--to", "3"]).run().code(3);
    assert_eq!(target(&up, "cat")["status"], "applied", "{}", up.transcript());
    let ant = target(&up, "ant");
    assert_eq!((&ant["status"], &ant["error"]["code"]), (&"failed".into(), &"not-found".into()));
}

#[test]
fn check_changes_nothing_and_exits_with_the_answer() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration(TAGS.0, TAGS.1);
    let check = fleet.up(&["--check"]).run().code(2);
    assert_eq!(statuses(&check), ["cat pending", "dog pending"]);
    assert_eq!(check.json()["run"], serde_json::Value::Null);
    assert_eq!(fleet.tables("tenant_cat"), ["notes"]);
    assert_eq!(fleet.history("tenant_dog"), ["1 notes"]);
    fleet.up(&[]).run().ok();
    fleet.up(&["--check"]).run().ok();
}

#[test]
fn a_second_up_has_nothing_to_do_and_only_reads() {
    let world = World::with(|options| {
        options.setting("log_statement", "all").setting("log_min_duration_statement", "-1")
    });
    let fleet = mixed(world);
    fleet.up(&[]).run().ok();
    let (log, xid) = (fleet.server().log().len(), next_transaction(&fleet));
    let again = fleet.up(&[]).run().ok();
    assert_eq!(summary(&again), [5, 0, 0, 0]);
    assert_eq!(next_transaction(&fleet), xid, "a transaction id was used");
    let log = fleet.server().log()[log..].to_owned();
    let ours: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("statement: ").or(line.split_once("execute ")))
        .map(|(_, statement)| statement)
        .filter(|statement| !statement.contains("pg_snapshot_xmax"))
        .collect();
    assert!(!ours.is_empty(), "the server logged nothing:\n{log}");
    for statement in ours {
        let words = statement.split_once("<unnamed>: ").map_or(statement, |(_, rest)| rest);
        assert!(
            ["SELECT", "ROLLBACK", "BEGIN", "START TRANSACTION", "COMMIT", "SET "]
                .iter()
                .any(|word| words.starts_with(word))
                && !words.contains("try_advisory_lock"),
            "{statement}"
        );
    }
}

/// The transaction id that the next writer gets; asking uses none up.
fn next_transaction(fleet: &Fleet) -> Vec<Vec<String>> {
    fleet.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())")
}

#[test]
fn a_tenant_whose_schema_is_gone_is_missing_and_the_others_go_on() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.create("elk", "database");
    fleet.create("fox", "database");
    fleet.migration(TAGS.0, TAGS.1);
    fleet.sql("DROP SCHEMA tenant_dog CASCADE");
    fleet.sql_in("postgres", "DROP DATABASE tenant_fox");
    let status = fleet.status(&[]).run().code(3);
    assert_eq!(statuses(&status), ["cat pending", "dog missing", "elk pending", "fox missing"]);
    let up = fleet.up(&[]).run().code(3);
    assert_eq!(statuses(&up), ["cat applied", "dog missing", "elk applied", "fox missing"]);
    assert_eq!(target(&up, "dog")["error"]["code"], "not-found");
}

#[test]
fn a_fleet_that_is_only_declared_is_migrated_without_a_registry() {
    let fleet = Fleet::with(World::new(), "[[tenants]]\nid = \"cat\"\nisolation = \"schema\"\n");
    fleet.sql(
        "CREATE ROLE tenant_cat_owner; GRANT tenant_cat_owner TO platform; \
         CREATE SCHEMA tenant_cat AUTHORIZATION tenant_cat_owner",
    );
    let up = fleet.up(&[]).run().ok();
    assert_eq!(statuses(&up), ["cat applied"]);
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    assert!(fleet.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'tenantctl'").is_empty());
}

#[test]
fn a_file_that_cannot_run_in_a_transaction_runs_outside() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    fleet.migration(
        "V2__index.sql",
        "-- tenantctl:no-transaction\nCREATE INDEX CONCURRENTLY notes_again ON notes (id);\n\
         CREATE TABLE made ();\n",
    );
    fleet.migration(
        "V3__after.sql",
        "CREATE TABLE after AS SELECT current_user::text AS who, current_setting('lock_timeout') AS lock;\n",
    );
    fleet.up(&["--lock-timeout", "7s"]).run().ok();
    for id in ["cat", "dog"] {
        let schema = format!("tenant_{id}");
        let owners = format!(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class \
             WHERE relnamespace = '{schema}'::regnamespace"
        );
        assert_eq!(fleet.rows(&owners), [[format!("{schema}_owner")]]);
        assert_eq!(fleet.tables(&schema), ["after", "made", "notes"]);
        assert_eq!(fleet.history(&schema), ["1 notes", "2 index", "3 after"]);
        let seen = fleet.rows(&format!("SELECT who, lock FROM {schema}.after"));
        assert_eq!(seen, [[format!("{schema}_owner"), "7s".to_owned()]]);
    }
}

#[test]
fn a_failure_outside_a_transaction_says_what_stays_and_can_be_run_again() {
    let fleet = Fleet::of_schemas(&["cat"]);
    let file = "-- tenantctl:no-transaction\n-- \u{e9}\nCREATE TABLE IF NOT EXISTS made ();\n\
                CREATE INDEX CONCURRENTLY IF NOT EXISTS late ON tags (id);\n";
    fleet.migration("V2__index.sql", &file.replace("CREATE INDEX", "SELECT nothing, CREATE INDEX"));
    let up = fleet.up(&[]).run().code(1);
    let error = &target(&up, "cat")["error"];
    assert_eq!((&error["line"], &error["column"]), (&4.into(), &17.into()), "{error}");

    fleet.migration("V2__index.sql", file);
    let up = fleet.up(&[]).run().code(1);
    let error = &target(&up, "cat")["error"];
    assert_eq!((&error["line"], &error["sqlstate"]), (&4.into(), &"42P01".into()), "{error}");
    assert!(error["hints"].to_string().contains("stays done: 1 statement of"), "{error}");
    assert_eq!(fleet.tables("tenant_cat"), ["made", "notes"]);
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    fleet.sql("CREATE TABLE tenant_cat.tags (id int); ALTER TABLE tenant_cat.tags OWNER TO tenant_cat_owner");
    fleet.up(&[]).run().ok();
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 index"]);
}
