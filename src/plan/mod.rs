//! Decisions: `Desired × Observed → Plan`. Pure: no connection, no clock, no randomness.

mod change;
pub mod credentials;
mod disagreement;
pub mod drift;
pub mod endurance;
pub mod erasing;
pub mod health;
pub mod life;
pub mod limits;
pub mod locks;
pub mod moving;
pub mod outside;
pub mod pending;
#[cfg(test)]
mod properties;
mod provision;
pub mod retention;
pub mod rewrite;
pub mod rollout;
mod statements;
mod summary;
pub mod task;
mod traces;
pub mod transfer;
pub mod waves;
#[cfg(test)]
mod world;

pub use change::{Change, CopyOf, Hazard, Helper, POLICY, policy_fingerprint};
pub use provision::{
    TEMPLATE_OWNER, TEMPLATE_PREFIX, ground, guard, is_guarded, provision, refuse_another_shape,
    wants_password,
};
pub use summary::summary;
pub use traces::leaves_traces;

use crate::model::ident::Ident;
use crate::model::observed::ServerFacts;
use crate::model::tenant::TenantId;

/// What would be done for one tenant, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The tenant.
    pub tenant: TenantId,
    /// The server that the statements are spelled for.
    pub server: ServerFacts,
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether more will be known, and planned, once these steps are done.
    pub continues: bool,
    /// What is not done, and why.
    pub notes: Vec<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whose objects it changes.
    pub reach: Reach,
    /// Where it runs, and as whom.
    pub site: Site,
    /// What it does.
    pub change: Change,
}

/// Whose objects a step changes: what must not be done by two at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Objects that every tenant of the layout uses.
    Layout,
    /// The tenant's own.
    Tenant,
}

/// Where a step runs, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The registry's database.
    Registry,
    /// Any database of the tenant's cluster, as the operator.
    Server,
    /// A database that others will be copies of.
    Template {
        /// Its name.
        database: Ident,
        /// The role to become; the operator itself without one.
        role: Option<Ident>,
    },
    /// The tenant's database.
    Database {
        /// The role to become; the operator itself without one.
        role: Option<Ident>,
    },
}

impl Site {
    /// The role to become, where it is not the operator's own.
    pub fn role(&self) -> Option<&Ident> {
        match self {
            Self::Registry | Self::Server => None,
            Self::Template { role, .. } | Self::Database { role } => role.as_ref(),
        }
    }
}

impl Plan {
    fn new(tenant: TenantId, server: ServerFacts) -> Self {
        Self { tenant, server, steps: Vec::new(), continues: false, notes: Vec::new() }
    }

    fn push(&mut self, reach: Reach, site: Site, change: Change) {
        self.steps.push(Step { reach, site, change });
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether a step changes objects that other tenants use.
    pub fn touches_layout(&self) -> bool {
        self.steps.iter().any(|step| step.reach == Reach::Layout)
    }

    /// What a person should know beforehand, each once.
    pub fn hazards(&self) -> Vec<Hazard> {
        let mut hazards: Vec<Hazard> =
            self.steps.iter().flat_map(|step| step.change.hazards()).collect();
        hazards.sort_unstable();
        hazards.dedup();
        hazards
    }
}
