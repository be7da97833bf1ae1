//! Migrations outside of a transaction: each statement once, whoever fails, waits or is killed.

use crate::fleet::{Fleet, statuses, target};
use crate::harness::{Proxy, Session, World, on_every_version};

/// A fleet on a world, whose tenant `cat` has rows in `notes`.
fn with_rows(world: World) -> Fleet {
    let fleet = Fleet::on(world).having(&["cat"]);
    fleet.sql(
        "ALTER TABLE tenant_cat.notes ADD body text; \
         INSERT INTO tenant_cat.notes SELECT n, 'note ' || n FROM generate_series(1, 100) n",
    );
    fleet
}

/// A second migration that runs outside of a transaction.
fn outside(fleet: &Fleet, statements: &str) {
    fleet.migration("V2__outside.sql", &format!("-- tenantctl:no-transaction\n{statements}"));
}

/// `name valid` of every index of a schema, but for primary keys.
fn indexes(fleet: &Fleet, schema: &str) -> Vec<String> {
    fleet
        .rows(&format!(
            "SELECT i.relname || ' ' || x.indisvalid FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid \
             WHERE i.relnamespace = '{schema}'::regnamespace AND NOT x.indisprimary ORDER BY 1"
        ))
        .concat()
}

/// Whether tenantctl's notes about a half-done file are in the schema.
fn has_notes(fleet: &Fleet, schema: &str) -> bool {
    fleet.rows(&format!("SELECT to_regclass('{schema}.tenantctl_progress') IS NOT NULL")) == [["t"]]
}

/// A session with a snapshot, for which CREATE INDEX CONCURRENTLY has to wait.
fn reader(fleet: &Fleet) -> Session {
    let mut session = fleet.session("app", "platform");
    session.sql(
        "SET application_name = 'a slow report'; BEGIN ISOLATION LEVEL REPEATABLE READ; \
         SELECT count(*) FROM pg_class",
    );
    session
}

const INDEX: &str = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS notes_body ON notes (body);\n";

#[test]
fn an_index_that_fails_leaves_nothing_half_built() {
    on_every_version(|world| {
        let fleet = with_rows(world);
        fleet.sql("UPDATE tenant_cat.notes SET body = 'twice' WHERE id < 3");
        outside(&fleet, INDEX);
        let up = fleet.up(&[]).run().code(1);
        let error = &target(&up, "cat")["error"];
        assert_eq!((&error["sqlstate"], &error["line"]), (&"23505".into(), &2.into()), "{error}");
        let said = "tenant_cat.notes_body was left INVALID and is dropped";
        assert!(error["hints"].to_string().contains(said), "{error}");
        assert!(indexes(&fleet, "tenant_cat").is_empty());

        fleet.sql("UPDATE tenant_cat.notes SET body = id::text");
        fleet.up(&[]).run().ok();
        assert_eq!(indexes(&fleet, "tenant_cat"), ["notes_body true"]);
        assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 outside"]);
        assert!(!has_notes(&fleet, "tenant_cat"));
    });
}

#[test]
fn an_index_that_was_left_half_built_is_built_again() {
    on_every_version(|world| {
        let fleet = with_rows(world);
        fleet.sql("UPDATE tenant_cat.notes SET body = 'twice' WHERE id < 3");
        let failed = fleet
            .session("app", "postgres")
            .attempt("CREATE UNIQUE INDEX CONCURRENTLY notes_body ON tenant_cat.notes (body)");
        assert_eq!(failed.unwrap_err().sqlstate, "23505");
        assert_eq!(indexes(&fleet, "tenant_cat"), ["notes_body false"]);
        fleet.sql("UPDATE tenant_cat.notes SET body = id::text");
        outside(&fleet, INDEX);
        fleet.up(&[]).run().ok();
        assert_eq!(indexes(&fleet, "tenant_cat"), ["notes_body true"]);
    });
}

#[test]
fn an_index_that_is_there_is_not_built_again_unless_it_differs() {
    let fleet = with_rows(World::new());
    fleet.sql(
        "CREATE INDEX notes_body ON tenant_cat.notes (lower(body) text_pattern_ops) WHERE id > 7",
    );
    outside(&fleet, "CREATE INDEX CONCURRENTLY notes_body ON notes (lower(body)) WHERE id > 7;\n");
    let up = fleet.up(&[]).run().code(1);
    assert_eq!(target(&up, "cat")["error"]["sqlstate"], "42P07", "{}", up.transcript());
    outside(
        &fleet,
        "CREATE INDEX CONCURRENTLY notes_body ON ONLY notes  (lower(body) text_pattern_ops)\nWHERE id > 7;\n",
    );
    let _waited_for = reader(&fleet);
    fleet.up(&["--lock-timeout", "100ms"]).run().ok();
    assert_eq!(indexes(&fleet, "tenant_cat"), ["notes_body true"]);
}

