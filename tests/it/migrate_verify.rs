//! `migrate verify`: schemas that are not what their history claims are named, with what differs.

use serde_json::Value;

use crate::fleet::Fleet;
use crate::harness::{Invocation, Outcome, World, on_every_version};

/// A little of everything that a schema can hold.
const EVERYTHING: &str = "
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 10);
CREATE SEQUENCE numbers;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.changed := now();
    RETURN NEW;
END $$;
CREATE TABLE people (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL DEFAULT '' CHECK (name <> 'x'),
    feels mood NOT NULL DEFAULT 'good',
    number int DEFAULT nextval('numbers'),
    shout text GENERATED ALWAYS AS (upper(name)) STORED,
    changed timestamptz
);
CREATE TABLE letters (id bigint PRIMARY KEY, to_whom bigint REFERENCES people (id), text short);
CREATE INDEX letters_to ON letters (to_whom);
CREATE INDEX people_loud ON people (lower(name)) WHERE feels = 'bad';
CREATE VIEW sad AS SELECT id, name FROM people WHERE feels = 'bad';
CREATE TRIGGER touched BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON letters USING (to_whom IN (SELECT id FROM people));
CREATE STATISTICS people_stats ON name, feels FROM people;
";

fn verify(fleet: &Fleet, args: &[&str]) -> Invocation {
    fleet.tenantctl(["migrate", "verify", "-o", "json"]).args(args)
}

/// `change kind object` of everything in which the tenant deviates.
#[track_caller]
fn differences(outcome: &Outcome, tenant: &str) -> Vec<String> {
    let answer = outcome.json();
    let deviants = answer["deviants"].as_array().unwrap();
    let has =
        |one: &&Value| one["schemas"].as_array().unwrap().iter().any(|s| s["tenants"][0] == tenant);
    let Some(deviant) = deviants.iter().find(has) else { return Vec::new() };
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let differences = deviant["differences"].as_array().unwrap();
    differences
        .iter()
        .map(|one| format!("{} {} {}", word(one, "change"), word(one, "kind"), word(one, "object")))
        .collect()
}

fn three(world: World) -> Fleet {
    let fleet = Fleet::on(world);
    fleet.migration("V2__everything.sql", EVERYTHING);
    fleet.having(&["ant", "bee", "cat"])
}

#[test]
fn an_undisturbed_fleet_of_all_models_is_clean_on_every_version() {
    on_every_version(|world| {
        let fleet = Fleet::on(world);
        fleet.migration("V2__everything.sql", EVERYTHING);
        for (id, model) in [
            ("ant", "schema"),
            ("bee", "schema"),
            ("elk", "database"),
            ("fox", "database"),
            ("gnu", "shared"),
            ("hen", "shared"),
        ] {
            fleet.create(id, model);
        }
        let clean = verify(&fleet, &[]).run().ok().json();
        assert_eq!(
            clean["summary"],
            serde_json::json!({"schemas": 5, "compared": 5, "deviating": 0, "faults": 0, "unread": 0, "half_made": 0, "not_made": 0})
        );
        let alike: Vec<&Value> =
            clean["groups"].as_array().unwrap().iter().map(|g| &g["alike"]).collect();
        assert_eq!(alike, [1, 2, 2]);
        assert!(clean["flaws"].as_array().unwrap().is_empty());
        // One is as it was made, the other was migrated: the same for all that.
        fleet.migration("V3__more.sql", "ALTER TABLE people ADD COLUMN more int;");
        fleet.up(&["--exclude", "gnu", "--exclude", "hen"]).run().ok();
        fleet.create("cow", "schema");
        fleet.create("dog", "database");
        let clean = verify(&fleet, &[]).run().ok().json();
        assert_eq!(clean["summary"]["deviating"], 0);
        broken_by_hand(&fleet);
    });
}

