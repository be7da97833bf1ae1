//! What `verify-rls` answers: the findings, and from where on they are a "no".

use std::time::Duration;

use super::Verdict;
use super::findings::{self, FindingsReport};
use crate::audit::Severity;

/// An audit of the selected tenants.
#[derive(Debug)]
pub struct Verified {
    /// How many tenants were selected.
    pub tenants: usize,
    /// What was found.
    pub report: FindingsReport,
    /// From which severity on a finding is a "no".
    pub fail_on: Severity,
    /// How long it took.
    pub took: Duration,
}

impl Verified {
    pub(super) fn verdict(&self) -> Verdict {
        match self.report.verdict(self.fail_on) {
            findings::Verdict::Pass => Verdict::Done,
            findings::Verdict::Fail => Verdict::No,
        }
    }
}