#[test]
fn on_an_empty_table_nobody_is_waited_for() {
    on_every_version(|world| {
        let fleet = Fleet::on(world).having(&["cat"]);
        let _waited_for = reader(&fleet);
        outside(
            &fleet,
            "CREATE INDEX CONCURRENTLY ON notes (id);\nCREATE INDEX CONCURRENTLY b ON notes (id, (lower(none)));\n",
        );
        let up = fleet.up(&["--lock-timeout", "100ms"]).run().code(1);
        let error = &target(&up, "cat")["error"];
        assert_eq!(
            (&error["line"], &error["column"], &error["sqlstate"]),
            (&3.into(), &50.into(), &"42703".into()),
            "{error}"
        );
        outside(
            &fleet,
            "CREATE INDEX CONCURRENTLY ON notes (id);\nCREATE INDEX CONCURRENTLY b ON notes (id);\n",
        );
        fleet.up(&["--lock-timeout", "100ms"]).run().ok();
        assert_eq!(indexes(&fleet, "tenant_cat"), ["b true", "notes_id_idx true"]);
    });
}

#[test]
fn whoever_keeps_an_index_waiting_is_named() {
    on_every_version(|world| {
        let fleet = with_rows(world);
        let mut reader = reader(&fleet);
        let pid = reader.rows("SELECT pg_backend_pid()").concat().concat();
        outside(&fleet, INDEX);
        let up = fleet.up(&["--lock-timeout", "100ms"]).run().code(5);
        let error = &target(&up, "cat")["error"];
        assert_eq!((&error["code"], &error["sqlstate"]), (&"lock-busy".into(), &"55P03".into()));
        let hints = error["hints"].to_string();
        let named = format!(
            "it waited for pid {pid} (a slow report as platform in app, idle in transaction"
        );
        assert!(hints.contains(&named), "{hints}");
        assert!(hints.contains("SELECT pg_backend_pid()"), "{hints}");
        assert!(indexes(&fleet, "tenant_cat").is_empty(), "{hints}");

        let running = fleet.up(&["-v"]).spawn();
        let told = format!("waits for pid {pid} (a slow report");
        while !running.stderr_so_far().contains(&told) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        reader.sql("COMMIT");
        running.wait().ok();
        assert_eq!(indexes(&fleet, "tenant_cat"), ["notes_body true"]);
    });
}

#[test]
fn a_killed_run_is_continued_with_the_statement_that_was_not_done() {
    on_every_version(|world| {
        let fleet = with_rows(world);
        let mut reader = reader(&fleet);
        outside(
            &fleet,
            &format!("INSERT INTO notes VALUES (1000);\n{INDEX}INSERT INTO notes VALUES (1001);\n"),
        );
        let building = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%INDEX CONCURRENTLY%' \
                        AND wait_event_type = 'Lock'";
        let mut running = fleet.up(&[]).spawn();
        running.wait_until("the index", || !fleet.rows(building).is_empty());
        running.kill();
        running.wait().signal(9);
        // What the server was asked to do it goes on with, until somebody stops it.
        fleet.rows(&format!("SELECT pg_terminate_backend(pid) FROM ({building}) b"));
        reader.sql("COMMIT");
        running_ends(&fleet);
        assert_eq!(indexes(&fleet, "tenant_cat"), ["notes_body false"]);
        assert!(has_notes(&fleet, "tenant_cat"));
        let status = fleet.status(&[]).run().ok();
        assert_eq!(statuses(&status), ["cat pending"]);

        fleet.up(&[]).run().ok();
        assert_eq!(indexes(&fleet, "tenant_cat"), ["notes_body true"]);
        assert_eq!(fleet.rows("SELECT count(*) FROM tenant_cat.notes WHERE id >= 1000"), [["2"]]);
        assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 outside"]);
        assert!(!has_notes(&fleet, "tenant_cat"));
    });
}

