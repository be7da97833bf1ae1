//! What migrations did, or would do, target by target.

use std::time::Duration;

use uuid::Uuid;

use super::Verdict;
use crate::error::{Code, Error};
use crate::model::migration::Version;
use crate::model::tenant::{Isolation, Placement, TenantId};

/// `migrate up` and `migrate status` over a selection of tenants.
#[derive(Debug)]
pub struct MigrationRun {
    /// Which of the two.
    pub verb: Verb,
    /// The run's id; `status` has none.
    pub run: Option<Uuid>,
    /// One row per tenant, in the order of their ids.
    pub targets: Vec<TargetReport>,
    /// Whether pending migrations are a "no" (`--check`).
    pub check: bool,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// Which command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `migrate up`.
    Up,
    /// `migrate status`.
    Status,
}

/// One tenant.
#[derive(Debug)]
pub struct TargetReport {
    /// The tenant.
    pub tenant: TenantId,
    /// How it is isolated: tenants of shared tables are migrated together.
    pub isolation: Isolation,
    /// Where it lives.
    pub placement: Placement,
    /// The version before.
    pub from: Option<Version>,
    /// The version now.
    pub to: Option<Version>,
    /// What was applied.
    pub applied: Vec<Version>,
    /// What is still to be applied.
    pub pending: Vec<Version>,
    /// How it stands.
    pub status: Status,
    /// Why it failed, or was passed over.
    pub error: Option<Failure>,
    /// How long it took.
    pub took: Duration,
}

/// How a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Migrations were applied.
    Applied,
    /// It has everything.
    UpToDate,
    /// Migrations wait.
    Pending,
    /// It was not touched, and says why.
    Skipped,
    /// Its history and the files disagree.
    Diverged,
    /// Its schema or database is not there.
    Missing,
    /// A migration failed.
    Failed,
}

impl Status {
    /// All, best first.
    pub const ALL: [Self; 7] = [
        Self::Applied,
        Self::UpToDate,
        Self::Pending,
        Self::Skipped,
        Self::Diverged,
        Self::Missing,
        Self::Failed,
    ];

    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::UpToDate => "up-to-date",
            Self::Pending => "pending",
            Self::Skipped => "skipped",
            Self::Diverged => "diverged",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }
}

/// A failure as data: what a script reads.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind of failure it is.
    pub code: Code,
    /// The server's SQLSTATE.
    pub sqlstate: Option<String>,
    /// What was attempted, and what the server said.
    pub message: String,
    /// The file at fault.
    pub file: Option<String>,
    /// 1-based.
    pub line: Option<usize>,
    /// 1-based, in characters.
    pub column: Option<usize>,
    /// DETAIL, HINT and CONTEXT of the server, in that order.
    pub details: Vec<String>,
    /// What to do next.
    pub hints: Vec<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let answer = error.answer.as_deref();
        let message = match answer {
            Some(answer) => format!("{}: {}", error.message, answer.message),
            None => error.message.clone(),
        };
        let mut details = Vec::new();
        if let Some(answer) = answer {
            let named =
                [("detail", &answer.detail), ("hint", &answer.hint), ("context", &answer.context)];
            for (name, text) in named {
                details.extend(text.as_ref().map(|text| format!("{name}: {text}")));
            }
        }
        Self {
            code: error.code,
            sqlstate: answer.map(|answer| answer.sqlstate.clone()),
            message,
            file: error.location.as_ref().map(|location| location.file.clone()),
            line: error.location.as_ref().map(|location| location.line),
            column: error.location.as_ref().map(|location| location.column),
            details,
            hints: error.hints.clone(),
        }
    }
}

/// How many tenants stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// At the version that was asked for.
    pub ok: usize,
    /// Failed, diverged or missing.
    pub failed: usize,
    /// Not touched.
    pub skipped: usize,
    /// Migrations wait.
    pub pending: usize,
}

impl MigrationRun {
    /// Counts the targets.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for target in &self.targets {
            match target.status {
                Status::Applied | Status::UpToDate => summary.ok += 1,
                Status::Failed | Status::Diverged | Status::Missing => summary.failed += 1,
                Status::Skipped => summary.skipped += 1,
                Status::Pending => summary.pending += 1,
            }
        }
        summary
    }

    pub(super) fn verdict(&self) -> Verdict {
        let summary = self.summary();
        if self.interrupted {
            return Verdict::Interrupted;
        }
        if summary.failed > 0 {
            return if summary.failed == self.targets.len() {
                Verdict::Failed(self.shared_code())
            } else {
                Verdict::Partial
            };
        }
        if self.check && summary.pending + summary.skipped > 0 {
            return Verdict::No;
        }
        if summary.skipped > 0 && summary.skipped == self.targets.len() {
            return Verdict::Failed(self.shared_code());
        }
        Verdict::Done
    }

    /// The code of every failure, when they agree.
    fn shared_code(&self) -> Option<Code> {
        let mut codes = self.targets.iter().filter_map(|target| Some(target.error.as_ref()?.code));
        let first = codes.next()?;
        codes.all(|code| code == first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ident::Ident;
    use crate::model::tenant::ClusterName;

    fn run(check: bool, statuses: &[Status]) -> MigrationRun {
        let error = |status: &Status| match status {
            Status::Failed => Some(Failure::from(&Error::new(Code::Server, "apply"))),
            Status::Diverged => Some(Failure::from(&Error::new(Code::HistoryDiverged, "continue"))),
            _ => None,
        };
        let target = |status: &Status| TargetReport {
            tenant: TenantId::new("acme").unwrap(),
            isolation: Isolation::Schema,
            placement: Placement {
                cluster: ClusterName::new("default").unwrap(),
                database: Ident::new("app").unwrap(),
                schema: Ident::new("tenant_acme").unwrap(),
            },
            from: None,
            to: None,
            applied: Vec::new(),
            pending: Vec::new(),
            status: *status,
            error: error(status),
            took: Duration::ZERO,
        };
        MigrationRun {
            verb: Verb::Up,
            run: None,
            targets: statuses.iter().map(target).collect(),
            check,
            interrupted: false,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn some_failures_are_partial_and_only_failures_are_failed() {
        assert_eq!(run(false, &[Status::Applied, Status::Failed]).verdict(), Verdict::Partial);
        let all = |statuses: &[Status]| run(false, statuses).verdict();
        assert_eq!(all(&[Status::Failed, Status::Diverged]), Verdict::Failed(None));
        assert_eq!(
            all(&[Status::Diverged, Status::Diverged]),
            Verdict::Failed(Some(Code::HistoryDiverged))
        );
        assert_eq!(run(false, &[Status::Applied, Status::UpToDate]).verdict(), Verdict::Done);
    }

    #[test]
    fn pending_is_a_no_only_when_it_was_asked() {
        assert_eq!(run(true, &[Status::Pending]).verdict(), Verdict::No);
        assert_eq!(run(false, &[Status::Pending]).verdict(), Verdict::Done);
        assert_eq!(run(true, &[Status::UpToDate]).verdict(), Verdict::Done);
    }
}
