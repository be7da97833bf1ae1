//! refinery itself and tenantctl take turns on one schema, and agree.
//!
//! A team may come from refinery, and go back to it, at any time.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use refinery::{Migration, Runner, load_sql_migrations};
use tenantctl::pg::server::Listen;
use tokio_postgres::{Config, NoTls};

use crate::fleet::{Fleet, statuses, target};
use crate::harness::{OPERATOR, World};

/// What refinery says of a migration: version, name, checksum.
type Entry = (i64, String, u64);

fn entries(migrations: &[Migration]) -> Vec<Entry> {
    migrations.iter().map(|one| (one.version(), one.name().to_owned(), one.checksum())).collect()
}

/// The stock runner over the stock driver, as the owner of a tenant's schema.
struct Stock {
    config: Config,
    migrations: Vec<Migration>,
}

impl Stock {
    fn new(fleet: &Fleet, id: &str) -> Self {
        let mut config: Config = fleet.url("app", OPERATOR).parse().unwrap();
        config.options(format!("-c search_path=tenant_{id} -c role=tenant_{id}_owner"));
        let migrations = load_sql_migrations(fleet.path("migrations/tenant")).unwrap();
        Self { config, migrations }
    }

    /// Applies what is pending, and says what that was.
    fn up(&self) -> Vec<Entry> {
        self.run(async |runner, client| {
            entries(runner.run_async(client).await.unwrap().applied_migrations())
        })
    }

    /// The whole history, as refinery reads it.
    fn history(&self) -> Vec<Entry> {
        self.run(async |runner, client| {
            entries(&runner.get_applied_migrations_async(client).await.unwrap())
        })
    }

    /// Why it refuses to go on.
    fn refusal(&self) -> String {
        self.run(async |runner, client| runner.run_async(client).await.unwrap_err().to_string())
    }

    fn run<T>(&self, work: impl AsyncFnOnce(Runner, &mut tokio_postgres::Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut client, connection) = self.config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            work(Runner::new(&self.migrations), &mut client).await
        })
    }
}

fn step(fleet: &Fleet, version: i64) {
    let sql = format!("CREATE TABLE step_{version} (id bigint PRIMARY KEY);\n-- ünïcode\n");
    fleet.migration(&format!("V{version}__step_{version}.sql"), &sql);
}

/// The history as the server holds it, but for the time.
fn rows(fleet: &Fleet, schema: &str) -> Vec<Vec<String>> {
    fleet.rows(&format!(
        "SELECT version, name, checksum FROM {schema}.refinery_schema_history ORDER BY version"
    ))
}

#[test]
fn the_stock_runner_and_tenantctl_take_turns() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    // Files that refinery does not know keep it from nothing.
    fleet.migration("R__views.sql", "CREATE OR REPLACE VIEW one AS SELECT 1 AS one;\n");
    fleet.migration("down/1__notes.sql", "DROP TABLE notes;\n");
    fleet.up(&[]).run().ok();
    let mut version = 1;
    for _ in 0..3 {
        version += 1;
        step(&fleet, version);
        let stock = Stock::new(&fleet, "cat");
        let applied: Vec<i64> = stock.up().iter().map(|entry| entry.0).collect();
        assert_eq!(applied, [version]);
        // What refinery did is known here, and nothing is left to do in this tenant.
        let status = fleet.status(&[]).run().ok();
        assert_eq!(statuses(&status), ["cat up-to-date", "dog pending"]);
        assert_eq!(target(&status, "cat")["from"], version);
        assert_eq!(statuses(&fleet.up(&[]).run().ok()), ["cat up-to-date", "dog applied"]);

        version += 1;
        step(&fleet, version);
        assert_eq!(statuses(&fleet.up(&[]).run().ok()), ["cat applied", "dog applied"]);
        let stock = Stock::new(&fleet, "cat");
        assert_eq!(stock.up(), []);
        assert_eq!(stock.history(), entries(&stock.migrations));
    }
    // One was written by both in turn, the other by tenantctl alone.
    assert_eq!(rows(&fleet, "tenant_cat"), rows(&fleet, "tenant_dog"));
    assert_eq!(fleet.tables("tenant_cat"), fleet.tables("tenant_dog"));
    let shape = |schema: &str| {
        fleet.rows(&format!(
            "SELECT column_name, data_type, is_nullable, character_maximum_length \
             FROM information_schema.columns WHERE table_schema = '{schema}' \
             AND table_name = 'refinery_schema_history' ORDER BY ordinal_position"
        ))
    };
    assert_eq!(shape("tenant_cat"), shape("tenant_dog"));
}

#[test]
fn a_schema_that_refinery_began_is_continued() {
    let fleet = Fleet::with(World::new(), "[[tenants]]\nid = \"cat\"\nisolation = \"schema\"\n");
    fleet.sql(&format!(
        "CREATE ROLE tenant_cat_owner; GRANT tenant_cat_owner TO {OPERATOR}; \
         CREATE SCHEMA tenant_cat AUTHORIZATION tenant_cat_owner"
    ));
    step(&fleet, 2);
    assert_eq!(Stock::new(&fleet, "cat").up().len(), 2);
    step(&fleet, 3);
    let up = fleet.up(&[]).run().ok();
    assert_eq!(target(&up, "cat")["applied"], serde_json::json!([3]));
    assert_eq!(Stock::new(&fleet, "cat").up(), []);
}

