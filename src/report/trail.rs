//! The audit log, as `audit log` and `audit verify` answer it.

use super::Verdict;
use crate::model::trail::{EventHash, Head, LoggedEvent, Tampering};

/// Events.
#[derive(Debug)]
pub struct Log {
    /// Newest first.
    pub events: Vec<LoggedEvent>,
    /// Whether there is a registry that keeps a log.
    pub kept: bool,
    /// Whether older ones were left out.
    pub more: bool,
}

/// Whether the log is what was written.
#[derive(Debug)]
pub struct LogVerified {
    /// How many events there are.
    pub events: u64,
    /// The newest.
    pub head: Head,
    /// The hash that was kept elsewhere, if one was given.
    pub expected: Option<EventHash>,
    /// Where it is not what was written.
    pub tampered: Vec<Tampering>,
}

impl LogVerified {
    /// "No" when anything was tampered with.
    pub fn verdict(&self) -> Verdict {
        if self.tampered.is_empty() { Verdict::Done } else { Verdict::No }
    }
}
