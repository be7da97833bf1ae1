//! What `adopt` entered into the registry, or would enter, and how it differs from what `create`
//! makes.

use std::time::Duration;

use super::{Failure, Verdict};
use crate::model::migration::Version;
use crate::model::tenant::Tenant;

/// Tenants that something else has made.
#[derive(Debug)]
pub struct Adopted {
    /// Whether nothing was done: the answer is what would be.
    pub dry_run: bool,
    /// One row per tenant, in the order of their ids.
    pub targets: Vec<AdoptedTarget>,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// One tenant.
#[derive(Debug)]
pub struct AdoptedTarget {
    /// The tenant, as the registry knows it from now on.
    pub tenant: Tenant,
    /// What it was found as: a schema, a database, a key.
    pub found: String,
    /// The version that its history records.
    pub version: Option<Version>,
    /// What `create` would do to it, in words.
    pub differences: Vec<String>,
    /// What else should be known.
    pub notes: Vec<String>,
    /// How it stands.
    pub status: AdoptedStatus,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// How a tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptedStatus {
    /// It was entered.
    Adopted,
    /// The registry knew it.
    Known,
    /// It would be entered.
    Pending,
    /// It was not begun.
    Skipped,
    /// It failed.
    Failed,
}

impl AdoptedStatus {
    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Known => "known",
            Self::Pending => "pending",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

impl Adopted {
    /// How many stand so.
    pub fn count(&self, status: AdoptedStatus) -> usize {
        self.targets.iter().filter(|target| target.status == status).count()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let failed = self.count(AdoptedStatus::Failed);
        if self.interrupted {
            return Verdict::Interrupted;
        }
        let codes = self.targets.iter().filter_map(|target| Some(target.error.as_ref()?.code));
        Verdict::of_failures(failed, self.targets.len(), codes)
    }
}
