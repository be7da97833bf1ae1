//! A run: one execution over a selection of tenants, and what its ledger keeps of each.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

use super::migration::Version;
use super::tenant::{Placement, TenantId};
use crate::error::{Code, Error};

/// What a run does to its tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// `migrate up`.
    Up,
    /// `migrate down`.
    Down,
}

impl RunKind {
    /// The word in the ledger, in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It was begun. Whether its process still lives, the server knows: it holds the run's lock.
    Running,
    /// It ended, and everything that it began with is done.
    Done,
    /// It ended, and some of its targets failed.
    Failed,
    /// It ended before its time: the failure budget was spent, or its time was up.
    Stopped,
    /// The user stopped it; what was begun was finished.
    Interrupted,
}

impl RunState {
    /// The word in the ledger, in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How one tenant of a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Held by somebody, and to be tried again.
    Waiting,
    /// It has what the run wanted to give it.
    Applied,
    /// It had everything already.
    UpToDate,
    /// It was not touched, and says why.
    Skipped,
    /// A migration failed, or its history and the files disagree, or it is not there.
    Failed,
}

impl TargetState {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Applied,
        Self::UpToDate,
        Self::Skipped,
        Self::Failed,
    ];

    /// The word in the ledger, in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Applied => "applied",
            Self::UpToDate => "up-to-date",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    /// Whether a resumed run leaves the tenant alone.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Applied | Self::UpToDate)
    }
}

macro_rules! words {
    ($type:ty, $what:literal, [$($value:expr),*]) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(word: &str) -> Result<Self, Error> {
                [$($value),*].into_iter().find(|value| value.word() == word).ok_or_else(|| {
                    Error::new(Code::RegistryNewer, format!("{word:?} is no {} that this tenantctl knows", $what))
                        .hint("the ledger was written by a newer tenantctl: use that one")
                })
            }
        }
    };
}

words!(RunKind, "kind of run", [Self::Up, Self::Down]);
words!(
    RunState,
    "state of a run",
    [Self::Running, Self::Done, Self::Failed, Self::Stopped, Self::Interrupted]
);
words!(
    TargetState,
    "state of a run's tenant",
    [
        Self::Pending,
        Self::Running,
        Self::Waiting,
        Self::Applied,
        Self::UpToDate,
        Self::Skipped,
        Self::Failed
    ]
);

/// What the ledger keeps of one tenant of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTarget {
    /// The tenant.
    pub tenant: TenantId,
    /// Where it lived when the run began.
    pub placement: Placement,
    /// Its version when the run began.
    pub from: Option<Version>,
    /// The version that the run is to bring it to.
    pub goal: Option<Version>,
    /// What the run applied (or took back), in its order.
    pub applied: Vec<Version>,
    /// How it stands.
    pub state: TargetState,
    /// Whom or what it waited for last, in words: the blocker with its pid and statement.
    pub cause: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// How long the last attempt took.
    pub took: Duration,
    /// Why it failed.
    pub error: Option<RunError>,
}

/// Why a tenant of a run failed, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    /// [`Code::id`] of the failure.
    pub code: String,
    /// The server's SQLSTATE.
    pub sqlstate: Option<String>,
    /// What was attempted, and what the server said.
    pub message: String,
    /// The file at fault, as `file:line:column`.
    pub location: Option<String>,
}

/// What the ledger keeps of a run beside its tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id, a UUID of version 7: later runs sort after earlier ones.
    pub id: Uuid,
    /// What it does.
    pub kind: RunKind,
    /// How it stands.
    pub state: RunState,
    /// When it began, as the registry's server printed it (RFC 3339).
    pub started: String,
    /// When it ended.
    pub finished: Option<String>,
    /// Who ran it: the role that logged in to the registry.
    pub actor: String,
    /// What it was asked for, in words that may be typed again: `--selector tier=pro --to 12`.
    pub asked: String,
    /// The version that the tenants were to be brought to; the newest of the files without one.
    pub to: Option<Version>,
}
