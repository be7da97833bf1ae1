//! What `migrate lint` answers.

use super::{FindingsSummary, Verdict};
use crate::lint::Finding;
use crate::model::severity::Severity;
use crate::model::tenant::Isolation;

/// A lint of migration files.
#[derive(Debug)]
pub struct Linted {
    /// What was looked at.
    pub sets: Vec<LintedSet>,
    /// What was found, set by set, in the order of the files and of the places in them.
    pub findings: Vec<Finding>,
    /// From which severity on a finding is a "no".
    pub fail_on: Severity,
}

/// One set of files.
#[derive(Clone, Debug)]
pub struct LintedSet {
    /// Its directory, or the name of a compiled-in set.
    pub name: String,
    /// The isolation model that it was judged for.
    pub isolation: Isolation,
    /// How many files were judged; others of the set only said what is there already.
    pub files: usize,
}

impl Linted {
    /// Findings by severity.
    pub fn summary(&self) -> FindingsSummary {
        FindingsSummary::of(self.findings.iter().map(|finding| finding.severity))
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.findings.iter().any(|finding| finding.severity >= self.fail_on) {
            Verdict::No
        } else {
            Verdict::Done
        }
    }
}
