//! What a migration leaves in a session stays with its tenant, and what it makes is its owner's.

use crate::fleet::{Fleet, statuses, target};
use crate::harness::World;

/// Few enough connections that tenants come one after the other through the same session.
fn narrow(ids: &[&str]) -> Fleet {
    let fleet = Fleet::on(World::new());
    let toml = std::fs::read_to_string(fleet.path("tenants.toml")).unwrap();
    fleet.file("tenants.toml", &toml.replace("max_connections = 10", "max_connections = 4"));
    fleet.having(ids)
}

#[test]
fn settings_of_one_tenants_migration_reach_no_other() {
    let fleet = narrow(&["cat", "dog"]);
    fleet.migration(
        "V2__settings.sql",
        "CREATE TABLE seen AS SELECT current_user::text AS who, current_schema()::text AS here, \
           coalesce(current_setting('app.left', true), '') AS left_behind, \
           current_setting('work_mem') AS work_mem, \
           (SELECT count(*) FROM pg_prepared_statements WHERE name = 'left_statement') AS statements, \
           to_regclass('pg_temp.left_table') IS NOT NULL AS temporary;\n\
         SET search_path = public;\nSET work_mem = '77MB';\n\
         SELECT set_config('app.left', current_user, false);\n\
         CREATE TEMPORARY TABLE left_table ();\n\
         SELECT pg_advisory_lock(4711);\n",
    );
    fleet.migration("V3__after.sql", "CREATE TABLE after ();\n");
    let up = fleet.up(&["--jobs", "1"]).run().ok();
    assert_eq!(statuses(&up), ["cat applied", "dog applied"]);
    for id in ["cat", "dog"] {
        assert_eq!(
            fleet.rows(&format!("SELECT * FROM tenant_{id}.seen"))[0],
            [&format!("tenant_{id}_owner"), &format!("tenant_{id}"), "", "4MB", "0", "f"]
        );
        // The path that V2 set for the session did not lead V3, or its history, astray.
        assert_eq!(fleet.history(&format!("tenant_{id}")), ["1 notes", "2 settings", "3 after"]);
        assert_eq!(fleet.tables(&format!("tenant_{id}")), ["after", "notes", "seen"]);
    }
    assert!(fleet.tables("public").is_empty());
}

/// The text of the file shows nothing of it: what it calls was made before, by somebody else.
#[test]
fn what_a_function_leaves_behind_reaches_no_other_tenant() {
    let ids = ["ant", "bee", "cat", "dog", "elk"];
    let fleet = narrow(&ids);
    fleet.sql(
        "CREATE FUNCTION public.innocent() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
           PERFORM set_config('app.left', current_user, false); \
           PERFORM set_config('work_mem', '77MB', false); \
           PERFORM set_config('search_path', 'public', false); \
           PERFORM set_config('role', 'none', false); \
           PERFORM pg_advisory_lock(4711); \
           CREATE TEMPORARY TABLE left_table (); \
         END $$",
    );
    for version in 2..=3 {
        fleet.migration(
            &format!("V{version}__calls.sql"),
            &format!(
                "CREATE TABLE seen_{version} (who, here, app, memory, locks, tables) AS \
                 SELECT current_user::text, current_schema()::text, \
                   coalesce(current_setting('app.left', true), ''), current_setting('work_mem'), \
                   (SELECT count(*) FROM pg_locks WHERE objid = 4711 AND pid = pg_backend_pid()), \
                   (SELECT count(*) FROM pg_class WHERE relname = 'left_table');\n\
                 SELECT public.innocent();\n"
            ),
        );
        let up = fleet.up(&["--jobs", "1"]).run().ok();
        assert_eq!(statuses(&up).len(), ids.len());
        for id in ids {
            assert_eq!(
                fleet.rows(&format!("SELECT * FROM tenant_{id}.seen_{version}"))[0],
                [&format!("tenant_{id}_owner"), &format!("tenant_{id}"), "", "4MB", "0", "0"],
                "{id}"
            );
        }
    }
}

