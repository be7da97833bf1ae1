//! What migrations did, or would do, target by target.

use std::collections::BTreeMap;
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
    /// Why it ended before its time, in words: the failure budget was spent, its time was up.
    pub stopped: Option<String>,
    /// Whether a ledger keeps the run, so that `--resume` goes on with it.
    pub resumable: bool,
    /// The newest version of the files, by isolation model.
    pub heads: BTreeMap<Isolation, Version>,
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
#[derive(Clone, Debug)]
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
    /// Which repeatable files were applied, or are still to be applied.
    pub repeatables: Vec<String>,
    /// How it stands.
    pub status: Status,
    /// Why it failed, or was passed over.
    pub error: Option<Failure>,
    /// How often it was tried.
    pub attempts: u32,
    /// Whom or what it waited for last, in words: the blocker with its pid and statement.
    pub waited: Option<String>,
    /// How the last run that touched it failed, when none has succeeded since.
    pub last_failure: Option<PastFailure>,
    /// How long it took.
    pub took: Duration,
}

impl TargetReport {
    /// A tenant that has everything and was not touched.
    pub fn new(tenant: TenantId, isolation: Isolation, placement: Placement) -> Self {
        Self {
            tenant,
            isolation,
            placement,
            from: None,
            to: None,
            applied: Vec::new(),
            pending: Vec::new(),
            repeatables: Vec::new(),
            status: Status::UpToDate,
            error: None,
            attempts: 0,
            waited: None,
            last_failure: None,
            took: Duration::ZERO,
        }
    }

    /// Whether its history was read: what has no version then has none.
    pub fn version_is_known(&self) -> bool {
        self.to.is_some()
            || !self.pending.is_empty()
            || !self.repeatables.is_empty()
            || matches!(self.status, Status::Applied | Status::UpToDate)
    }

    /// Its failure as it would read for any other tenant: what must agree for two to be one.
    pub fn failure_alike(&self) -> Option<String> {
        let Failure { message, file, line, .. } = self.error.as_ref()?;
        Some(format!("{} {file:?} {line:?} {}", self.status.word(), self.nameless(message)))
    }

    /// The failure of the last run, likewise.
    pub fn past_failure_alike(&self) -> Option<String> {
        let past = self.last_failure.as_ref()?;
        Some(format!("{} {}", past.run, self.nameless(&past.message)))
    }

    /// A text without the names that are this tenant's alone.
    fn nameless(&self, text: &str) -> String {
        let own = [
            self.tenant.as_str(),
            self.placement.schema.as_str(),
            self.placement.database.as_str(),
        ];
        let mut nameless = String::new();
        // Whole words: tenant `a` is not every a of the text.
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let mut rest = text;
        while let Some(begin) = rest.find(is_name) {
            let end = rest[begin..].find(|c| !is_name(c)).map_or(rest.len(), |end| begin + end);
            let word = &rest[begin..end];
            nameless.push_str(&rest[..begin]);
            nameless.push_str(if own.contains(&word) { "…" } else { word });
            rest = &rest[end..];
        }
        nameless.push_str(rest);
        nameless
    }
}

/// A failure that an earlier run left behind, as its ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastFailure {
    /// The run.
    pub run: Uuid,
    /// What was attempted, and what the server said.
    pub message: String,
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
            hints: error.advice(),
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

/// How many tenants of one isolation model have one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionCount {
    /// The isolation model: each has its own files, and so its own versions.
    pub isolation: Isolation,
    /// The version; `None` where nothing was ever applied.
    pub version: Option<Version>,
    /// How many tenants.
    pub tenants: usize,
}

impl MigrationRun {
    /// An answer about these tenants, sorted by their ids, that took no time.
    pub fn new(verb: Verb, mut targets: Vec<TargetReport>) -> Self {
        targets.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        Self {
            verb,
            run: None,
            targets,
            check: false,
            interrupted: false,
            stopped: None,
            resumable: false,
            heads: BTreeMap::new(),
            took: Duration::ZERO,
        }
    }

