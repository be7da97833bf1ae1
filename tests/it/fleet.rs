//! A fleet whose migrations a test writes itself, and what `migrate` says about it.

use std::fs;
use std::ops::Deref;

use serde_json::Value;

use crate::harness::{Invocation, Outcome, World};

/// The first migration of every tenant with a schema or database of its own.
pub const NOTES: (&str, &str) = ("V1__notes.sql", "CREATE TABLE notes (id bigint PRIMARY KEY);\n");

/// A world whose `tenants.toml` names `migrations/tenant` and `migrations/shared`.
///
/// It dereferences to its [`World`].
pub struct Fleet {
    world: World,
}

impl Fleet {
    /// No tenants yet; each set holds one migration.
    pub fn new() -> Self {
        Self::on(World::new())
    }

    /// As [`Fleet::new`], in a world that was made before.
    pub fn on(world: World) -> Self {
        Self::with(world, "")
    }

    /// As [`Fleet::on`], with more configuration.
    pub fn with(world: World, configuration: &str) -> Self {
        world.config(&format!(
            "max_connections = 10\n[migrations]\nschema = \"migrations/tenant\"\n\
             database = \"migrations/tenant\"\nshared = \"migrations/shared\"\n{configuration}"
        ));
        let fleet = Self { world };
        fleet.migration(NOTES.0, NOTES.1);
        fleet.shared_migration(
            "V1__notes.sql",
            "CREATE TABLE notes (tenant_id uuid NOT NULL, id bigint, PRIMARY KEY (tenant_id, id));\n",
        );
        fleet
    }

    /// Tenants with a schema each, at version 1.
    pub fn of_schemas(ids: &[&str]) -> Self {
        Self::new().having(ids)
    }

    /// Adds tenants with a schema each.
    pub fn having(self, ids: &[&str]) -> Self {
        for id in ids {
            self.create(id, "schema");
        }
        self
    }

    /// Makes a tenant.
    pub fn create(&self, id: &str, isolation: &str) {
        self.run(["create", id, "--isolation", isolation]).ok();
    }

    /// Writes a migration for tenants with a schema or database of their own.
    pub fn migration(&self, name: &str, sql: &str) {
        self.file(&format!("migrations/tenant/{name}"), sql);
    }

    /// Writes a migration of the shared schema.
    pub fn shared_migration(&self, name: &str, sql: &str) {
        self.file(&format!("migrations/shared/{name}"), sql);
    }

    /// Removes a migration that [`Fleet::migration`] wrote.
    pub fn forget(&self, name: &str) {
        fs::remove_file(self.path(&format!("migrations/tenant/{name}"))).unwrap();
    }

    /// `migrate up` with more arguments, answering in JSON. Files may be as simple as a test likes.
    pub fn up(&self, args: &[&str]) -> Invocation {
        self.tenantctl(["migrate", "up", "-o", "json", "--allow-lint"]).args(args)
    }

    /// `migrate status` with more arguments, answering in JSON.
    pub fn status(&self, args: &[&str]) -> Invocation {
        self.tenantctl(["migrate", "status", "-o", "json"]).args(args)
    }

    /// `version name` of every row in the history of a schema.
    pub fn history(&self, schema: &str) -> Vec<String> {
        self.history_in("app", schema)
    }

    /// As [`Fleet::history`], in another database.
    pub fn history_in(&self, database: &str, schema: &str) -> Vec<String> {
        let query = format!(
            "SELECT version || ' ' || name FROM {schema}.refinery_schema_history ORDER BY version"
        );
        self.rows_in(database, &query).concat()
    }

    /// The tables of a schema, without the history.
    pub fn tables(&self, schema: &str) -> Vec<String> {
        let query = format!(
            "SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' \
             AND tablename NOT IN ('refinery_schema_history', 'tenantctl_progress') ORDER BY 1"
        );
        self.rows(&query).concat()
    }
}

impl Deref for Fleet {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// The row of a tenant in the answer of `migrate`.
#[track_caller]
pub fn target(outcome: &Outcome, tenant: &str) -> Value {
    let answer = outcome.json();
    let targets = answer["targets"].as_array().unwrap();
    let found = targets.iter().find(|target| target["tenant"] == tenant);
    found.unwrap_or_else(|| panic!("no {tenant} in {}", outcome.transcript())).clone()
}

/// `tenant status`, tenant by tenant.
#[track_caller]
pub fn statuses(outcome: &Outcome) -> Vec<String> {
    let answer = outcome.json();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |target: &Value| format!("{} {}", word(&target["tenant"]), word(&target["status"]));
    answer["targets"].as_array().unwrap().iter().map(line).collect()
}

/// `ok, failed, skipped, pending` of the summary.
#[track_caller]
pub fn summary(outcome: &Outcome) -> [u64; 4] {
    let answer = outcome.json();
    ["ok", "failed", "skipped", "pending"].map(|word| answer["summary"][word].as_u64().unwrap())
}
