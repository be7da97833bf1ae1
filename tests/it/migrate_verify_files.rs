//! `migrate verify --against-files`: what every tenant has alike, and no file made.

use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::harness::{Invocation, Outcome, catalog, on_every_version};

/// Files of every kind: in a transaction, outside of it, and repeatable.
const FILES: [(&str, &str); 4] = [
    (
        "V2__people.sql",
        "CREATE TYPE mood AS ENUM ('good', 'bad');
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
         CREATE TABLE people (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, feels mood,
                              name text NOT NULL, note bigint REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER touched BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();
         ALTER TABLE people ENABLE ROW LEVEL SECURITY;
         INSERT INTO people (name, note) VALUES ('a', 1);
         INSERT INTO notes VALUES (1);
         GRANT SELECT ON notes TO public;",
    ),
    (
        "V3__fast.sql",
        "-- tenantctl:no-transaction
         CREATE INDEX CONCURRENTLY people_name ON people (name);
         CREATE INDEX CONCURRENTLY ON people (feels, name);
         VACUUM people;
         CREATE INDEX CONCURRENTLY passing ON people (id, name);
         DROP INDEX CONCURRENTLY passing;
         REINDEX TABLE CONCURRENTLY people;
         ALTER TYPE mood ADD VALUE 'odd';",
    ),
    (
        "V4__names.sql",
        "INSERT INTO people (name, note) VALUES ('b', 2);
         INSERT INTO notes VALUES (2);
         DO $$ BEGIN
             IF to_regrole('app_' || current_schema()) IS NOT NULL THEN
                 EXECUTE format('CREATE POLICY own ON people TO %I USING (current_user = %L)',
                                'app_' || current_schema(), 'app_' || current_schema());
             END IF;
         END $$;",
    ),
    ("R__views.sql", "CREATE OR REPLACE VIEW bad AS SELECT id FROM people WHERE feels = 'bad';"),
];

fn fleet_of(fleet: Fleet, tenants: &[(&str, &str)]) -> Fleet {
    for (name, sql) in FILES {
        fleet.migration(name, sql);
    }
    for (id, model) in tenants {
        fleet.create(id, model);
    }
    // Repeatable files come with `up`.
    fleet.up(&[]).run().ok();
    fleet
}

fn three() -> Fleet {
    fleet_of(Fleet::new(), &["ant", "bee", "cat"].map(|id| (id, "schema")))
}

fn verify(fleet: &Fleet, args: &[&str]) -> Invocation {
    fleet.tenantctl(["migrate", "verify", "-o", "json", "--against-files"]).args(args)
}

/// Verifies, and sees to it that the server is as it was.
#[track_caller]
fn verified(fleet: &Fleet, code: i32) -> Outcome {
    let before = catalog(fleet);
    let outcome = verify(fleet, &[]).run().code(code);
    assert_eq!(before, catalog(fleet));
    outcome
}

/// `tenants: change kind object` of everything that deviates from the files.
#[track_caller]
fn from_files(outcome: &Outcome) -> Vec<String> {
    let answer = outcome.json();
    let mut said = Vec::new();
    for deviant in answer["deviants"].as_array().unwrap() {
        assert_eq!((&deviant["norm"], &deviant["against"]), (&json!("files"), &Value::Null));
        let schemas = deviant["schemas"].as_array().unwrap().iter();
        let tenants: Vec<&str> = schemas.map(|one| one["tenants"][0].as_str().unwrap()).collect();
        for one in deviant["differences"].as_array().unwrap() {
            let word = |key: &str| one[key].as_str().unwrap().to_owned();
            let (change, kind, object) = (word("change"), word("kind"), word("object"));
            said.push(format!("{}: {change} {kind} {object}", tenants.join(" ")));
        }
    }
    said.sort();
    said
}

fn alike(outcome: &Outcome) -> Vec<Value> {
    let answer = outcome.json();
    let groups = answer["groups"].as_array().unwrap();
    groups.iter().map(|group| group["files"]["alike"].clone()).collect()
}

#[test]
fn what_is_as_the_files_make_it_is_clean_on_every_version_and_nothing_is_left() {
    on_every_version(|world| {
        let models = [
            ("ant", "schema"),
            ("b2-b", "schema"),
            ("elk", "database"),
            ("gnu", "shared"),
            ("hen", "shared"),
        ];
        let fleet = Fleet::on(world);
        fleet.shared_migration(
            "V2__more.sql",
            "CREATE TABLE plain (id int PRIMARY KEY);
             CREATE VIEW actors AS SELECT current_setting('app.actor', true) AS actor;
             CREATE TABLE more (tenant_id uuid NOT NULL DEFAULT current_tenant_id(), id serial,
                                PRIMARY KEY (tenant_id, id));",
        );
        let fleet = fleet_of(fleet, &models);
        let clean = verified(&fleet, 0);
        assert_eq!(alike(&clean), [1, 2, 1], "{}", clean.transcript());
        // A table that got a policy of ours before its own, and a tenant that was closed once.
        fleet.shared_migration("V3__own.sql", "CREATE POLICY own ON more USING (true);");
        fleet.up(&[]).run().ok();
        fleet.run(["suspend", "hen"]).ok();
        let clean = verified(&fleet, 0);
        assert_eq!(alike(&clean), [1, 2, 1], "{}", clean.transcript());
        // The same change by hand in every tenant of a model.
        for schema in ["tenant_ant", "tenant_b2_b"] {
            fleet.sql(&format!("ALTER TABLE {schema}.people ADD COLUMN hot int"));
        }
        fleet.sql_in("tenant_elk", "DROP INDEX app.people_name");
        fleet.sql(
            "ALTER TABLE app.more NO FORCE ROW LEVEL SECURITY; ALTER TABLE app.plain ADD extra int",
        );
        let found = verified(&fleet, 2);
        assert_eq!(
            from_files(&found),
            [
                "ant b2-b: extra column people.hot",
                "elk: missing index people_name",
                "gnu: changed row security more",
                "gnu: extra column plain.extra",
            ],
            "{}",
            found.transcript()
        );
    });
}

#[test]
fn whoever_is_as_the_files_are_is_not_blamed_for_being_alone() {
    let fleet = three();
    let all = ["ant", "bee", "cat"];
    for id in all {
        fleet.sql(&format!(
            "ALTER TABLE tenant_{id}.people ALTER name DROP NOT NULL; \
             GRANT SELECT ON tenant_{id}.people TO public; DROP VIEW tenant_{id}.bad"
        ));
    }
    // Alone with itself, the fleet is well.
    fleet.run(["migrate", "verify"]).ok();
    let human = |width: &str| {
        let verify = fleet.tenantctl(["migrate", "verify", "--against-files"]);
        verify.env("COLUMNS", width).run().code(2)
    };
    human("80").snapshot("migrate_verify_files");
    let told =
        ["changed column people.name", "extra grant relation people to public", "missing view bad"];
    let of = |who: &str| told.map(|what| format!("{who}: {what}"));
    let found = verified(&fleet, 2);
    assert_eq!((from_files(&found), alike(&found)), (of("ant bee cat").to_vec(), vec![json!(0)]));
    fleet.sql(
        "ALTER TABLE tenant_bee.people ALTER name SET NOT NULL; \
         REVOKE SELECT ON tenant_bee.people FROM public",
    );
    fleet.sql(
        "SET ROLE tenant_bee_owner; SET search_path = tenant_bee; \
               CREATE VIEW bad AS SELECT id FROM people WHERE feels = 'bad'",
    );
    fleet.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_bee.bad TO app_tenant_bee");
    let found = verified(&fleet, 2);
    assert_eq!((from_files(&found), alike(&found)), (of("ant cat").to_vec(), vec![json!(1)]));
    // Only who is asked about is named.
    verify(&fleet, &["--tenant", "bee"]).run().ok();
    let cat = verify(&fleet, &["--tenant", "cat"]).run().code(2);
    assert_eq!(from_files(&cat), of("cat"));
    assert_eq!(alike(&cat), [1]);
}

/// The failure for which the files of the only group were not compared.
#[track_caller]
fn not_made(outcome: &Outcome) -> Value {
    let answer = outcome.json();
    assert_eq!(answer["summary"]["not_made"], 1, "{answer}");
    assert_eq!(answer["groups"][0]["files"]["made"], false, "{answer}");
    answer["groups"][0]["files"]["error"].clone()
}

#[test]
fn what_no_transaction_can_do_is_said() {
    let fleet = three();
    fleet.migration(
        "V5__batches.sql",
        "-- tenantctl:no-transaction
         CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
         CALL fill();",
    );
    fleet.up(&[]).run().ok();
    let error = not_made(&verified(&fleet, 3));
    assert_eq!((&error["sqlstate"], &error["line"]), (&json!("2D000"), &json!(3)), "{error}");
    let file = error["file"].as_str().unwrap();
    assert!(file.ends_with("migrations/tenant/V5__batches.sql"), "{error}");
    // Who deviates from the others is found for all that, and is the worse.
    fleet.sql("ALTER TABLE tenant_bee.people ADD COLUMN hot int");
    let found = verified(&fleet, 2);
    assert_eq!(not_made(&found)["code"], "server");
    assert_eq!(found.json()["summary"]["deviating"], 1);
}

#[test]
fn a_repeatable_file_that_is_not_applied_yet_is_said() {
    let fleet = three();
    fleet.migration("R__views.sql", "CREATE OR REPLACE VIEW bad AS SELECT id FROM people;");
    let error = not_made(&verified(&fleet, 3));
    assert_eq!(error["code"], "refused");
    assert!(error["message"].as_str().unwrap().contains("R__views.sql has changed"), "{error}");
    fleet.up(&[]).run().ok();
    verified(&fleet, 0);
}

#[test]
fn what_the_operator_may_not_make_is_said_with_what_would_help() {
    let fleet = three();
    let human = || {
        let verify = fleet.tenantctl(["migrate", "verify", "--against-files"]);
        verify.env("COLUMNS", "80").run()
    };
    fleet.sql("ALTER DATABASE app OWNER TO postgres; REVOKE CREATE ON DATABASE app FROM platform");
    let error = not_made(&verified(&fleet, 3));
    assert_eq!((&error["code"], &error["sqlstate"]), (&json!("permission"), &json!("42501")));
    human().code(3).snapshot("migrate_verify_files_refused");
    fleet.sql("GRANT CREATE ON DATABASE app TO platform; ALTER ROLE platform NOCREATEROLE");
    let hints = not_made(&verified(&fleet, 3))["hints"].clone();
    assert!(hints.to_string().contains("ALTER ROLE platform CREATEROLE"), "{hints}");
    // Without the flag nobody needs it.
    fleet.run(["migrate", "verify"]).ok();
    fleet.sql("ALTER ROLE platform CREATEROLE");
    verified(&fleet, 0);
}

#[test]
fn objects_outside_of_the_schema_are_no_differences_and_are_named() {
    let fleet = Fleet::of_schemas(&["ant", "bee"]);
    fleet.sql("CREATE SCHEMA common; GRANT ALL ON SCHEMA common TO public");
    fleet.migration(
        "V2__common.sql",
        "DROP TABLE IF EXISTS common.once; CREATE TABLE common.once (id int); \
         GRANT ALL ON common.once TO public; CREATE TABLE own (id int);",
    );
    fleet.up(&["--tenant", "ant"]).run().ok();
    fleet.sql("DROP TABLE common.once");
    fleet.up(&[]).run().ok();
    fleet.sql("DROP TABLE common.once");
    let found = verified(&fleet, 0).json();
    assert_eq!(found["groups"][0]["files"]["outside"], json!(["common.once"]), "{found}");
    verify(&fleet, &["--against", "ant"]).run().code(64);
}

#[test]
fn an_extension_of_a_tenants_own_database_is_made_for_nobody_as_well() {
    let fleet = Fleet::new();
    fleet.migration(
        "V2__words.sql",
        "CREATE EXTENSION IF NOT EXISTS citext;
         CREATE TABLE words (id int, word citext) PARTITION BY RANGE (id);
         CREATE INDEX words_word ON words (word);",
    );
    fleet.create("ant", "database");
    fleet.create("bee", "database");
    let partition = "CREATE TABLE app.words_1 PARTITION OF app.words FOR VALUES FROM (1) TO (9)";
    for database in ["tenant_ant", "tenant_bee"] {
        fleet.sql_in(
            database,
            &format!("{partition}; ALTER TABLE app.words_1 OWNER TO {database}_owner"),
        );
    }
    let clean = verified(&fleet, 0);
    assert_eq!(alike(&clean), [2], "{}", clean.transcript());
    for database in ["tenant_ant", "tenant_bee"] {
        fleet.sql_in(database, "ALTER TABLE app.words ALTER word TYPE text");
    }
    let found = verified(&fleet, 2);
    assert!(from_files(&found).contains(&"ant bee: changed column words.word".to_owned()));
}

#[test]
fn of_one_that_was_killed_nothing_is_left() {
    let fleet = Fleet::of_schemas(&["ant"]);
    fleet.migration("V2__slow.sql", "CREATE TABLE slow (id int); SELECT pg_sleep(100);");
    fleet.sql(
        "INSERT INTO tenant_ant.refinery_schema_history SELECT 2, 'slow', applied_on, '1' \
               FROM tenant_ant.refinery_schema_history",
    );
    let before = catalog(&fleet);
    let asleep = || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        fleet.rows(query) == [["1"]]
    };
    let mut running = verify(&fleet, &[]).spawn();
    running.wait_until("the file sleeps", asleep);
    running.kill();
    let killed = std::time::Instant::now();
    while asleep() {
        assert!(killed.elapsed().as_secs() < 20, "the server goes on for nobody");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(before, catalog(&fleet));
}
