//! A run: one execution over a selection of tenants, and what its ledger keeps of each.

use std::collections::BTreeMap;
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

/// A run that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Its id, a UUID of version 7.
    pub id: Uuid,
    /// What it does.
    pub kind: RunKind,
    /// What it was asked for, in words that may be typed again.
    pub asked: String,
    /// The version that the tenants are to be brought to; the newest of the files without one.
    pub to: Option<Version>,
}

/// A run and how its tenants fared, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOverview {
    /// The run.
    pub run: Run,
    /// How many of its tenants stand how; a state in which none stands is not there.
    pub counts: BTreeMap<TargetState, usize>,
    /// The server's process that holds the run's lock: while there is one, the run goes on.
    pub process: Option<i32>,
    /// From its begin to its end, or until now.
    pub took: Duration,
}

impl RunOverview {
    /// Whether its process died before it could say how the run ended. What it was doing then, only
    /// the histories of its tenants tell.
    pub fn was_killed(&self) -> bool {
        self.run.state == RunState::Running && self.process.is_none()
    }

    /// How many tenants it has.
    pub fn tenants(&self) -> usize {
        self.counts.values().sum()
    }

    /// How many tenants stand in a state.
    pub fn count(&self, state: TargetState) -> usize {
        self.counts.get(&state).copied().unwrap_or_default()
    }

    /// How many tenants a resumed run would look at.
    pub fn left(&self) -> usize {
        self.counts.iter().filter(|(state, _)| !state.is_done()).map(|(_, number)| number).sum()
    }
}

/// How a person names a run: `last`, its id, or as much of the id as no other run begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunReference {
    /// The newest.
    Last,
    /// The one whose id begins with these lower-case digits; without dashes.
    Prefix(String),
}

impl FromStr for RunReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "last" {
            return Ok(Self::Last);
        }
        let digits = text.replace('-', "").to_ascii_lowercase();
        let fits = (1..=32).contains(&digits.len());
        if fits && digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Self::Prefix(digits));
        }
        Err(Error::new(
            Code::Usage,
            format!("{text:?} is no run: write last, or an id's beginning"),
        )
        .hint("see the ids with: tenantctl runs list"))
    }
}

impl fmt::Display for RunReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Prefix(digits) => {
                for (at, digit) in digits.char_indices() {
                    let dash = if matches!(at, 8 | 12 | 16 | 20) { "-" } else { "" };
                    write!(f, "{dash}{digit}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn words_are_read_back() {
        for state in TargetState::ALL {
            assert_eq!(state.word().parse::<TargetState>().unwrap(), state);
        }
        assert_eq!("lost".parse::<RunState>().unwrap_err().code, Code::RegistryNewer);
    }

    #[test]
    fn a_run_is_named_by_the_beginning_of_its_id() {
        let named = |text: &str| text.parse::<RunReference>().map(|run| run.to_string());
        assert_eq!(named("last").unwrap(), "last");
        assert_eq!(named("019A61C2-7").unwrap(), "019a61c2-7");
        let whole = "019a61c2-7f3e-7abc-8def-0123456789ab";
        assert_eq!(named(whole).unwrap(), whole);
        assert_eq!(named(&whole.replace('-', "")).unwrap(), whole);
        for wrong in ["", "-", "lastly", "019%", &format!("{whole}0")] {
            assert_eq!(named(wrong).unwrap_err().code, Code::Usage, "{wrong}");
        }
    }

    #[test]
    fn a_run_without_its_process_was_killed_unless_it_ended() {
        let overview = |state, process| RunOverview {
            run: Run {
                id: Uuid::nil(),
                kind: RunKind::Up,
                state,
                started: String::new(),
                finished: None,
                actor: String::new(),
                asked: String::new(),
                to: None,
            },
            counts: BTreeMap::from([(TargetState::Applied, 3), (TargetState::Failed, 2)]),
            process,
            took: Duration::ZERO,
        };
        assert!(overview(RunState::Running, None).was_killed());
        assert!(!overview(RunState::Running, Some(7)).was_killed());
        assert!(!overview(RunState::Failed, None).was_killed());
        let one = overview(RunState::Failed, None);
        assert_eq!((one.tenants(), one.left(), one.count(TargetState::Pending)), (5, 2, 0));
    }
}
