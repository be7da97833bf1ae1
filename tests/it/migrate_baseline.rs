//! `migrate baseline`: schemas that something else has made are adopted, and nothing is run.

use serde_json::json;

use crate::fleet::{Fleet, statuses, target};
use crate::harness::{Invocation, OPERATOR, World, on_every_version};

const TAGS: (&str, &str) = ("V2__tags.sql", "CREATE TABLE tags (id bigint PRIMARY KEY);\n");
const MORE: (&str, &str) = ("V5__more.sql", "CREATE TABLE more (id bigint PRIMARY KEY);\n");

/// Tenants whose objects are there up to version 2, and whose histories are not.
fn grown(world: World, ids: &[&str]) -> Fleet {
    let fleet = Fleet::on(world);
    fleet.migration(TAGS.0, TAGS.1);
    let fleet = fleet.having(ids);
    for id in ids {
        fleet.sql(&format!("DROP TABLE tenant_{id}.refinery_schema_history"));
    }
    fleet.migration(MORE.0, MORE.1);
    fleet
}

fn baseline(fleet: &Fleet, args: &[&str]) -> Invocation {
    fleet
        .tenantctl(["migrate", "baseline", "-o", "json", "--reason", "came from flyway"])
        .args(args)
}

/// The audit trail of a tenant: the verb and how it went.
pub fn trail(fleet: &Fleet, tenant: &str, event: &str) -> Vec<Vec<String>> {
    fleet.rows(&format!(
        "SELECT detail->>'state', detail->>'reason', detail->>'from', detail->>'to', \
                jsonb_array_length(detail->'rows') \
         FROM tenantctl.events WHERE tenant = '{tenant}' AND event = '{event}' ORDER BY id"
    ))
}

#[test]
fn what_stands_is_recorded_and_the_rest_is_applied() {
    on_every_version(|world| {
        let fleet = grown(world, &["cat", "dog"]);
        fleet.create("elk", "schema");
        let outcome = baseline(&fleet, &["--to", "2", "--tenant", "cat", "--yes"]).run().ok();
        assert_eq!(statuses(&outcome), ["cat applied"]);
        let cat = target(&outcome, "cat");
        assert_eq!([&cat["from"], &cat["to"]], [&json!(null), &json!(2)]);
        // Of the two tables, nothing was made again; their rows are those of a tenant that refinery
        // brought up.
        let rows = |schema: &str| {
            fleet.rows(&format!(
                "SELECT version, name, checksum FROM {schema}.refinery_schema_history \
                 WHERE version <= 2 ORDER BY version"
            ))
        };
        assert_eq!(rows("tenant_cat"), rows("tenant_elk"));
        let owner = "SELECT tableowner FROM pg_tables WHERE schemaname = 'tenant_cat' \
                     AND tablename = 'refinery_schema_history'";
        assert_eq!(fleet.rows(owner).concat(), ["tenant_cat_owner"]);
        assert_eq!(
            trail(&fleet, "cat", "baseline"),
            [
                ["begun", "came from flyway", "NULL", "2", "2"],
                ["done", "came from flyway", "NULL", "2", "2"]
            ]
        );
        fleet.up(&["--tenant", "cat"]).run().ok();
        assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 tags", "5 more"]);

        // Again, and beside a tenant that has not been adopted.
        let again = baseline(&fleet, &["--to", "2", "--tenant", "cat"]).run().ok();
        assert_eq!(statuses(&again), ["cat up-to-date"]);
        assert_eq!(trail(&fleet, "cat", "baseline").len(), 2);
    });
}

#[test]
fn what_people_read() {
    let fleet = grown(World::new(), &["cat", "dog"]);
    let args = ["migrate", "baseline", "--to", "V2", "--reason", "came from flyway"];
    fleet.tenantctl(args).args(["--dry-run"]).run().ok().snapshot("migrate_baseline_dry_run");
    fleet.tenantctl(args).run().code(4).snapshot("migrate_baseline_unconfirmed");
    assert_eq!(fleet.rows("SELECT FROM tenantctl.events WHERE event = 'baseline'").len(), 0);
    assert!(fleet.tables("tenant_cat").len() == 2 && fleet.tables("tenant_dog").len() == 2);
    let history = "SELECT FROM pg_tables WHERE tablename = 'refinery_schema_history' \
                   AND schemaname LIKE 'tenant\\_%'";
    assert_eq!(fleet.rows(history).len(), 0);
    fleet.tenantctl(args).args(["--yes", "-q"]).run().ok();
    fleet.tenantctl(args).run().ok().snapshot("migrate_baseline_again");
}

