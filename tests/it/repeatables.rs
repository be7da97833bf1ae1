//! Repeatable files: applied when their text changes, recorded beside the history, nobody's to use.

use std::collections::BTreeMap;
use std::time::Duration;

use tenantctl::config::conninfo::{self, Environment};
use tenantctl::error::Error;
use tenantctl::migrations::directory;
use tenantctl::model::ident::Ident;
use tenantctl::model::tenant::{ClusterName, Placement};
use tenantctl::pg::{self, Limits, Servers, Session};

use crate::fleet::{Fleet, statuses, target};
use crate::harness::{Model, on_every_version};

fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn cluster() -> ClusterName {
    ClusterName::new("main").unwrap()
}

/// Works in a database as tenantctl does.
fn inside<T>(fleet: &Fleet, database: &str, work: impl AsyncFnOnce(Session) -> T) -> T {
    let source = conninfo::Source::Flag("--database-url".to_owned());
    let settings = conninfo::resolve(&fleet.operator_url(), &source, &Environment::bare()).unwrap();
    let servers = Servers::new([(cluster(), settings, 4)], "migrate");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = servers.dedicated(&cluster(), Some(&ident(database))).await.unwrap();
        work(session).await
    })
}

/// Applies what changed in a tenant's schema, and says what that was.
fn reapply(fleet: &Fleet, model: Model, tenant: &str) -> Result<Vec<String>, Error> {
    let folder = if model == Model::Shared { "shared" } else { "tenant" };
    let set = directory::read(&fleet.path(&format!("migrations/{folder}"))).unwrap();
    let placement = Placement {
        cluster: cluster(),
        database: ident(&model.database(tenant)),
        schema: ident(&model.schema(tenant)),
    };
    let owner = ident(&model.owner(tenant));
    inside(fleet, &model.database(tenant), async |session| {
        let schema = pg::Schema {
            placement: &placement,
            owner: &owner,
            set: &set,
            limits: Limits::default(),
            lock_wait: Duration::from_secs(5),
        };
        pg::reapply(&session, &schema).await
    })
}

const COUNT: &str = "CREATE OR REPLACE FUNCTION count_notes() RETURNS bigint LANGUAGE sql STABLE \
                     SET search_path FROM CURRENT AS 'SELECT count(*) FROM notes';\n";

#[test]
fn each_model_has_them_and_nobody_may_use_the_table() {
    on_every_version(|world| {
        let fleet = Fleet::on(world);
        let models = [(Model::Schema, "cat"), (Model::Database, "dab"), (Model::Shared, "ann")];
        for (model, tenant) in models {
            fleet.create(tenant, model.word());
        }
        fleet.create("bob", "shared");
        fleet.migration("R__count.sql", COUNT);
        fleet.shared_migration("R__count.sql", COUNT);
        for (model, tenant) in models {
            assert_eq!(reapply(&fleet, model, tenant).unwrap(), ["count"], "{tenant}");
            assert!(reapply(&fleet, model, tenant).unwrap().is_empty(), "{tenant}");
            let (database, schema) = (model.database(tenant), model.schema(tenant));
            let owners = format!(
                "SELECT DISTINCT o FROM (SELECT pg_get_userbyid(proowner) FROM pg_proc \
                 WHERE proname = 'count_notes' AND pronamespace = '{schema}'::regnamespace \
                 UNION ALL SELECT tableowner FROM pg_tables \
                 WHERE schemaname = '{schema}' AND tablename = 'tenantctl_repeatables') x(o)"
            );
            assert_eq!(fleet.rows_in(&database, &owners).concat(), [model.owner(tenant)]);
            // Default privileges open new tables of a tenant to its application; not this one.
            let open = format!(
                "SELECT bool_or(has_table_privilege(rolname, '{schema}.tenantctl_repeatables', \
                 'SELECT, INSERT, UPDATE, DELETE')) FROM pg_roles \
                 WHERE NOT rolsuper AND rolname NOT LIKE 'pg\\_%' AND rolname <> '{}' AND NOT pg_has_role(rolname, '{0}', 'USAGE')",
                model.owner(tenant)
            );
            assert_eq!(fleet.rows_in(&database, &open).concat(), ["f"], "{tenant}");
        }
        fleet.run(["verify-rls"]).ok();
        // Whoever looks after the tenant does not take it for one of its tables.
        for (model, tenant) in models {
            let again = fleet.run(["create", tenant, "--isolation", model.word()]).ok();
            assert!(again.stdout().contains("nothing to do"), "{}", again.transcript());
        }
        fleet.run(["verify-rls"]).ok();
    });
}

#[test]
fn what_changed_is_applied_again_in_the_order_of_names_and_nothing_else() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration("R__b_view.sql", "CREATE OR REPLACE VIEW v AS SELECT one() AS one -- the end");
    fleet.migration("R__a_one.sql", "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';\n\
                                     SET LOCAL search_path = public; SET LOCAL ROLE app_tenant_cat;\n");
    fleet.sql("GRANT app_tenant_cat TO tenant_cat_owner");
    assert_eq!(reapply(&fleet, Model::Schema, "cat").unwrap(), ["a_one", "b_view"]);
    fleet
        .migration("R__b_view.sql", "CREATE OR REPLACE VIEW v AS SELECT one() AS one, 2 AS two;\n");
    assert_eq!(reapply(&fleet, Model::Schema, "cat").unwrap(), ["b_view"]);
    assert_eq!(fleet.rows("SELECT * FROM tenant_cat.v"), [["1", "2"]]);
    // A file that is gone is forgotten by nobody, and asked for by nobody.
    fleet.forget("R__a_one.sql");
    assert!(reapply(&fleet, Model::Schema, "cat").unwrap().is_empty());
    let recorded = "SELECT name FROM tenant_cat.tenantctl_repeatables ORDER BY 1";
    assert_eq!(fleet.rows(recorded).concat(), ["a_one", "b_view"]);
    // Taking a migration back may have dropped what they made.
    fleet.migration("V2__tags.sql", "CREATE TABLE tags ();\n");
    fleet.migration("down/2__tags.sql", "DROP TABLE tags;\nDROP VIEW v;\n");
    fleet.up(&[]).run().ok();
    fleet.run(["migrate", "down", "--to", "1", "--reason", "x", "--yes"]).ok();
    assert_eq!(reapply(&fleet, Model::Schema, "cat").unwrap(), ["b_view"]);
}

