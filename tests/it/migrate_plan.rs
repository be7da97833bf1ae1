//! `migrate plan`: what `up` would do, the file that keeps it, and whether its locks are the server's.

use serde_json::Value;
use tenantctl::plan::locks::impacts;
use tenantctl::plan::rollout::Rollout;

use crate::fleet::Fleet;
use crate::harness::{Invocation, World, on_every_version};

fn plan(fleet: &Fleet, args: &[&str]) -> Invocation {
    fleet.tenantctl(["migrate", "plan", "-o", "json"]).args(args)
}

/// Two tenants that share tables, three with a schema, one with a database; V2 and V3 are pending.
fn behind(world: World) -> Fleet {
    let fleet = Fleet::on(world);
    for (id, model) in [
        ("ant", "shared"),
        ("bee", "shared"),
        ("cat", "schema"),
        ("dog", "schema"),
        ("elk", "database"),
    ] {
        fleet.create(id, model);
    }
    fleet.migration(
        "V2__tags.sql",
        "-- Tags.\nCREATE TABLE tags (id bigint PRIMARY KEY, note bigint REFERENCES notes (id));\n\
         CREATE INDEX tags_note ON tags (note);\nALTER TABLE notes ADD COLUMN made uuid DEFAULT gen_random_uuid();\n",
    );
    fleet.migration(
        "V3__index.sql",
        "-- tenantctl:no-transaction\nCREATE INDEX CONCURRENTLY notes_made ON notes (made);\n",
    );
    fleet.create("fox", "schema");
    fleet
}

#[test]
fn equal_tenants_are_one_line_and_nothing_is_changed_on_every_version() {
    on_every_version(|world| {
        let fleet = behind(world);
        let answer = plan(&fleet, &[]).run().ok().json();
        let groups: Vec<String> = answer["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                format!(
                    "{} {} {} {} {}",
                    one["isolation"], one["from"], one["to"], one["pending"], one["tenants"]
                )
            })
            .collect();
        assert_eq!(
            groups,
            [
                "\"shared\" 1 1 [] 2",
                "\"schema\" 1 3 [2,3] 2",
                "\"schema\" 3 3 [] 1",
                "\"database\" 1 3 [2,3] 1"
            ]
        );
        let files = answer["files"].as_array().unwrap();
        assert_eq!(files.len(), 2, "{answer}");
        assert_eq!(files[0]["isolations"], serde_json::json!(["schema", "database"]));
        assert_eq!((&files[0]["schemas"], &files[0]["transaction"]), (&3.into(), &true.into()));
        assert_eq!(
            files[0]["hazards"],
            serde_json::json!(["blocks-reads", "blocks-writes", "rewrite"])
        );
        assert_eq!(files[1]["hazards"], serde_json::json!(["full-scan", "outside-transaction"]));
        let index = &files[0]["statements"][1];
        assert_eq!((&index["line"], &index["locks"]), (&3.into(), &serde_json::json!([])));
        assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    });
}

#[test]
fn people_read_who_goes_where_and_what_that_means() {
    let fleet = behind(World::new());
    // The fingerprint holds the tenants' uuids.
    let human = |name: &str, code: i32, args: &[&str]| {
        let plan = fleet.tenantctl(["migrate", "plan"]).args(args).env("COLUMNS", "80");
        let said = plan.run().code(code).transcript();
        let at = said.rfind("\nplan ").unwrap() + "\nplan ".len();
        fleet.snapshot(name, &format!("{}[FINGERPRINT]{}", &said[..at], &said[at + 12..]));
    };
    human("migrate_plan", 0, &["-O", "kept.json"]);
    human("migrate_plan_nothing", 0, &["--tenant", "fox"]);
    fleet.sql("DROP SCHEMA tenant_dog CASCADE");
    human("migrate_plan_missing", 3, &["--to", "2", "--selector", "isolation=schema"]);
}

#[test]
fn the_file_is_the_same_every_time_and_says_what_it_was_made_for() {
    let fleet = behind(World::new());
    let written = |file: &str, args: &[&str]| {
        plan(&fleet, &["-O", file]).args(args).run().ok();
        std::fs::read_to_string(fleet.path(file)).unwrap()
    };
    let first = written("a.json", &["--selector", "isolation=schema,id!=fox", "--to", "2"]);
    let again = written("b.json", &["--selector", "isolation=schema,id!=fox", "--to", "2"]);
    assert_eq!(first, again);
    let document: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(document["format"], 1);
    assert_eq!(
        document["asked"],
        serde_json::json!({
            "tenants": [], "exclude": [], "selector": "isolation=schema,id!=fox", "to": 2
        })
    );
    let cat = &document["targets"][0];
    assert_eq!(
        (&cat["tenant"], &cat["from"], &cat["pending"]),
        (&"cat".into(), &1.into(), &serde_json::json!([2]))
    );
    assert_eq!(
        (&cat["cluster"], &cat["database"], &cat["schema"]),
        (&"main".into(), &"app".into(), &"tenant_cat".into())
    );
    assert_eq!(document["sets"][0]["files"].as_array().unwrap().len(), 1);
    assert!(Rollout::read(&first).is_ok());
    let lost = plan(&fleet, &["-O", "no/such/directory"]).run().code(1);
    assert_eq!(lost.json()["error"]["code"], "io");
}

