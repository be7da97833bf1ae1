//! What happened to passwords, and how old they are. The passwords themselves only where they were
//! asked for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Credential, Failure, Verdict};
use crate::model::credential::Validity;
use crate::model::ident::Ident;
use crate::model::tenant::{ClusterName, Isolation, Placement, TenantId};

/// `credentials issue`, `rotate` and `revoke` over a selection of tenants.
#[derive(Debug)]
pub struct Credentials {
    /// Which of the three.
    pub verb: CredentialVerb,
    /// Whether nothing was done: the answer is what would be.
    pub dry_run: bool,
    /// One row per tenant, in the order of their ids.
    pub targets: Vec<CredentialTarget>,
    /// What a person should know beside it.
    pub notes: Vec<String>,
    /// Why it ended before its time, in words.
    pub stopped: Option<String>,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// Which command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialVerb {
    /// `credentials issue`.
    Issue,
    /// `credentials rotate`.
    Rotate,
    /// `credentials revoke`.
    Revoke,
}

impl CredentialVerb {
    /// The verb as it is typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Rotate => "rotate",
            Self::Revoke => "revoke",
        }
    }

    /// What was done to a tenant.
    pub fn done(self) -> &'static str {
        match self {
            Self::Issue => "issued",
            Self::Rotate => "rotated",
            Self::Revoke => "revoked",
        }
    }
}

/// One tenant.
#[derive(Clone, Debug)]
pub struct CredentialTarget {
    /// The tenant.
    pub tenant: TenantId,
    /// How it is isolated.
    pub isolation: Isolation,
    /// Where it lives.
    pub placement: Placement,
    /// How it stands.
    pub status: CredentialStatus,
    /// Why nothing was done.
    pub reason: Option<String>,
    /// What changed, login by login.
    pub logins: Vec<LoginChange>,
    /// Where the passwords were delivered.
    pub delivered: Vec<String>,
    /// The passwords, where they were asked for.
    pub secrets: Vec<Credential>,
    /// Sessions that were ended.
    pub ended: usize,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// How a tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialStatus {
    /// It was done.
    Done,
    /// A run that was cut off had done it; only the registry did not know.
    Finished,
    /// There was nothing to do.
    Unchanged,
    /// It would be done.
    Pending,
    /// It was not begun.
    Skipped,
    /// It failed.
    Failed,
}

impl CredentialStatus {
    /// The word in JSON and on screen.
    pub fn word(self, verb: CredentialVerb) -> &'static str {
        match self {
            Self::Done => verb.done(),
            Self::Finished => "finished",
            Self::Unchanged => "unchanged",
            Self::Pending => "pending",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// A login whose password changed.
#[derive(Clone, Debug)]
pub struct LoginChange {
    /// The role that the application works as.
    pub role: Ident,
    /// The role that logs in.
    pub login: Ident,
    /// Until when its password works.
    pub until: Validity,
    /// The login whose password it replaces, and until when that works.
    pub replaces: Option<(Ident, Validity)>,
    /// Sessions that the old one still has.
    pub old_sessions: usize,
}

impl Credentials {
    /// How many stand so.
    pub fn count(&self, status: CredentialStatus) -> usize {
        self.targets.iter().filter(|target| target.status == status).count()
    }

    pub(super) fn verdict(&self) -> Verdict {
        let failed = self.count(CredentialStatus::Failed);
        if self.interrupted {
            return Verdict::Interrupted;
        }
        let codes = self.targets.iter().filter_map(|target| Some(target.error.as_ref()?.code));
        Verdict::of_failures(failed, self.targets.len(), codes)
    }
}

/// `credentials list`.
#[derive(Debug)]
pub struct CredentialList {
    /// One row per login, those of a tenant beside each other.
    pub rows: Vec<CredentialRow>,
    /// Clusters that could not be asked, and why.
    pub unread: Vec<(ClusterName, Failure)>,
    /// What is older is old.
    pub max_age: SignedDuration,
    /// Whether old or ended passwords are a "no".
    pub check: bool,
}

/// One login.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// Whose it is; several, where they share the role.
    pub tenants: Vec<TenantId>,
    /// The cluster.
    pub cluster: ClusterName,
    /// The role that the application works as.
    pub role: Ident,
    /// The role that logs in.
    pub login: Ident,
    /// How it stands: `current`, `replaced`, `revoked`, or `unknown` when nothing was issued.
    pub state: &'static str,
    /// Since when.
    pub issued: Option<Timestamp>,
    /// How long that is ago.
    pub age: Option<SignedDuration>,
    /// Until when it works, as the server says.
    pub until: Validity,
    /// Sessions that began with it.
    pub sessions: usize,
    /// What is not well.
    pub worry: Option<Worry>,
}

/// What is not well with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worry {
    /// It is current, and does not work any more.
    Expired,
    /// It is current, and will not work for much longer.
    Expiring,
    /// It is older than it should be.
    Old,
    /// It has ended, and there are sessions that began with it.
    Lingering,
}

impl Worry {
    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Old => "old",
            Self::Lingering => "lingering",
        }
    }
}

impl CredentialList {
    pub(super) fn verdict(&self) -> Verdict {
        let worried =
            self.rows.iter().any(|row| matches!(row.worry, Some(Worry::Expired | Worry::Old)));
        if !self.unread.is_empty() {
            Verdict::Partial
        } else if self.check && worried {
            Verdict::No
        } else {
            Verdict::Done
        }
    }
}
