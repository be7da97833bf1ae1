//! Use cases, one per file: they ask the edges for facts, let `plan` and `audit` decide, and tell
//! the observer what happens. They print nothing.

mod adopt;
mod backup;
mod baseline;
mod configuration;
mod converge;
mod create;
mod credentials;
mod demo;
mod doctor;
mod down;
mod erase;
mod explain;
mod export;
mod fleet;
mod goods;
mod import;
mod init;
mod life;
mod lint;
mod list;
mod metrics;
mod migrate;
mod migrate_plan;
mod moving;
mod new_migration;
mod prune_runs;
mod repair;
mod rewrite;
mod runs;
mod select;
mod set;
mod trail;
mod trail_log;
mod verify;
mod verify_schemas;
mod watching;

pub use adopt::{AdoptOptions, NamePattern, Quarry, adopt};
pub use backup::{BackupOptions, backup};
pub use baseline::baseline;
pub use configuration::configuration;
pub use create::{CreateOptions, create};
pub use credentials::{
    ChangeOptions, Delivery, Pattern, RevokeOptions, SecretFormat, Sink, change_credentials,
    list_credentials, revoke_credentials,
};
pub use demo::demo;
pub use doctor::doctor;
pub use down::{DownTo, down};
pub use erase::{EraseOptions, erase};
pub use explain::explain;
pub use export::{ExportOptions, export};
pub use import::{
    CloneOptions, FillOptions, ImportOptions, RestoreOptions, Wishes, clone, import, restore,
};
pub use init::init;
pub use life::{
    HoldChange, LifeOptions, LifeVerb, PurgeOptions, RenameOptions, TypedConsent, change_hold,
    change_life, purge, rename,
};
pub use lint::{LintOptions, lint, lint_pending, refuse_findings};
pub use list::{list, show};
pub use metrics::metrics;
pub use migrate::{StatusOptions, UpOptions, status, up};
pub use migrate_plan::{PlanOptions, plan_migrations, read_plan, refuse_stale};
pub use moving::{MoveOptions, abort_move, finish_move, move_status, relocate};
pub use new_migration::{NewOptions, new_migration};
pub use prune_runs::{PruneOptions, prune_runs};
pub use repair::repair;
pub use rewrite::{Consent, RewriteOptions};
pub use runs::{runs, show_run};
pub use select::{Selection, Selector};
pub use set::{SetOptions, set};
pub use trail_log::{audit_log, audit_verify};
pub use verify::{MatrixOptions, VerifyOptions, matrix, verify};
pub use verify_schemas::{SchemasOptions, verify_schemas};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Fleet;
use crate::error::Error;
use crate::migrations::{directory, embedded};
use crate::model::interrupt::Interrupt;
use crate::model::migration::{MigrationSet, Version};
use crate::model::tenant::Isolation;
use crate::pg::Servers;
use crate::report::event::Observer;

/// What every use case works with. Holds handles; behaviour lives in the use cases.
pub struct Context<'a> {
    /// The configuration.
    pub fleet: &'a Fleet,
    /// The clusters; shared, so that a task may outlive whoever began it.
    pub servers: &'a Arc<Servers>,
    /// The migration files, by isolation model, and the registry's own.
    pub sets: &'a Sets,
    /// Who is told what happens.
    pub observer: &'a dyn Observer,
    /// Whether somebody asked to stop.
    pub interrupt: &'a Interrupt,
    /// The command line, as it may be typed again, for the audit log. It holds no secret.
    pub asked: &'a str,
}

/// The clusters of a fleet, connected on demand by sessions that call themselves
/// `tenantctl/<command>`.
pub fn servers(fleet: &Fleet, command: &str) -> Arc<Servers> {
    let clusters = fleet
        .clusters
        .iter()
        .map(|(name, cluster)| (name.clone(), cluster.connection.clone(), cluster.max_connections));
    let servers =
        fleet.clusters.iter().fold(Servers::new(clusters, command), |servers, (name, cluster)| {
            servers
                .behind(name, cluster.pooler, cluster.direct.clone())
                .with_logins(name, cluster.logins.clone())
        });
    Arc::new(servers)
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
        let mut tenants: BTreeMap<Isolation, MigrationSet> = BTreeMap::new();
        for isolation in Isolation::ALL {
            let path = fleet.migrations.get(&isolation);
            let has_it = |read: &Isolation| path.is_some() && fleet.migrations.get(read) == path;
            let set = match (path, isolation) {
                // One directory of several models is read once.
                _ if let Some((_, same)) = tenants.iter().find(|(read, _)| has_it(read)) => {
                    same.clone()
                }
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

    /// The newest version of the files for each isolation model.
    pub fn heads(&self) -> BTreeMap<Isolation, Version> {
        let head = |isolation| Some((isolation, self.of(isolation).head()?));
        Isolation::ALL.into_iter().filter_map(head).collect()
    }

    /// The registry's own.
    pub fn registry(&self) -> &MigrationSet {
        &self.registry
    }
}
