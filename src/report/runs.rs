//! Runs, as `runs list` and `runs show` answer them.

use crate::model::run::{RunOverview, RunTarget};

/// The runs that the registry remembers.
#[derive(Debug)]
pub struct Runs {
    /// Newest first.
    pub runs: Vec<RunOverview>,
    /// Whether there is a registry that could remember runs.
    pub remembered: bool,
    /// Whether older ones were left out.
    pub more: bool,
}

/// One run and its tenants.
#[derive(Debug)]
pub struct ShownRun {
    /// The run, with all its tenants counted.
    pub overview: RunOverview,
    /// Those that were asked for, in the order of their ids.
    pub targets: Vec<RunTarget>,
}