    /// How many tenants have which version now, by isolation model, oldest first. Tenants whose
    /// history could not be read are in none: nobody knows their version.
    pub fn versions(&self) -> Vec<VersionCount> {
        let mut counts: BTreeMap<(Isolation, Option<Version>), usize> = BTreeMap::new();
        for target in self.targets.iter().filter(|target| target.version_is_known()) {
            *counts.entry((target.isolation, target.to)).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|((isolation, version), tenants)| VersionCount { isolation, version, tenants })
            .collect()
    }

    /// Whether a resumed run would have something to do: tenants are left, and a ledger knows them.
    pub fn has_rest(&self) -> bool {
        let left = |target: &TargetReport| {
            matches!(target.status, Status::Pending | Status::Failed | Status::Diverged)
        };
        self.resumable && self.run.is_some() && self.targets.iter().any(left)
    }

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
        if self.stopped.is_some() && summary.pending + summary.skipped > 0 {
            return Verdict::Partial;
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
        let target = |status: &Status| {
            let placement = Placement {
                cluster: ClusterName::new("default").unwrap(),
                database: Ident::new("app").unwrap(),
                schema: Ident::new("tenant_acme").unwrap(),
            };
            let acme = TenantId::new("acme").unwrap();
            let mut target = TargetReport::new(acme, Isolation::Schema, placement);
            target.status = *status;
            target.error = error(status);
            target
        };
        let mut run = MigrationRun::new(Verb::Up, statuses.iter().map(target).collect());
        run.check = check;
        run
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

    #[test]
    fn a_run_that_ended_early_is_partial_while_something_is_left() {
        let stopped = |statuses: &[Status]| {
            let mut run = run(false, statuses);
            run.stopped = Some("its time was up".to_owned());
            run.verdict()
        };
        assert_eq!(stopped(&[Status::Applied, Status::Pending]), Verdict::Partial);
        assert_eq!(stopped(&[Status::Failed, Status::Pending]), Verdict::Partial);
        assert_eq!(stopped(&[Status::Applied, Status::UpToDate]), Verdict::Done);
    }

    #[test]
    fn versions_are_counted_where_they_are_known() {
        let mut run =
            run(false, &[Status::UpToDate, Status::Pending, Status::Pending, Status::Missing]);
        run.targets[0].to = Some(Version(2));
        run.targets[1].pending = vec![Version(1)];
        run.targets[2].repeatables = vec!["R__views".to_owned()];
        let mut unread = run.targets[1].clone();
        unread.pending.clear();
        run.targets.push(unread);
        let count = |version: Option<i64>, tenants| VersionCount {
            isolation: Isolation::Schema,
            version: version.map(Version),
            tenants,
        };
        assert_eq!(run.versions(), [count(None, 2), count(Some(2), 1)]);
    }

    #[test]
    fn only_a_run_that_a_ledger_keeps_is_resumed() {
        let mut run = run(false, &[Status::Applied, Status::Failed]);
        run.run = Some(Uuid::nil());
        assert!(!run.has_rest());
        run.resumable = true;
        assert!(run.has_rest());
        run.targets.pop();
        assert!(!run.has_rest());
    }

    #[test]
    fn failures_that_differ_in_the_tenant_alone_are_alike() {
        let failed = |id: &str, message: String| {
            let placement = Placement {
                cluster: ClusterName::new("default").unwrap(),
                database: Ident::new("app").unwrap(),
                schema: Ident::new(format!("tenant_{id}")).unwrap(),
            };
            let tenant = TenantId::new(id).unwrap();
            let mut target = TargetReport::new(tenant, Isolation::Schema, placement);
            target.error = Some(Failure::from(&Error::new(Code::Server, message)));
            target.failure_alike()
        };
        let tags =
            |id: &str| failed(id, format!("apply V2 to tenant_{id}: a tag of {id} is \"odd\""));
        assert_eq!(tags("dog"), tags("elk"));
        assert_ne!(tags("dog"), failed("dog", "apply V2 to tenant_dog: no tag".to_owned()));
        // A name inside a word is no name.
        assert_eq!(failed("app", "apply V2".to_owned()), failed("dog", "apply V2".to_owned()));
    }
}