#[test]
fn a_schema_that_was_adopted_mended_and_taken_back_is_refinerys_as_well() {
    let fleet = Fleet::of_schemas(&["cat"]);
    step(&fleet, 2);
    step(&fleet, 4);
    fleet.migration("down/4__step_4.sql", "DROP TABLE step_4;\n");
    fleet.sql(
        "SET ROLE tenant_cat_owner; CREATE TABLE tenant_cat.step_2 (id bigint PRIMARY KEY); \
         DROP TABLE tenant_cat.refinery_schema_history",
    );
    let because = ["--reason", "a test", "--yes"];
    fleet.tenantctl(["migrate", "baseline", "--to", "2"]).args(because).run().ok();
    let stock = Stock::new(&fleet, "cat");
    assert_eq!(stock.history(), entries(&stock.migrations[..2]));
    assert_eq!(stock.up(), entries(&stock.migrations[2..]));

    fleet.sql("UPDATE tenant_cat.refinery_schema_history SET name = 'other' WHERE version = 2");
    assert!(stock.refusal().contains("V2__step_2"));
    fleet.tenantctl(["migrate", "repair", "--accept", "2"]).args(because).run().ok();
    assert_eq!(stock.up(), []);

    fleet.tenantctl(["migrate", "down", "--to", "2"]).args(because).run().ok();
    assert_eq!(stock.up(), entries(&stock.migrations[2..]));
}

#[test]
fn they_refuse_the_same_histories() {
    let fleet = Fleet::of_schemas(&["cat"]);
    step(&fleet, 3);
    fleet.up(&[]).run().ok();

    fleet.migration("V3__step_3.sql", "CREATE TABLE another ();\n");
    assert!(Stock::new(&fleet, "cat").refusal().contains("V3__step_3"));
    fleet.up(&[]).run().code(4);
    step(&fleet, 3);

    step(&fleet, 2);
    assert!(Stock::new(&fleet, "cat").refusal().contains("V2__step_2"));
    fleet.up(&[]).run().code(4);
    fleet.forget("V2__step_2.sql");

    fleet.forget("V3__step_3.sql");
    step(&fleet, 4);
    assert!(Stock::new(&fleet, "cat").refusal().contains("V3__step_3"));
    fleet.up(&[]).run().code(4);
    step(&fleet, 3);
    assert_eq!(Stock::new(&fleet, "cat").up().len(), 1);
    fleet.up(&["--check"]).run().ok();
}

#[test]
fn an_unversioned_migration_may_come_late_for_both() {
    let fleet = Fleet::of_schemas(&["cat", "dog"]);
    step(&fleet, 9);
    fleet.up(&[]).run().ok();
    fleet.migration("U3__late.sql", "CREATE TABLE late ();\n");
    assert_eq!(Stock::new(&fleet, "cat").up().len(), 1);
    let up = fleet.up(&[]).run().ok();
    assert_eq!(statuses(&up), ["cat up-to-date", "dog applied"]);
    assert_eq!(target(&up, "dog")["applied"], serde_json::json!([3]));
    assert_eq!(rows(&fleet, "tenant_cat"), rows(&fleet, "tenant_dog"));
    assert_eq!(Stock::new(&fleet, "dog").up(), []);
}

/// refinery's own program, from `TENANTCTL_REFINERY_CLI` or the PATH.
fn program() -> Option<OsString> {
    let named = std::env::var_os("TENANTCTL_REFINERY_CLI");
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| {
        let found = std::env::split_paths(&path).map(|place| place.join("refinery"));
        found.into_iter().find(|file| file.is_file()).map(Into::into)
    })
}

#[test]
fn the_stock_program_and_tenantctl_take_turns() {
    let Some(program) = program() else {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "warning: refinery_cli is not at hand: set TENANTCTL_REFINERY_CLI")
            .unwrap();
        return;
    };
    // The program knows neither sockets nor search_path: a login of its own leads it.
    let world = World::with(|options| {
        options.listen(Listen::Loopback(None)).hba("host all migrator 127.0.0.1/32 trust")
    });
    let fleet = Fleet::on(world).having(&["cat"]);
    fleet.sql(
        "CREATE ROLE migrator LOGIN; GRANT tenant_cat_owner TO migrator; \
         ALTER ROLE migrator SET role = tenant_cat_owner; \
         ALTER ROLE migrator SET search_path = tenant_cat",
    );
    let url = fleet.server().loopback_url("app", "migrator").unwrap();
    for version in [2, 4, 6] {
        step(&fleet, version);
        refinery(&program, &url, &fleet.path("migrations/tenant"));
        let status = fleet.status(&["--check"]).run().ok();
        assert_eq!(target(&status, "cat")["from"], version);

        step(&fleet, version + 1);
        let up = fleet.up(&[]).run().ok();
        assert_eq!(target(&up, "cat")["applied"], serde_json::json!([version + 1]));
    }
    refinery(&program, &url, &fleet.path("migrations/tenant"));
    let stock = Stock::new(&fleet, "cat");
    assert_eq!(stock.history(), entries(&stock.migrations));
}

fn refinery(program: &OsString, url: &str, directory: &Path) {
    let output = Command::new(program)
        .args(["migrate", "-d", "-m", "-e", "REFINERY_URL", "-p"])
        .arg(directory)
        .env("REFINERY_URL", url.replace("postgresql://", "postgres://"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stdout));
}