/// Waits until no session but the test's own is left.
fn running_ends(fleet: &Fleet) {
    let others = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'tenantctl%'";
    while !fleet.rows(others).is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_goes_on_with_the_statement_that_failed() {
    on_every_version(|world| {
        let fleet = Fleet::on(world).having(&["cat"]);
        let file = "CREATE TYPE mood AS ENUM ('good');\nALTER TYPE mood ADD VALUE 'bad';\n\
                    SET app.kept = 'yes';\nINSERT INTO notes VALUES (1);\n\
                    INSERT INTO notes\n  SELECT length(current_setting('app.kept')) / 0;\n\
                    VACUUM notes;\n";
        outside(&fleet, file);
        let up = fleet.up(&[]).run().code(1);
        let error = &target(&up, "cat")["error"];
        assert_eq!((&error["line"], &error["sqlstate"]), (&6.into(), &"22012".into()), "{error}");
        assert!(error["hints"].to_string().contains("stays done: 4 statements of"), "{error}");
        assert_eq!(fleet.rows("SELECT id FROM tenant_cat.notes"), [["1"]]);

        // What is done may not change, what is not done may.
        outside(&fleet, &file.replace("VALUES (1)", "VALUES (2)"));
        let up = fleet.up(&[]).run().code(4);
        let error = &target(&up, "cat")["error"];
        assert_eq!((&error["code"], &error["line"]), (&"history-diverged".into(), &5.into()));

        outside(&fleet, &file.replace(" / 0", "").replace("ADD VALUE", "ADD  VALUE /* ! */"));
        fleet.up(&[]).run().ok();
        assert_eq!(fleet.rows("SELECT id FROM tenant_cat.notes ORDER BY 1"), [["1"], ["3"]]);
        assert!(!has_notes(&fleet, "tenant_cat"));
    });
}

#[test]
fn what_commits_on_its_own_runs_alone() {
    let fleet = Fleet::of_schemas(&["cat"]);
    outside(
        &fleet,
        "CREATE PROCEDURE fill(upto int) LANGUAGE plpgsql AS $$ BEGIN \
           FOR n IN 1..upto LOOP INSERT INTO notes VALUES (n); COMMIT; END LOOP; END $$;\n\
         SET search_path = tenant_cat, pg_catalog;\n\
         CALL fill(3);\n\
         DO $$ BEGIN INSERT INTO notes VALUES (4); ROLLBACK; INSERT INTO notes VALUES (5); END $$;\n\
         CREATE FUNCTION count_notes() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM notes; END;\n\
         ALTER DATABASE app SET work_mem = '5MB';\n",
    );
    fleet.sql("ALTER DATABASE app OWNER TO tenant_cat_owner");
    fleet.up(&[]).run().ok();
    assert_eq!(
        fleet.rows("SELECT id FROM tenant_cat.notes ORDER BY 1").concat(),
        ["1", "2", "3", "5"]
    );
    assert!(!has_notes(&fleet, "tenant_cat"));
}

#[test]
fn a_partition_that_was_half_detached_is_detached() {
    on_every_version(|world| {
        let fleet = Fleet::on(world).having(&["cat"]);
        fleet.sql(
            "SET ROLE tenant_cat_owner; SET search_path = tenant_cat; \
             CREATE TABLE events (at int) PARTITION BY RANGE (at); \
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (10); \
             INSERT INTO events VALUES (5)",
        );
        let mut user = fleet.session("app", "postgres");
        user.sql("BEGIN; SELECT * FROM tenant_cat.events");
        outside(&fleet, "ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY;\n");
        let up = fleet.up(&["--lock-timeout", "60ms"]).run().code(5);
        let pending = "SELECT inhdetachpending FROM pg_inherits";
        assert_eq!(fleet.rows(pending), [["t"]], "{}", up.transcript());
        user.sql("COMMIT");
        fleet.up(&[]).run().ok();
        assert!(fleet.rows(pending).is_empty());
        assert_eq!(fleet.tables("tenant_cat"), ["events", "events_1", "notes"]);
    });
}

#[test]
fn what_a_reindex_has_left_is_removed() {
    on_every_version(|world| {
        let fleet = with_rows(world);
        fleet.sql(
            "CREATE TABLE tenant_cat.others (id int); INSERT INTO tenant_cat.others VALUES (1); \
             CREATE INDEX others_id ON tenant_cat.others (id); \
             ALTER TABLE tenant_cat.others OWNER TO tenant_cat_owner",
        );
        let mut reader = fleet.session("app", "postgres");
        reader.sql("BEGIN; UPDATE tenant_cat.others SET id = 2");
        outside(&fleet, "REINDEX TABLE CONCURRENTLY others;\n");
        let up = fleet.up(&["--lock-timeout", "60ms"]).run().code(5);
        // Each attempt finds what the one before has left, and cannot remove it either.
        assert!(has_left(&fleet), "{}", up.transcript());
        reader.sql("COMMIT");
        fleet.up(&[]).run().ok();
        assert_eq!(indexes(&fleet, "tenant_cat"), ["others_id true"]);
    });
}

fn has_left(fleet: &Fleet) -> bool {
    indexes(fleet, "tenant_cat").iter().any(|index| index.contains("_ccnew"))
}

#[test]
fn notes_are_the_owners_alone() {
    for (isolation, schema, database) in [
        ("schema", "tenant_cat", "app"),
        ("shared", "app", "app"),
        ("database", "app", "tenant_cat"),
    ] {
        let fleet = Fleet::new();
        fleet.create("cat", isolation);
        let file = "-- tenantctl:no-transaction\nCREATE TABLE IF NOT EXISTS other (tenant_id uuid NOT NULL, \
                    id int, PRIMARY KEY (tenant_id, id));\nSELECT 1 / 0;\n";
        fleet.migration("V2__outside.sql", file);
        fleet.shared_migration("V2__outside.sql", file);
        fleet.up(&[]).run().code(1);
        let grants = format!(
            "SELECT relacl FROM pg_class WHERE oid = '{schema}.tenantctl_progress'::regclass"
        );
        let granted = fleet.rows_in(database, &grants).concat().concat();
        assert!(!granted.contains("app_"), "{granted}");
        // Whoever makes the tenant what it should be does not open them again.
        fleet.run(["create", "cat", "--isolation", isolation, "--if-not-exists"]).ok();
        assert_eq!(fleet.rows_in(database, &grants).concat().concat(), granted);
        fleet.run(["verify-rls", "--fail-on", "info"]).ok();
    }
}

/// Each statement of which the server can say whether it was done, in a run that is killed.
const EVERYTHING: &str = "INSERT INTO notes VALUES (1000);\n\
    CREATE UNIQUE INDEX CONCURRENTLY notes_body ON notes (body);\n\
    CREATE INDEX CONCURRENTLY ON notes (id) WHERE id > 5;\n\
    DROP INDEX CONCURRENTLY old;\n\
    ALTER TABLE parts DETACH PARTITION part CONCURRENTLY;\n\
    REINDEX TABLE CONCURRENTLY notes;\n\
    UPDATE notes SET body = body || '!' WHERE id = 1000;\n\
    VACUUM notes;\n";

#[test]
fn a_run_that_is_killed_at_any_request_is_finished_by_the_next() {
    let fleet = with_rows(World::new());
    fleet.sql("ALTER TABLE tenant_cat.notes OWNER TO tenant_cat_owner");
    outside(&fleet, EVERYTHING);
    let mut killed = 0;
    for at in 0.. {
        fleet.sql(
            "SET ROLE tenant_cat_owner; SET search_path = tenant_cat; \
             DELETE FROM refinery_schema_history WHERE version = 2; DELETE FROM notes WHERE id >= 1000; \
             DROP INDEX IF EXISTS notes_body, notes_id_idx; CREATE INDEX old ON notes (body); \
             DROP TABLE IF EXISTS parts, part; CREATE TABLE parts (id int) PARTITION BY LIST (id); \
             CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)",
        );
        let proxy = Proxy::start(&fleet, Some(at));
        let victim = fleet.up(&["--database-url", &proxy.operator_url(&fleet)]).spawn();
        proxy.aim_at(victim.pid());
        let undisturbed = !victim.wait().transcript().contains("signal: 9");
        let up = fleet.up(&[]).run().ok();
        let context = format!("killed after request {at}: {}", up.transcript());
        assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 outside"], "{context}");
        assert_eq!(
            indexes(&fleet, "tenant_cat"),
            ["notes_body true", "notes_id_idx true"],
            "{context}"
        );
        let rows =
            fleet.rows("SELECT id, coalesce(body, '-') FROM tenant_cat.notes WHERE id >= 1000");
        assert_eq!(rows, [["1000", "-"]], "{context}");
        assert!(fleet.rows("SELECT FROM pg_inherits").is_empty(), "{context}");
        assert!(!has_notes(&fleet, "tenant_cat"), "{context}");
        if undisturbed {
            break;
        }
        killed += 1;
    }
    assert!(killed > 30, "only {killed} requests");
}