/// Deferred triggers run at the very end, and still as their own tenant.
#[test]
fn a_deferred_trigger_runs_with_the_settings_of_its_tenant() {
    let fleet = narrow(&["cat", "dog"]);
    fleet.migration(
        "V2__deferred.sql",
        "CREATE TABLE seen (who text, here text);\n\
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           INSERT INTO seen SELECT current_user, current_schema(); RETURN NULL; END $$;\n\
         CREATE CONSTRAINT TRIGGER look AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED \
           FOR EACH ROW EXECUTE FUNCTION look();\nINSERT INTO notes VALUES (1);\n",
    );
    fleet.up(&["--jobs", "1"]).run().ok();
    for id in ["cat", "dog"] {
        let seen = fleet.rows(&format!("SELECT * FROM tenant_{id}.seen"));
        assert_eq!(seen, [[format!("tenant_{id}_owner"), format!("tenant_{id}")]]);
    }
}

#[test]
fn a_role_that_a_migration_takes_ends_with_it() {
    let fleet = narrow(&["cat", "dog"]);
    fleet.migration("V2__role.sql", "CREATE TABLE tags ();\nRESET ROLE;\n");
    fleet.migration("V3__who.sql", "CREATE TABLE who AS SELECT current_user::text AS who;\n");
    fleet.up(&["--jobs", "1"]).run().ok();
    for id in ["cat", "dog"] {
        let who = fleet.rows(&format!("SELECT who FROM tenant_{id}.who"));
        assert_eq!(who, [[format!("tenant_{id}_owner")]]);
        assert_eq!(fleet.history(&format!("tenant_{id}")), ["1 notes", "2 role", "3 who"]);
    }
}

/// The history is written by its owner, whatever the file became.
#[test]
fn a_role_without_the_history_does_not_keep_a_migration_from_being_recorded() {
    let fleet = narrow(&["cat"]);
    fleet.migration("V2__role.sql", "CREATE TABLE tags ();\nSET ROLE app_tenant_cat;\n");
    fleet.sql("GRANT app_tenant_cat TO tenant_cat_owner");
    fleet.up(&[]).run().ok();
    assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 role"]);
}

#[test]
fn what_a_migration_makes_is_the_owners_and_open_to_the_application() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.create("elk", "database");
    fleet.migration(
        "V2__things.sql",
        "CREATE TABLE things (id bigserial PRIMARY KEY);\n\
         CREATE VIEW all_things AS SELECT * FROM things;\n\
         CREATE FUNCTION count_things() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM things';\n\
         CREATE TYPE mood AS ENUM ('good');\n",
    );
    fleet.up(&[]).run().ok();
    for (database, schema, id) in [("app", "tenant_cat", "cat"), ("tenant_elk", "app", "elk")] {
        let owners = fleet.rows_in(
            database,
            &format!(
                "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class \
                 WHERE relnamespace = '{schema}'::regnamespace UNION \
                 SELECT pg_get_userbyid(proowner) FROM pg_proc \
                 WHERE pronamespace = '{schema}'::regnamespace UNION \
                 SELECT pg_get_userbyid(typowner) FROM pg_type \
                 WHERE typnamespace = '{schema}'::regnamespace"
            ),
        );
        assert_eq!(owners, [[format!("tenant_{id}_owner")]]);
        let mut app = fleet.session(database, &format!("app_tenant_{id}"));
        app.sql(&format!("SET search_path = {schema}"));
        app.sql("INSERT INTO things DEFAULT VALUES; UPDATE things SET id = 7; DELETE FROM things");
        assert_eq!(app.rows("SELECT count_things(), count(*) FROM all_things"), [["0", "0"]]);
        for forbidden in [
            "INSERT INTO refinery_schema_history VALUES (9, 'x', 'x', '1')",
            "UPDATE refinery_schema_history SET checksum = '1'",
            "DELETE FROM refinery_schema_history",
            "TRUNCATE refinery_schema_history",
            "DROP TABLE things",
            "CREATE TABLE mine ()",
        ] {
            let refused = app.attempt(forbidden).unwrap_err();
            assert_eq!(refused.sqlstate, "42501", "{forbidden}: {refused:?}");
        }
    }
}

/// Row-level security as it stands, then who may use the table.
const GUARD: &str = "SELECT relrowsecurity, relforcerowsecurity, \
     (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid), \
     has_table_privilege('app_rw', c.oid, 'SELECT, INSERT, UPDATE, DELETE') \
     FROM pg_class c WHERE relnamespace = 'app'::regnamespace AND relname = 'labels'";