#[test]
fn whatever_moves_makes_another_plan() {
    let fleet = behind(World::new());
    let now = || {
        plan(&fleet, &["-O", "plan.json", "--exclude", "fox"]).run().ok();
        Rollout::read(&std::fs::read_to_string(fleet.path("plan.json")).unwrap()).unwrap()
    };
    let moved = |planned: &Rollout| tenantctl::plan::rollout::moved(planned, &now());
    let planned = now();
    assert!(moved(&planned).is_empty());
    fleet.up(&["--tenant", "cat", "--to", "2"]).run().ok();
    assert_eq!(moved(&planned), ["tenant cat was at V1, and is at V2"]);
    let planned = now();
    fleet.migration("V3__index.sql", "SELECT 1;\n");
    let edited = moved(&planned);
    assert_eq!(
        edited,
        ["V3__index of model schema was edited", "V3__index of model database was edited"]
    );
    fleet.migration(
        "V3__index.sql",
        "-- tenantctl:no-transaction\nCREATE INDEX CONCURRENTLY notes_made ON notes (made);\n",
    );
    assert!(moved(&planned).is_empty());
    fleet.create("gnu", "schema");
    assert_eq!(moved(&planned), ["tenant gnu is selected, and was not planned"]);
}

#[test]
fn a_version_that_no_set_has_is_a_mistake() {
    let fleet = Fleet::of_schemas(&["cat"]);
    let unknown = plan(&fleet, &["--to", "9"]).run().code(1);
    assert_eq!(unknown.json()["error"]["code"], "not-found");
}

/// Runs statements, and asks the server in which mode it locked the table `t` for each.
#[test]
fn the_server_locks_as_it_was_said_on_every_version() {
    const BEFORE: &str = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE n (id int PRIMARY KEY);
        CREATE TABLE t (id int PRIMARY KEY, a int, b text, CONSTRAINT c CHECK (a > 0) NOT VALID);
        CREATE INDEX i ON t (a); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f(); CREATE POLICY y ON t;
        CREATE UNIQUE INDEX u ON t (b);";
    on_every_version(|world| {
        let mut session = world.session("app", "postgres");
        session.sql(BEFORE);
        for statement in [
            "CREATE INDEX ON t (b)",
            "CREATE TABLE x (id int REFERENCES t (id))",
            "CREATE TRIGGER h AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "DROP TRIGGER g ON t",
            "CREATE POLICY z ON t USING (true)",
            "ALTER POLICY y ON t USING (true)",
            "DROP POLICY y ON t",
            "CREATE RULE r AS ON DELETE TO t DO ALSO NOTHING",
            "CREATE STATISTICS s ON a, b FROM t",
            "ANALYZE t",
            "COMMENT ON TABLE t IS 'x'",
            "COMMENT ON COLUMN t.a IS 'x'",
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t WHERE a = 1",
            "TRUNCATE t",
            "DROP TABLE t",
            "LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE",
            "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
            "ALTER TABLE t ADD COLUMN d int DEFAULT 1",
            "ALTER TABLE t DROP COLUMN a",
            "ALTER TABLE t ALTER a TYPE bigint",
            "ALTER TABLE t ALTER a SET DEFAULT 3",
            "ALTER TABLE t ALTER a SET NOT NULL",
            "ALTER TABLE t ALTER a SET STATISTICS 100",
            "ALTER TABLE t ALTER a SET (n_distinct = 5)",
            "ALTER TABLE t ALTER b SET STORAGE EXTERNAL",
            "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES p (id)",
            "ALTER TABLE p ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES t (id)",
            "ALTER TABLE t ADD CONSTRAINT k CHECK (a < 9) NOT VALID",
            "ALTER TABLE t ADD CONSTRAINT k UNIQUE USING INDEX u",
            "ALTER TABLE t VALIDATE CONSTRAINT c",
            "ALTER TABLE t DROP CONSTRAINT c",
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE t DISABLE TRIGGER g",
            "ALTER TABLE t SET (fillfactor = 70)",
            "ALTER TABLE t CLUSTER ON i",
            "ALTER TABLE t SET UNLOGGED",
            "ALTER TABLE t REPLICA IDENTITY FULL",
            "ALTER TABLE t RENAME TO v",
            "ALTER TABLE t RENAME COLUMN a TO d",
            "ALTER TABLE t OWNER TO platform",
            "ALTER TRIGGER g ON t RENAME TO h",
        ] {
            let said: Vec<String> = impacts(statement)
                .iter()
                .flat_map(|one| &one.locks)
                .filter(|lock| lock.object == "t")
                .map(|lock| lock.mode.word().replace(' ', ""))
                .collect();
            let oid = session.rows("SELECT 't'::regclass::oid")[0][0].clone();
            session.sql(&format!("BEGIN; {statement}"));
            let order = "ARRAY['RowShareLock','RowExclusiveLock','ShareUpdateExclusiveLock','ShareLock','ShareRowExclusiveLock','ExclusiveLock','AccessExclusiveLock']";
            let held = session.rows(&format!(
                "SELECT upper(replace(mode, 'Lock', '')) FROM pg_locks WHERE pid = pg_backend_pid() \
                 AND relation = {oid} AND mode = ANY ({order}) ORDER BY array_position({order}, mode) DESC LIMIT 1"
            ));
            session.sql("ROLLBACK");
            assert_eq!(said, held.concat(), "{statement}");
        }
    });
}