/// Breaks one tenant in many ways; each is named, and nothing else.
fn broken_by_hand(fleet: &Fleet) {
    let ways = [
        (
            "ALTER TABLE people DROP COLUMN more",
            "ALTER TABLE people ADD COLUMN more int",
            "missing column people.more",
        ),
        (
            "ALTER TABLE people ALTER number SET DEFAULT 1",
            "ALTER TABLE people ALTER number SET DEFAULT nextval('numbers')",
            "changed column people.number",
        ),
        (
            "ALTER TABLE people ALTER name DROP NOT NULL",
            "ALTER TABLE people ALTER name SET NOT NULL",
            "changed column people.name",
        ),
        (
            "ALTER TABLE people ADD extra int",
            "ALTER TABLE people DROP extra",
            "extra column people.extra",
        ),
        (
            "ALTER SEQUENCE numbers INCREMENT 2",
            "ALTER SEQUENCE numbers INCREMENT 1",
            "changed sequence numbers",
        ),
        (
            "DROP INDEX letters_to",
            "CREATE INDEX letters_to ON letters (to_whom)",
            "missing index letters_to",
        ),
        ("CREATE TABLE left_over (id int)", "DROP TABLE left_over", "extra table left_over"),
        (
            "ALTER TABLE people DROP CONSTRAINT people_name_check",
            "ALTER TABLE people ADD CONSTRAINT people_name_check CHECK (name <> 'x')",
            "missing constraint people.people_name_check",
        ),
        (
            "ALTER TABLE letters ALTER CONSTRAINT letters_to_whom_fkey DEFERRABLE",
            "ALTER TABLE letters ALTER CONSTRAINT letters_to_whom_fkey NOT DEFERRABLE",
            "changed constraint letters.letters_to_whom_fkey",
        ),
        (
            "ALTER TABLE people DISABLE TRIGGER touched",
            "ALTER TABLE people ENABLE TRIGGER touched",
            "changed trigger people.touched",
        ),
        (
            "ALTER TABLE letters DISABLE TRIGGER ALL",
            "ALTER TABLE letters ENABLE TRIGGER ALL",
            "extra disabled foreign key letters.letters_to_whom_fkey",
        ),
        (
            "ALTER POLICY mine ON letters USING (true)",
            "ALTER POLICY mine ON letters USING (to_whom IN (SELECT id FROM people))",
            "changed policy letters.mine",
        ),
        (
            "ALTER POLICY mine ON letters TO app_tenant_ant",
            "ALTER POLICY mine ON letters TO public",
            "missing policy role letters.mine to public|extra policy role letters.mine to {role}",
        ),
        (
            "ALTER TABLE letters NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE letters ENABLE ROW LEVEL SECURITY",
            "changed row security letters",
        ),
        (
            "GRANT SELECT ON people TO public",
            "REVOKE SELECT ON people FROM public",
            "extra grant relation people to public",
        ),
        (
            "GRANT SELECT (name) ON people TO platform",
            "REVOKE SELECT (name) ON people FROM platform",
            "extra grant column people.name to platform",
        ),
        (
            "REVOKE UPDATE ON people FROM app_tenant_ant",
            "GRANT UPDATE ON people TO app_tenant_ant",
            "changed grant relation people to {role}",
        ),
        (
            "GRANT CREATE ON SCHEMA tenant_ant TO app_tenant_ant",
            "REVOKE CREATE ON SCHEMA tenant_ant FROM app_tenant_ant",
            "changed grant schema {schema} to {role}",
        ),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE tenant_ant_owner IN SCHEMA tenant_ant GRANT SELECT ON TABLES TO public",
            "ALTER DEFAULT PRIVILEGES FOR ROLE tenant_ant_owner IN SCHEMA tenant_ant REVOKE SELECT ON TABLES FROM public",
            "extra default privileges for the schema's owner on tables to public",
        ),
        (
            "ALTER TABLE letters OWNER TO postgres",
            "ALTER TABLE letters OWNER TO tenant_ant_owner",
            "changed owner relation letters",
        ),
        (
            "ALTER FUNCTION touch() SECURITY DEFINER",
            "ALTER FUNCTION touch() SECURITY INVOKER",
            "changed function touch()",
        ),
        (
            "ALTER FUNCTION touch() RESET search_path",
            "ALTER FUNCTION touch() SET search_path = pg_catalog",
            "changed function touch()",
        ),
        (
            "UPDATE pg_proc SET prosrc = replace(prosrc, 'now()', 'clock_timestamp()') WHERE oid = 'touch()'::regprocedure",
            "UPDATE pg_proc SET prosrc = replace(prosrc, 'clock_timestamp()', 'now()') WHERE oid = 'touch()'::regprocedure",
            "changed function body touch()",
        ),
        (
            "CREATE OR REPLACE VIEW sad AS SELECT id, name FROM people WHERE feels = 'good'",
            "CREATE OR REPLACE VIEW sad AS SELECT id, name FROM people WHERE feels = 'bad'",
            "changed view sad",
        ),
        (
            "DROP STATISTICS people_stats",
            "CREATE STATISTICS people_stats ON name, feels FROM people",
            "missing statistics people_stats",
        ),
        (
            "DELETE FROM refinery_schema_history WHERE version = 2",
            "INSERT INTO refinery_schema_history SELECT * FROM tenant_cow.refinery_schema_history WHERE version = 2",
            "missing history V2__everything",
        ),
        (
            "ALTER DOMAIN short SET NOT NULL",
            "ALTER DOMAIN short DROP NOT NULL",
            "changed type short",
        ),
    ];
    let mut hand = fleet.session("app", "postgres");
    hand.sql("SET search_path = tenant_ant");
    let mut expected: Vec<&str> = ways
        .iter()
        .flat_map(|(broken, _, expected)| {
            hand.sql(broken);
            expected.split('|')
        })
        .collect();
    expected.sort_unstable();
    expected.dedup();
    let found = verify(fleet, &[]).run().code(2);
    let mut named = differences(&found, "ant");
    named.sort_unstable();
    assert_eq!(named, expected, "{}", found.transcript());
    assert_eq!(found.json()["summary"]["deviating"], 1);
    for (_, mended, _) in ways {
        hand.sql(mended);
    }
    verify(fleet, &[]).run().ok();
    // What cannot be taken back.
    hand.sql("ALTER TYPE mood ADD VALUE 'odd'");
    assert_eq!(differences(&verify(fleet, &[]).run().code(2), "ant"), ["changed type mood"]);
}

