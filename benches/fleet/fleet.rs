//! Fleets of tenants that are made quickly, and that tenantctl takes for its own.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tenantctl::pg::server::SUPERUSER;

use crate::harness::{OPERATOR, World};
use crate::jobs::Bench;
use crate::limit;

/// The twelve files that a tenant is made by.
pub const FILES: [&str; 12] = [
    "V1__organisations",
    "V2__teams",
    "V3__members",
    "V4__projects",
    "V5__tasks",
    "V6__comments",
    "V7__attachments",
    "V8__invoices",
    "V9__payments",
    "V10__webhooks",
    "V11__deliveries",
    "V12__audit_entries",
];

/// Four of the twelve tables: what schemas of a large fleet hold besides their history.
const TABLES: [&str; 4] = ["projects", "tasks", "members", "invoices"];

/// The role that owns every tenant's objects, and the one that the application uses.
pub const OWNER: &str = "bench_owner";
pub const APPLICATION: &str = "bench_app";

/// The database that fleets are copied from: it holds a registry without tenants.
const REGISTRY: &str = "bench_registry";

/// As many schemas are made in one transaction, which holds a lock on everything in them,
const AT_ONCE: usize = 20;
/// and as many transactions at the same time.
const MAKERS: usize = 4;

/// A migration file, and what refinery's history says about it.
#[derive(Clone)]
pub struct File {
    pub stem: String,
    pub sql: String,
    pub record: String,
}

impl File {
    fn new(stem: &str, sql: String) -> Self {
        let unit = refinery::Migration::unapplied(stem, &sql).unwrap();
        let record = format!(
            "({}, '{}', '2026-01-01T00:00:00.000000000Z', '{}')",
            unit.version(),
            unit.name(),
            unit.checksum()
        );
        Self { stem: stem.to_owned(), sql, record }
    }

    /// One of [`FILES`], or `V13__priority`.
    pub fn of_workload(stem: &str) -> Self {
        let path = workload().join(format!("{stem}.sql"));
        Self::new(stem, fs::read_to_string(path).unwrap())
    }

    /// A column with a default, and an index on it: another one for every version.
    pub fn another(version: usize) -> Self {
        let table = TABLES[version % TABLES.len()];
        let sql = format!(
            "ALTER TABLE {table} ADD COLUMN extra_{version} integer NOT NULL DEFAULT 0;\n\
             CREATE INDEX {table}_extra_{version} ON {table} (extra_{version});\n"
        );
        Self::new(&format!("V{version}__extra"), sql)
    }
}

pub fn workload() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/workload")
}

/// What every fleet of a world needs: roles, and a registry to copy.
pub fn prepare(world: &World, binary: &Path) {
    world.sql(&format!(
        "CREATE ROLE {OWNER}; CREATE ROLE {APPLICATION}; GRANT {OWNER} TO {OPERATOR}"
    ));
    world.config("");
    let url = world.operator_url();
    let seed = ["create", "seed", "--isolation", "schema"];
    crate::tool::run(binary, &world.work_dir(), seed, &[("DATABASE_URL", &url)], None).ok();
    world.sql("DROP SCHEMA tenant_seed CASCADE");
    world.sql("DELETE FROM tenantctl.tenants");
    world.sql_in("postgres", &format!("ALTER DATABASE app RENAME TO {REGISTRY}"));
}

/// Tenants of one model, with a registry and migration files of their own.
pub struct Fleet<'w> {
    world: &'w World,
    pub name: String,
    pub size: usize,
    pub directory: PathBuf,
    /// The version of the newest file.
    head: Cell<usize>,
}

/// What tenants are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Schemas with nothing in them.
    Empty,
    /// Schemas with all that the twelve files make.
    Whole,
    /// Schemas with four plain tables, and the history of the twelve files: for large fleets.
    Plain,
    /// Databases with the same four.
    Databases,
}

impl<'w> Fleet<'w> {
    /// Makes one. It takes a few milliseconds per tenant.
    pub fn make(bench: &Bench<'w>, name: &str, kind: Kind, size: usize) -> Self {
        let world = bench.world;
        let directory = world.path(name);
        fs::create_dir_all(directory.join("migrations")).unwrap();
        let fleet = Self { world, name: name.to_owned(), size, directory, head: Cell::new(12) };
        for stem in FILES {
            fleet.write(&File::of_workload(stem));
        }
        fleet.config("tenants.toml", &fleet.operator_url());
        fleet.fsync("off");
        world.sql_in("postgres", &format!("CREATE DATABASE {name} TEMPLATE {REGISTRY}"));
        match kind {
            Kind::Empty => fleet.schemas("SELECT"),
            Kind::Whole => fleet.schemas(&whole()),
            Kind::Plain => fleet.schemas(&tables()),
            Kind::Databases => fleet.databases(),
        }
        fleet.register(kind);
        for table in ["pg_class", "pg_namespace", "pg_attribute", "pg_index", "pg_depend"] {
            world.sql_in(name, &format!("VACUUM ANALYZE pg_catalog.{table}"));
        }
        world.sql_in(name, "VACUUM ANALYZE tenantctl.tenants");
        world.sql_in("postgres", "CHECKPOINT");
        if bench.options.fsync {
            fleet.fsync("on");
        }
        fleet
    }