const LABELS: (&str, &str) = (
    "V2__labels.sql",
    "CREATE TABLE labels (tenant_id uuid NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));\n\
     INSERT INTO labels VALUES (gen_random_uuid(), 1);\n",
);

fn sharing(ids: &[&str]) -> Fleet {
    let fleet = Fleet::new();
    for id in ids {
        fleet.create(id, "shared");
    }
    fleet.shared_migration(LABELS.0, LABELS.1);
    fleet
}

#[test]
fn a_new_shared_table_is_guarded_before_it_is_reachable() {
    let fleet = sharing(&["ant", "bee"]);
    // Whoever grants before the guard stands is caught in the act, inside the same transaction.
    fleet.sql(
        "CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'app'::regnamespace \
             AND c.relname = 'labels' AND NOT (c.relrowsecurity AND c.relforcerowsecurity \
               AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)) \
             AND has_table_privilege('app_rw', c.oid, 'SELECT')) \
           THEN RAISE EXCEPTION 'reachable and unguarded'; END IF; END $$; \
         CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()",
    );
    fleet.up(&[]).run().ok();
    assert_eq!(fleet.rows(GUARD), [["t", "t", "1", "t"]]);
    let mut app = fleet.session("app", "app_rw");
    assert_eq!(app.rows("SELECT count(*) FROM app.labels"), [["0"]]);
}

#[test]
fn a_run_that_was_killed_before_the_guard_is_finished_by_the_next() {
    let fleet = sharing(&["ant", "bee"]);
    // The guard is planned under the tenant's lock: somebody holds all there are but migrations'.
    let mut holder = fleet.session("app", "platform");
    holder.sql(
        "SELECT pg_advisory_lock(('x' || substr(encode(sha256('tenantctl\\000tenant\\000ant'::bytea), \
         'hex'), 1, 16))::bit(64)::bigint)",
    );
    let mut running = fleet.up(&[]).spawn();
    running.wait_until("the migration", || {
        !fleet.tables("app").is_empty() && fleet.rows(GUARD).len() == 1
    });
    running.kill();
    running.wait().signal(9);
    assert_eq!(fleet.rows(GUARD), [["f", "f", "0", "f"]]);
    drop(holder);

    let up = fleet.up(&[]).run().ok();
    assert_eq!(fleet.rows(GUARD), [["t", "t", "1", "t"]], "{}", up.transcript());
    assert_eq!(target(&up, "ant")["to"], 2);
}

#[test]
fn every_tenants_own_role_may_use_a_new_shared_table() {
    let fleet = Fleet::with(World::new(), "[isolation.shared]\nrole = \"app_{tenant}\"\n");
    for id in ["ant", "bee"] {
        fleet.create(id, "shared");
    }
    fleet.shared_migration(LABELS.0, LABELS.1);
    fleet.up(&[]).run().ok();
    for role in ["app_ant", "app_bee"] {
        let may = format!("SELECT has_table_privilege('{role}', 'app.labels', 'SELECT')");
        assert_eq!(fleet.rows(&may), [["t"]], "{role}");
    }
}

#[test]
fn few_connections_are_enough_for_every_model_at_once() {
    let fleet = narrow(&["cat", "dog", "elk"]);
    for id in ["ant", "bee"] {
        fleet.create(id, "shared");
    }
    fleet.create("fox", "database");
    fleet.create("gnu", "database");
    fleet.migration("V2__slow.sql", "SELECT pg_sleep(0.3);\n");
    fleet.shared_migration(LABELS.0, LABELS.1);
    let up = fleet.up(&["--jobs", "6"]).run().ok();
    assert!(up.elapsed() < std::time::Duration::from_secs(20), "{:?}", up.elapsed());
    assert_eq!(fleet.rows(GUARD), [["t", "t", "1", "t"]]);
}

#[test]
fn an_interrupt_leaves_no_shared_table_without_its_guard() {
    let fleet = sharing(&["ant", "bee"]);
    fleet.shared_migration("V3__slow.sql", "SELECT pg_sleep(1);\n");
    let mut running = fleet.up(&[]).spawn();
    running.wait_until("the migration", || fleet.tables("app").contains(&"labels".to_owned()));
    running.interrupt();
    let up = running.wait().code(130);
    assert_eq!(statuses(&up), ["ant applied", "bee applied"], "{}", up.transcript());
    assert_eq!(fleet.rows(GUARD), [["t", "t", "1", "t"]]);
}