#[test]
fn a_schema_that_is_empty_or_has_begun_is_refused_and_holds_nobody_up() {
    let fleet = grown(World::new(), &["cat", "dog", "elk"]);
    fleet.sql("DROP TABLE tenant_cat.notes, tenant_cat.tags");
    fleet.create("fox", "schema");
    let outcome = baseline(&fleet, &["--to", "2", "--yes"]).run().code(3);
    assert_eq!(statuses(&outcome), ["cat failed", "dog applied", "elk applied", "fox up-to-date"]);
    let error = &target(&outcome, "cat")["error"];
    assert_eq!(error["code"], "refused");
    assert!(error["message"].to_string().contains("nothing stands in the schema"), "{error}");
    assert!(error["hints"].to_string().contains("tenantctl migrate up"), "{error}");

    // dog and elk have begun, at 2: what is missing is `up`'s business. fox is at 5.
    let begun = baseline(&fleet, &["--to", "5", "--yes", "--exclude", "cat"]).run().code(3);
    assert_eq!(statuses(&begun), ["dog failed", "elk failed", "fox up-to-date"]);
    assert_eq!(fleet.history("tenant_dog"), ["1 notes", "2 tags"]);

    fleet.sql("UPDATE tenant_elk.refinery_schema_history SET checksum = '12' WHERE version = 1");
    let diverged = baseline(&fleet, &["--to", "2", "--tenant", "elk", "--yes"]).run().code(4);
    assert_eq!(statuses(&diverged), ["elk diverged"]);
}

#[test]
fn a_version_that_no_file_has_and_an_empty_reason_are_mistakes() {
    let fleet = grown(World::new(), &["cat"]);
    let unknown = baseline(&fleet, &["--to", "3", "--yes"]).run().code(1);
    assert_eq!(unknown.json()["error"]["code"], "not-found");
    fleet.run(["migrate", "baseline", "--to", "2", "--reason", " "]).code(64);
    fleet.run(["migrate", "baseline", "--to", "2"]).code(64);
}

#[test]
fn without_a_registry_the_answer_says_that_nobody_keeps_the_reason() {
    let toml = "[[tenants]]\nid = \"cat\"\nisolation = \"schema\"\n";
    let fleet = Fleet::with(World::new(), toml);
    fleet.sql(&format!(
        "CREATE ROLE tenant_cat_owner; GRANT tenant_cat_owner TO {OPERATOR}; \
         CREATE SCHEMA tenant_cat AUTHORIZATION tenant_cat_owner; \
         SET ROLE tenant_cat_owner; CREATE TABLE tenant_cat.notes (id bigint PRIMARY KEY)"
    ));
    let outcome = baseline(&fleet, &["--to", "1", "--yes"]).run().ok();
    assert_eq!(fleet.history("tenant_cat"), ["1 notes"]);
    assert!(outcome.json()["notes"].to_string().contains("no registry"), "{}", outcome.stdout());
    assert_eq!(fleet.rows("SELECT FROM pg_namespace WHERE nspname = 'tenantctl'").len(), 0);
}

#[test]
fn shared_tables_and_databases_are_adopted_as_well() {
    let fleet = Fleet::new();
    fleet.migration(TAGS.0, TAGS.1);
    for id in ["ann", "bob"] {
        fleet.create(id, "shared");
    }
    fleet.create("dab", "database");
    // A table without rows is no history either.
    fleet.sql("DELETE FROM app.refinery_schema_history");
    fleet.sql_in("tenant_dab", "DROP TABLE app.refinery_schema_history");
    let outcome = baseline(&fleet, &["--to", "1", "--yes"]).run().ok();
    assert_eq!(statuses(&outcome), ["ann applied", "bob applied", "dab applied"]);
    assert_eq!(fleet.history("app"), ["1 notes"]);
    assert_eq!(fleet.history_in("tenant_dab", "app"), ["1 notes"]);
    assert_eq!(trail(&fleet, "bob", "baseline").len(), 2);
    fleet.run(["verify-rls"]).ok();
}