#[test]
fn a_deviant_is_compared_with_the_fleet_whoever_is_selected() {
    let fleet = three(World::new());
    fleet.sql("ALTER TABLE tenant_bee.people ALTER name SET DEFAULT 'none'");
    let bee = verify(&fleet, &["--tenant", "bee"]).run().code(2);
    assert_eq!(differences(&bee, "bee"), ["changed column people.name"]);
    verify(&fleet, &["--exclude", "bee"]).run().ok();
    // The one that is named is right: the other two are not.
    let against = verify(&fleet, &["--against", "bee"]).run().code(2);
    assert_eq!(against.json()["summary"]["deviating"], 2);
    assert_eq!(differences(&against, "ant"), ["changed column people.name"]);
    let unknown = verify(&fleet, &["--against", "bea"]).run().code(1);
    assert!(unknown.stderr().contains("did you mean bee"), "{}", unknown.transcript());
}

#[test]
fn versions_are_compared_among_themselves() {
    let fleet = three(World::new());
    fleet.migration("V3__more.sql", "ALTER TABLE people ADD COLUMN more int;");
    fleet.up(&["--tenant", "cat"]).run().ok();
    let clean = verify(&fleet, &[]).run().ok().json();
    let versions: Vec<&Value> =
        clean["groups"].as_array().unwrap().iter().map(|group| &group["version"]).collect();
    assert_eq!(versions, [2, 3]);
}

#[test]
fn a_tenant_that_claims_a_version_it_never_reached_is_found() {
    let fleet = three(World::new());
    fleet.migration("V3__more.sql", "ALTER TABLE people ADD COLUMN more int;");
    fleet.up(&[]).run().ok();
    fleet.sql("ALTER TABLE tenant_cat.people DROP COLUMN more");
    fleet.status(&["--check"]).run().ok();
    let found = verify(&fleet, &[]).run().code(2);
    assert_eq!(differences(&found, "cat"), ["missing column people.more"]);
}

