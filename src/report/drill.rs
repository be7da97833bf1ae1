//! Whether a backup can be restored, and holds what was there.

use std::time::Duration;

use super::Verdict;
use crate::model::migration::Version;

/// A backup that was restored beside, compared and dropped.
#[derive(Debug)]
pub struct Drill {
    /// The tenant that it is of.
    pub tenant: String,
    /// Where it is.
    pub place: String,
    /// When it was made.
    pub made_at: String,
    /// The version of its schema.
    pub version: Option<Version>,
    /// Whether the restored schema is at that version.
    pub same_version: bool,
    /// Every table that was recorded.
    pub tables: Vec<Restored>,
    /// How long it took.
    pub took: Duration,
}

/// A table that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The table.
    pub table: String,
    /// How many rows it had.
    pub recorded: u64,
    /// How many it has; none where it was not restored.
    pub found: Option<u64>,
    /// Whether the rows are the same ones.
    pub same_content: bool,
}

impl Restored {
    /// Whether nothing is missing, and nothing else.
    pub fn is_same(&self) -> bool {
        self.same_content && self.found == Some(self.recorded)
    }
}

impl Drill {
    /// Whether all of it came back.
    pub fn is_whole(&self) -> bool {
        self.same_version && self.tables.iter().all(Restored::is_same)
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.is_whole() { Verdict::Done } else { Verdict::No }
    }
}
