//! What `set` changed of tenants, or would change.

use std::time::Duration;

use super::{Failure, Verdict};
use crate::model::tenant::{Isolation, Placement, TenantId};

/// `set` over a selection of tenants.
#[derive(Debug)]
pub struct Settled {
    /// Whether nothing was done: the answer is what would be.
    pub dry_run: bool,
    /// Whether tenants that differ from their tier are a "no".
    pub check: bool,
    /// One row per tenant, in the order of their ids.
    pub targets: Vec<SettledTarget>,
    /// Why it ended before its time, in words.
    pub stopped: Option<String>,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// One tenant.
#[derive(Clone, Debug)]
pub struct SettledTarget {
    /// The tenant.
    pub tenant: TenantId,
    /// How it is isolated.
    pub isolation: Isolation,
    /// Where it lives.
    pub placement: Placement,
    /// Its tier now.
    pub tier: Option<String>,
    /// What was changed, in words; what would be, of a dry run.
    pub changes: Vec<String>,
    /// What only somebody with more rights can change, as SQL.
    pub beyond: Vec<String>,
    /// How it stands.
    pub status: SettledStatus,
    /// Why nothing was done, or not all.
    pub reason: Option<String>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// How a tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettledStatus {
    /// It was changed, and is as it should be.
    Set,
    /// It was as it should be.
    Unchanged,
    /// It is not as it should be, and nothing was done.
    Differs,
    /// What the operator may change is changed; the rest is for somebody with more rights.
    Beyond,
    /// It was not begun.
    Skipped,
    /// It failed.
    Failed,
}

impl SettledStatus {
    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Unchanged => "unchanged",
            Self::Differs => "differs",
            Self::Beyond => "not-permitted",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

impl Settled {
    /// How many stand so.
    pub fn count(&self, status: SettledStatus) -> usize {
        self.targets.iter().filter(|target| target.status == status).count()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let failed = self.count(SettledStatus::Failed) + self.count(SettledStatus::Beyond);
        if self.interrupted {
            return Verdict::Interrupted;
        }
        if failed == 0 && self.check && self.count(SettledStatus::Differs) > 0 {
            return Verdict::No;
        }
        let codes = self.targets.iter().filter_map(|target| Some(target.error.as_ref()?.code));
        Verdict::of_failures(failed, self.targets.len(), codes)
    }
}