#[test]
fn one_that_fails_is_placed_and_leaves_nothing() {
    let fleet = Fleet::of_schemas(&["cat"]);
    fleet.migration("R__a.sql", "CREATE VIEW v AS SELECT 1 AS one;\n");
    fleet.migration(
        "R__b.sql",
        "-- ünïcode\nSELECT 1;\nCREATE VIEW w AS\n  SELECT nothing FROM v;\n",
    );
    let error = reapply(&fleet, Model::Schema, "cat").unwrap_err();
    let place = error.location.unwrap();
    assert!(place.file.ends_with("R__b.sql"), "{}", place.file);
    assert_eq!((place.line, place.column), (4, 10));
    assert_eq!(error.answer.unwrap().sqlstate, "42703");
    assert_eq!(
        fleet.rows("SELECT FROM pg_class WHERE relname IN ('v', 'tenantctl_repeatables')").len(),
        0
    );
}

#[test]
fn many_schemas_are_read_at_once_and_one_that_may_not_be_hides_no_other() {
    let fleet = Fleet::of_schemas(&["cat", "dog", "elk"]);
    fleet.migration("R__one.sql", "CREATE OR REPLACE VIEW one AS SELECT 1 AS one;\n");
    for tenant in ["cat", "dog"] {
        reapply(&fleet, Model::Schema, tenant).unwrap();
    }
    fleet.sql("ALTER TABLE tenant_dog.tenantctl_repeatables RENAME COLUMN checksum TO odd");
    let names = ["tenant_cat", "tenant_dog", "tenant_elk", "tenant_fox"].map(ident);
    let found = inside(&fleet, "app", async |session| {
        pg::repeatables(&session, &names.iter().collect::<Vec<_>>()).await.unwrap()
    });
    let seen: BTreeMap<&str, Option<usize>> = found
        .iter()
        .map(|(schema, recorded)| (schema.as_str(), recorded.as_ref().ok().map(BTreeMap::len)))
        .collect();
    let expected = [("tenant_cat", Some(1)), ("tenant_dog", None), ("tenant_elk", Some(0))];
    assert_eq!(seen, BTreeMap::from(expected));
}

#[test]
fn up_applies_what_is_repeatable_when_it_changed() {
    on_every_version(|world| {
        let fleet = Fleet::on(world).having(&["cat", "dog"]);
        fleet.create("fox", "database");
        fleet.migration("R__count.sql", COUNT);
        fleet.migration("V2__title.sql", "ALTER TABLE notes ADD COLUMN title text;\n");
        // Versions and what stands behind them are one transaction.
        let up = fleet.up(&[]).run().ok();
        assert_eq!(statuses(&up), ["cat applied", "dog applied", "fox applied"]);
        assert_eq!(target(&up, "cat")["repeatables"], serde_json::json!(["count"]));
        assert_eq!(fleet.rows("SELECT tenant_cat.count_notes()"), [["0"]]);
        assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 title"]);
        let again = fleet.up(&[]).run().ok();
        assert_eq!(statuses(&again), ["cat up-to-date", "dog up-to-date", "fox up-to-date"]);
        fleet.status(&["--check"]).run().ok();

        // A text that changed is applied again, though no version is pending.
        fleet.migration("R__count.sql", &COUNT.replace("count(*)", "count(*) + 40"));
        let status = fleet.status(&["--check"]).run().code(2);
        assert_eq!(statuses(&status), ["cat pending", "dog pending", "fox pending"]);
        let up = fleet.up(&[]).run().ok();
        assert_eq!(statuses(&up), ["cat applied", "dog applied", "fox applied"]);
        assert_eq!(fleet.rows("SELECT tenant_dog.count_notes()"), [["40"]]);

        // A failure is placed in the file, and undoes the version that it came with.
        fleet.migration("R__count.sql", &format!("{COUNT}SELECT nothing;\n"));
        fleet.migration("V3__tags.sql", "CREATE TABLE tags ();\n");
        let failed = fleet.up(&["--tenant", "cat"]).run().code(1);
        let error = &target(&failed, "cat")["error"];
        assert!(error["file"].as_str().unwrap().ends_with("R__count.sql"), "{error}");
        assert_eq!((&error["line"], &error["column"]), (&2.into(), &8.into()), "{error}");
        assert_eq!(fleet.history("tenant_cat"), ["1 notes", "2 title"]);
        fleet.migration("R__count.sql", COUNT);
        fleet.up(&["--per-file"]).run().ok();
        assert_eq!(fleet.rows("SELECT tenant_cat.count_notes()"), [["0"]]);
        // Whoever comes later has them from the beginning.
        fleet.create("gnu", "schema");
        assert_eq!(fleet.rows("SELECT tenant_gnu.count_notes()"), [["0"]]);
        fleet.status(&["--check"]).run().ok();
    });
}