    /// What is made for the measurement may be lost in a power cut; what is measured may not.
    fn fsync(&self, fsync: &str) {
        self.world.sql_in("postgres", &format!("ALTER SYSTEM SET fsync = {fsync}"));
        self.world.sql_in("postgres", "SELECT pg_reload_conf()");
        let set = || self.world.rows_in("postgres", "SHOW fsync").concat() == [fsync];
        while !set() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn schemas(&self, tables: &str) {
        let ids: Vec<usize> = (0..self.size).collect();
        let messages: Vec<String> = ids
            .chunks(AT_ONCE)
            .map(|ids| {
                let mut create = String::from("BEGIN;\n");
                let mut fill = format!("SET LOCAL ROLE {OWNER};\n");
                for id in ids {
                    let schema = schema(*id);
                    writeln!(create, "CREATE SCHEMA {schema} AUTHORIZATION {OWNER};").unwrap();
                    writeln!(fill, "SET LOCAL search_path = {schema}; {tables};").unwrap();
                }
                format!("{create}{fill}COMMIT")
            })
            .collect();
        limit::messages(&self.world.url(&self.name, SUPERUSER), &messages, MAKERS);
    }

    fn databases(&self) {
        let template = format!("{}_template", self.name);
        self.world.sql_in("postgres", &format!("CREATE DATABASE {template} TEMPLATE template0"));
        self.world.sql_in(
            &template,
            &format!(
                "CREATE SCHEMA app AUTHORIZATION {OWNER}; SET ROLE {OWNER}; SET search_path = app; {}",
                tables()
            ),
        );
        for id in 0..self.size {
            let database = self.database(id);
            self.world
                .sql_in("postgres", &format!("CREATE DATABASE {database} TEMPLATE {template}"));
        }
    }

    fn register(&self, kind: Kind) {
        let rows: Vec<String> = (0..self.size)
            .map(|id| {
                let (isolation, database, schema) = match kind {
                    Kind::Databases => ("database", self.database(id), "app".to_owned()),
                    _ => ("schema", self.name.clone(), schema(id)),
                };
                format!("('{}', '{isolation}', '{database}', '{schema}')", tenant(id))
            })
            .collect();
        self.world.sql_in(
            &self.name,
            &format!(
                "INSERT INTO tenantctl.tenants \
                   (id, uuid, key, isolation, cluster, database, schema, owner, roles, state) \
                 SELECT id, gen_random_uuid(), id, isolation, 'main', database, schema, \
                   '{OWNER}', '{{{APPLICATION}}}', 'active' \
                 FROM (VALUES {}) AS t (id, isolation, database, schema)",
                rows.join(", ")
            ),
        );
    }

    /// Writes a configuration that reaches the fleet by a URL.
    pub fn config(&self, file: &str, url: &str) {
        let text = format!(
            "[clusters.main]\nurl = \"{url}\"\n[migrations]\nschema = \"migrations\"\n\
             database = \"migrations\"\n"
        );
        fs::write(self.directory.join(file), text).unwrap();
    }

    pub fn operator_url(&self) -> String {
        self.world.url(&self.name, OPERATOR)
    }

    pub fn database(&self, id: usize) -> String {
        format!("{}_{}", self.name, tenant(id))
    }

    fn write(&self, file: &File) {
        let path = self.directory.join(format!("migrations/{}.sql", file.stem));
        fs::write(path, &file.sql).unwrap();
    }

    /// Adds a migration that no tenant has yet.
    pub fn another(&self) -> File {
        self.head.set(self.head.get() + 1);
        let file = File::another(self.head.get());
        self.write(&file);
        file
    }

    /// Removes its database; its tenants must be schemas.
    pub fn drop(self) {
        self.world.sql_in("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

pub fn schema(id: usize) -> String {
    format!("tenant_{}", tenant(id))
}

pub fn tenant(id: usize) -> String {
    format!("t{id:05}")
}

/// refinery's own statement.
const HISTORY: &str = "CREATE TABLE IF NOT EXISTS refinery_schema_history(\n\
    version INT8 PRIMARY KEY,\n name VARCHAR(255),\n applied_on VARCHAR(255),\n \
    checksum VARCHAR(255))";

fn tables() -> String {
    let mut sql = String::new();
    for table in TABLES {
        write!(
            sql,
            "CREATE TABLE {table} (id uuid PRIMARY KEY, title text NOT NULL, \
             created_at timestamptz NOT NULL DEFAULT now()); \
             CREATE INDEX {table}_created ON {table} (created_at); "
        )
        .unwrap();
    }
    format!("{sql}{}", history())
}

fn whole() -> String {
    let files: Vec<String> = FILES.iter().map(|stem| File::of_workload(stem).sql).collect();
    format!("{}{}", files.concat(), history())
}

/// The history that the twelve files leave.
fn history() -> String {
    let rows: Vec<String> = FILES.iter().map(|stem| File::of_workload(stem).record).collect();
    format!("{HISTORY}; INSERT INTO refinery_schema_history VALUES {}", rows.join(", "))
}

/// All that a tenant needs, as one message and one transaction.
pub fn message(schema: &str, files: &[File], with_history: bool) -> String {
    let mut message = format!("BEGIN; SET LOCAL search_path = {schema}; SET LOCAL ROLE {OWNER}; ");
    if with_history {
        write!(message, "{HISTORY}; ").unwrap();
    }
    for file in files {
        write!(
            message,
            "{}; INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
             VALUES {}; ",
            file.sql, file.record
        )
        .unwrap();
    }
    message.push_str("COMMIT");
    message
}
