//! Use cases, one per file: they ask the edges for facts, let `plan` and `audit` decide, and tell
//! the observer what happens. They print nothing.

mod configuration;
mod converge;
mod create;
mod credentials;
mod demo;
mod doctor;
mod fleet;
mod init;
mod list;
mod migrate;
mod migrate_plan;
mod select;
mod verify;
mod verify_schemas;

pub use configuration::configuration;
pub use create::{CreateOptions, create};
pub use demo::demo;
pub use doctor::doctor;
pub use init::init;
pub use list::{list, show};
pub use migrate::{StatusOptions, UpOptions, status, up};
pub use migrate_plan::{PlanOptions, plan_migrations, read_plan, refuse_stale};
pub use select::{Selection, Selector};
pub use verify::{VerifyOptions, explain, verify};
pub use verify_schemas::{SchemasOptions, verify_schemas};

use std::collections::BTreeMap;

use crate::config::Fleet;
use crate::error::Error;
use crate::migrations::{directory, embedded};
use crate::model::interrupt::Interrupt;
use crate::model::migration::MigrationSet;
use crate::model::tenant::Isolation;
use crate::pg::Servers;
use crate::report::event::Observer;

/// What every use case works with. Holds handles; behaviour lives in the use cases.
pub struct Context<'a> {
    /// The configuration.
    pub fleet: &'a Fleet,
    /// The clusters.
    pub servers: &'a Servers,
    /// The migration files, by isolation model, and the registry's own.
    pub sets: &'a Sets,
    /// Who is told what happens.
    pub observer: &'a dyn Observer,
    /// Whether somebody asked to stop.
    pub interrupt: &'a Interrupt,
}

/// The clusters of a fleet, connected on demand by sessions that call themselves
/// `tenantctl/<command>`.
pub fn servers(fleet: &Fleet, command: &str) -> Servers {
    let clusters = fleet
        .clusters
        .iter()
        .map(|(name, cluster)| (name.clone(), cluster.connection.clone(), cluster.max_connections));
    Servers::new(clusters, command)
}

/// The migration files, read and checked once, before anything is touched.
#[derive(Debug)]
pub struct Sets {
    tenants: BTreeMap<Isolation, MigrationSet>,
    registry: MigrationSet,
}

impl Sets {
    /// Reads the directories that the fleet names, and the compiled-in sets for the rest.
    ///
    /// # Errors
    ///
    /// `migrations` with everything that is wrong with a directory.
    pub fn load(fleet: &Fleet) -> Result<Self, Error> {
        let mut tenants = BTreeMap::new();
        for isolation in Isolation::ALL {
            let set = match (fleet.migrations.get(&isolation), isolation) {
                (Some(path), _) => directory::read(path)?,
                (None, Isolation::Shared) => embedded::shared()?,
                (None, Isolation::Schema | Isolation::Database) => embedded::tenant()?,
            };
            tenants.insert(isolation, set);
        }
        Ok(Self { tenants, registry: embedded::registry()? })
    }

    /// The files for one isolation model.
    pub fn of(&self, isolation: Isolation) -> &MigrationSet {
        // Every model has one: `load` goes through all of them.
        self.tenants.get(&isolation).unwrap_or(&self.registry)
    }

    /// The registry's own.
    pub fn registry(&self) -> &MigrationSet {
        &self.registry
    }
}
