//! What `suspend`, `resume`, `delete`, `undelete`, `hold`, `rename`, `purge` and `erase` did, or would
//! do.

use std::time::Duration;

use super::{Failure, PlannedStep, PurgeReceipt, Verdict};
use crate::error::Code;
use crate::model::ident::Ident;
use crate::model::life::Hold;
use crate::model::tenant::{State, Tenant, TenantId};

/// Tenants that moved on in their lives.
#[derive(Debug)]
pub struct Lived {
    /// The command, as it is typed.
    pub verb: &'static str,
    /// Whether nothing was done: the answer is what would be.
    pub dry_run: bool,
    /// In the order of their ids.
    pub targets: Vec<LivedTarget>,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// One tenant.
#[derive(Debug)]
pub struct LivedTarget {
    /// The tenant, as it was.
    pub tenant: Tenant,
    /// Where it stands now, or would stand.
    pub to: State,
    /// What was done, or would be.
    pub steps: Vec<PlannedStep>,
    /// How many sessions were ended.
    pub ended: usize,
    /// What a person should know beside it.
    pub notes: Vec<String>,
    /// When its grace ends.
    pub delete_after: Option<String>,
    /// What keeps it from being purged.
    pub holds: Vec<Hold>,
    /// What it is called now.
    pub renamed: Option<TenantId>,
    /// What else is called otherwise, or would be: what, its old name, its new one.
    pub names: Vec<(&'static str, Ident, Ident)>,
    /// What is left as a proof.
    pub receipt: Option<Box<PurgeReceipt>>,
    /// Why it failed.
    pub error: Option<Failure>,
}

impl LivedTarget {
    /// A tenant to which nothing has happened.
    pub fn new(tenant: Tenant) -> Self {
        Self {
            to: tenant.state,
            tenant,
            steps: Vec::new(),
            ended: 0,
            notes: Vec::new(),
            delete_after: None,
            holds: Vec::new(),
            renamed: None,
            names: Vec::new(),
            receipt: None,
            error: None,
        }
    }
}

impl Lived {
    /// How a tenant fared, in a word.
    pub fn status(&self, target: &LivedTarget) -> &'static str {
        match (&target.error, target.steps.is_empty(), self.dry_run) {
            (Some(_), ..) => "failed",
            (None, true, _) => "unchanged",
            (None, false, true) => "pending",
            (None, false, false) => "done",
        }
    }

    /// What the exit status says.
    pub fn verdict(&self) -> Verdict {
        if self.interrupted {
            return Verdict::Interrupted;
        }
        let codes: Vec<Code> = self
            .targets
            .iter()
            .filter_map(|target| target.error.as_ref().map(|error| error.code))
            .collect();
        Verdict::of_failures(codes.len(), self.targets.len(), codes.iter().copied())
    }
}
