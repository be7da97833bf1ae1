//! What `verify-rls matrix` answers: who can do what.

use std::time::Duration;

use super::verified::completeness;
use super::{AuditedDatabase, Failure, Verdict};
use crate::audit::Reached;

/// What every role of the application can do with every object.
#[derive(Debug)]
pub struct Matrix {
    /// How many tenants were selected.
    pub tenants: usize,
    /// The databases that were begun, by cluster and name.
    pub databases: Vec<AuditedDatabase>,
    /// How many databases were not begun because somebody asked to stop.
    pub untouched: usize,
    /// Who can do what, by database, object and role; nothing about who can do nothing.
    pub reached: Vec<Reached>,
    /// Whether somebody asked to stop before the end.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

impl Matrix {
    /// The databases that could not be read, each with why.
    pub fn failures(&self) -> impl Iterator<Item = (&AuditedDatabase, &Failure)> {
        self.databases.iter().filter_map(|database| Some((database, database.error.as_ref()?)))
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.interrupted { Verdict::Interrupted } else { completeness(&self.databases) }
    }
}
