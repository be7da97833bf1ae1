//! What `migrate baseline`, `repair` and `down` did to histories, or would do.

use std::time::Duration;

use super::{Failure, Status, Verdict};
use crate::model::migration::Version;
use crate::model::tenant::{Isolation, Placement, TenantId};
use crate::plan::rewrite::RowChange;

/// Histories that were rewritten, or would be.
#[derive(Debug)]
pub struct Rewritten {
    /// Which of the three.
    pub verb: Rewriting,
    /// Whether nothing was done: the answer is what would be.
    pub dry_run: bool,
    /// Why, in the words of whoever asked for it.
    pub reason: String,
    /// One row per tenant, in the order of their ids.
    pub targets: Vec<RewrittenTarget>,
    /// What a person should know beside it.
    pub notes: Vec<String>,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// Which command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewriting {
    /// `migrate baseline`.
    Baseline,
    /// `migrate repair`.
    Repair,
    /// `migrate down`.
    Down,
}

impl Rewriting {
    /// The verb as it is typed, in JSON and in the audit trail.
    pub fn word(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Repair => "repair",
            Self::Down => "down",
        }
    }
}

/// One tenant.
#[derive(Debug)]
pub struct RewrittenTarget {
    /// The tenant.
    pub tenant: TenantId,
    /// How it is isolated: the history of shared tables is that of all who share them.
    pub isolation: Isolation,
    /// Where it lives.
    pub placement: Placement,
    /// The version before.
    pub from: Option<Version>,
    /// The version now; of a dry run, the version that it would have.
    pub to: Option<Version>,
    /// The rows of the history that change, in the order in which they do.
    pub changes: Vec<RowChange>,
    /// The rows that are left as they are, for want of somebody who accepts it.
    pub refused: Vec<RowChange>,
    /// How it stands.
    pub status: Status,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// How many tenants stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As it was asked for.
    pub ok: usize,
    /// Failed, diverged or missing.
    pub failed: usize,
    /// Not touched.
    pub skipped: usize,
    /// Would be changed.
    pub pending: usize,
}

impl Rewritten {
    /// Counts the targets.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for target in &self.targets {
            match target.status {
                Status::Applied | Status::UpToDate => counts.ok += 1,
                Status::Failed | Status::Diverged | Status::Missing => counts.failed += 1,
                Status::Skipped => counts.skipped += 1,
                Status::Pending => counts.pending += 1,
            }
        }
        counts
    }

    /// Whether anything is changed, or would be.
    pub fn is_empty(&self) -> bool {
        self.targets.iter().all(|target| target.changes.is_empty())
    }

    pub(super) fn verdict(&self) -> Verdict {
        let failed = self.counts().failed;
        if self.interrupted {
            return Verdict::Interrupted;
        }
        let codes = self.targets.iter().filter_map(|target| Some(target.error.as_ref()?.code));
        Verdict::of_failures(failed, self.targets.len(), codes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::{Code, Error};
    use crate::model::ident::Ident;
    use crate::model::tenant::ClusterName;

    fn verdict(codes: &[Option<Code>]) -> Verdict {
        let target = |code: &Option<Code>| RewrittenTarget {
            tenant: TenantId::new("acme").unwrap(),
            isolation: Isolation::Schema,
            placement: Placement {
                cluster: ClusterName::new("default").unwrap(),
                database: Ident::new("app").unwrap(),
                schema: Ident::new("tenant_acme").unwrap(),
            },
            from: None,
            to: None,
            changes: Vec::new(),
            refused: Vec::new(),
            status: if code.is_some() { Status::Failed } else { Status::Applied },
            error: code.map(|code| Failure::from(&Error::new(code, "mend"))),
        };
        let report = Rewritten {
            verb: Rewriting::Repair,
            dry_run: false,
            reason: "x".to_owned(),
            targets: codes.iter().map(target).collect(),
            notes: Vec::new(),
            interrupted: false,
            took: Duration::ZERO,
        };
        report.verdict()
    }

    #[test]
    fn the_verdict_is_that_of_the_failures() {
        let refused = Some(Code::Refused);
        assert_eq!(verdict(&[None, None]), Verdict::Done);
        assert_eq!(verdict(&[None, refused]), Verdict::Partial);
        assert_eq!(verdict(&[refused, refused]), Verdict::Failed(refused));
        assert_eq!(verdict(&[refused, Some(Code::Server)]), Verdict::Failed(None));
    }
}
