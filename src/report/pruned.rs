//! Runs that were forgotten, as `runs prune` answers.

use std::time::Duration;

use uuid::Uuid;

use super::Verdict;
use crate::model::run::RunOverview;
use crate::plan::retention::Stay;

/// A run that is old enough to go, and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRun {
    /// The run.
    pub run: Uuid,
    /// Why.
    pub why: Stay,
}

/// What was forgotten.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Whether the user stopped it; what was removed is.
    pub interrupted: bool,
    /// What was removed, or would be; newest first, as it was.
    pub runs: Vec<RunOverview>,
    /// What stays although it is old enough.
    pub kept: Vec<KeptRun>,
    /// How many runs there are now.
    pub left: usize,
    /// How long it took.
    pub took: Duration,
}

impl Pruned {
    /// What the exit status says.
    pub fn verdict(&self) -> Verdict {
        if self.interrupted { Verdict::Interrupted } else { Verdict::Done }
    }

    /// What is noted of tenants in the runs that go.
    pub fn tenants(&self) -> usize {
        self.runs.iter().map(RunOverview::tenants).sum()
    }
}