#[test]
fn what_is_there_and_does_not_work_is_named_in_every_tenant() {
    let fleet = three(World::new());
    for id in ["ant", "bee", "cat"] {
        let mut hand = fleet.session("app", "postgres");
        hand.sql(&format!("INSERT INTO tenant_{id}.people (name) VALUES ('a'), ('a')"));
        hand.attempt(&format!(
            "CREATE UNIQUE INDEX CONCURRENTLY once ON tenant_{id}.people (name)"
        ))
        .unwrap_err();
        hand.sql(&format!(
            "ALTER TABLE tenant_{id}.people ADD CONSTRAINT later CHECK (name <> 'y') NOT VALID"
        ));
    }
    fleet.sql("DELETE FROM tenant_cat.refinery_schema_history");
    let found = verify(&fleet, &[]).run().code(2).json();
    assert_eq!(found["summary"]["deviating"], 0, "{found}");
    let flaws = found["flaws"].as_array().unwrap();
    let said: Vec<String> = flaws
        .iter()
        .map(|one| {
            format!("{} {} {}", one["flaw"], one["fault"], one["schemas"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(
        said,
        ["\"invalid-index\" true 3", "\"not-validated\" false 3", "\"no-history\" true 1"]
    );
}

#[test]
fn people_read_who_deviates_and_how() {
    let fleet = three(World::new());
    fleet.sql(
        "ALTER TABLE tenant_bee.people DROP COLUMN shout; DROP INDEX tenant_bee.letters_to; \
         CREATE TABLE tenant_bee.left_over (id int); ALTER TABLE tenant_bee.people ALTER number DROP DEFAULT",
    );
    fleet.sql("ALTER FUNCTION tenant_bee.touch() SECURITY DEFINER");
    fleet.sql(
        "CREATE OR REPLACE FUNCTION tenant_bee.touch() RETURNS trigger LANGUAGE plpgsql AS \
         $$\nBEGIN\n    RETURN NULL;\nEND $$",
    );
    let human = |args: &[&str]| {
        fleet.tenantctl(["migrate", "verify"]).args(args).env("COLUMNS", "80").run()
    };
    human(&[]).code(2).snapshot("migrate_verify");
    human(&["--tenant", "cat"]).ok().snapshot("migrate_verify_clean");
    fleet.sql("DROP SCHEMA tenant_cat CASCADE");
    human(&["--exclude", "bee"]).code(3).snapshot("migrate_verify_missing");
}

#[test]
fn a_locked_table_is_its_tenants_failure_and_nobody_is_waited_for() {
    let fleet = three(World::new());
    let mut hand = fleet.session("app", "postgres");
    hand.sql("BEGIN; LOCK TABLE tenant_bee.people IN ACCESS EXCLUSIVE MODE");
    let found = verify(&fleet, &[]).run().code(3);
    let unread = &found.json()["unread"];
    assert_eq!(unread.as_array().unwrap().len(), 1, "{}", found.transcript());
    assert_eq!(unread[0]["schema"]["tenants"], serde_json::json!(["bee"]));
    assert_eq!(unread[0]["error"]["code"], "lock-busy");
    hand.sql("ROLLBACK");
    verify(&fleet, &[]).run().ok();
}

#[test]
fn more_schemas_than_the_servers_lock_table_holds_are_read_in_parts() {
    let world = World::with(|options| {
        options.setting("max_locks_per_transaction", "10").setting("max_connections", "12")
    });
    let list: String =
        (0..60).map(|n| format!("[[tenants]]\nid = \"t{n}\"\nisolation = \"schema\"\n")).collect();
    let fleet = Fleet::with(world, &list);
    let mut hand = fleet.session("app", "postgres");
    hand.sql("CREATE ROLE tenant_owner");
    for n in 0..60 {
        hand.sql(&format!("CREATE SCHEMA tenant_t{n}; SET search_path = tenant_t{n};"));
        let tables: String = (0..12).map(|t| format!("CREATE TABLE a{t} (id int);")).collect();
        let from: Vec<String> = (0..12).map(|t| format!("a{t}")).collect();
        hand.sql(&format!("{tables} CREATE VIEW v AS SELECT 1 AS one FROM {}", from.join(", ")));
    }
    let found = verify(&fleet, &[]).run().code(2).json();
    assert_eq!(found["summary"]["schemas"], 60, "{found}");
    assert_eq!(
        (&found["summary"]["unread"], &found["summary"]["deviating"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn names_of_a_tenants_own_make_no_difference() {
    let fleet = Fleet::new();
    fleet.migration(
        "V2__names.sql",
        "CREATE TABLE a (id int); CREATE VIEW b AS SELECT a.id FROM a;
         DO $$ BEGIN
             EXECUTE format('CREATE FUNCTION f() RETURNS name LANGUAGE sql SET search_path = %I, pg_temp AS %L',
                            current_schema(), format('SELECT %L::name', current_schema()));
             EXECUTE format('CREATE POLICY p ON a TO %I USING (current_user = %L)',
                            'app_' || current_schema(), 'app_' || current_schema());
         END $$;",
    );
    for id in ["ant", "a", "b2-b"] {
        fleet.create(id, "schema");
    }
    let clean = verify(&fleet, &[]).run().ok().json();
    assert_eq!(clean["groups"][0]["alike"], 3, "{clean}");
}
