//! What a command answers, as a value: its verdict is known before a byte of it is rendered.

mod adopted;
mod compared;
mod configuration;
mod credentials;
mod demo;
mod doctor;
mod drill;
mod erased;
pub mod event;
mod explained;
mod findings;
mod linted;
mod lived;
mod matrix;
mod migration;
mod moved;
mod new_migration;
mod planned;
mod provisioned;
mod pruned;
mod receipt;
mod rewritten;
mod rollout;
mod runs;
mod settled;
mod tenants;
mod trail;
mod transferred;
mod verified;

pub use adopted::{Adopted, AdoptedStatus, AdoptedTarget};
pub use compared::{Compared, ComparedGroup, Deviant, Flawed, FromFiles, Norm, Subject, Unread};
pub use configuration::{Configuration, ShownCluster, ShownValue};
pub use credentials::{
    CredentialList, CredentialRow, CredentialStatus, CredentialTarget, CredentialVerb, Credentials,
    LoginChange, Worry,
};
pub use demo::{Demo, End, Kept, KeptTenant, Scene, Trial};
pub use doctor::{Check, Doctor, Health};
pub use drill::{Drill, Restored};
pub use erased::{ErasedLink, ErasedTable, Erasing};
pub use explained::Explained;
pub use findings::{Coverage, FindingsReport, NotProbed, Summary as FindingsSummary};
pub use linted::{Linted, LintedSet};
pub use lived::{Lived, LivedTarget};
pub use matrix::Matrix;
pub use migration::{
    Failure, MigrationRun, PastFailure, Status, Summary, TargetReport, Verb, VersionCount,
};
pub use moved::{Announced, Moved, MovedHow, Moves};
pub use new_migration::NewMigration;
pub use planned::{Planned, PlannedStep};
pub use provisioned::{Credential, Outcome, Provisioned};
pub use pruned::{KeptRun, Pruned};
pub use receipt::{PurgeReceipt, Receipt, ReceiptTable};
pub use rewritten::{Counts, Rewriting, Rewritten, RewrittenTarget};
pub use rollout::{PlannedSql, RolloutPlan};
pub use runs::{Runs, ShownRun};
pub use settled::{Settled, SettledStatus, SettledTarget};
pub use tenants::{KnownPassword, Listed, Source, Tenants};
pub use trail::{Log, LogVerified};
pub use transferred::{CopiedTable, Transferred};
pub use verified::{AuditedDatabase, FixFile, Verified};

use crate::error::Code;

/// The answer of a command.
#[derive(Debug)]
pub enum Report {
    /// `create`.
    Provisioned(Box<Provisioned>),
    /// `create --dry-run`.
    Planned(Box<Planned>),
    /// `credentials issue`, `credentials rotate`, `credentials revoke`.
    Credentials(Credentials),
    /// `set`.
    Settled(Settled),
    /// `adopt`.
    Adopted(Adopted),
    /// `credentials list`.
    CredentialList(CredentialList),
    /// `list`.
    Tenants(Tenants),
    /// `show`.
    Tenant(Box<Listed>),
    /// `migrate up`, `migrate status`.
    Migration(MigrationRun),
    /// `move`, `move finish`, `move abort`.
    Moved(Box<Moved>),
    /// `move status`.
    Moves(Moves),
    /// `erase --where-file`.
    Erasing(Box<Erasing>),
    /// `runs list`.
    Runs(Runs),
    /// `runs show`.
    Run(Box<ShownRun>),
    /// `runs prune`.
    Pruned(Pruned),
    /// `suspend`, `resume`, `delete`, `undelete`, `hold`, `rename`, `purge`, `erase`.
    Lived(Box<Lived>),
    /// `audit log`.
    Log(Log),
    /// `audit verify`.
    LogVerified(LogVerified),
    /// `metrics`.
    Metrics(MigrationRun),
    /// `migrate baseline`, `migrate repair`, `migrate down`.
    Rewritten(Rewritten),
    /// `migrate plan`.
    Rollout(Box<RolloutPlan>),
    /// `migrate verify`.
    Compared(Compared),
    /// `verify-rls`.
    Findings(Box<Verified>),
    /// `verify-rls matrix`.
    Matrix(Box<Matrix>),
    /// `explain RULE`.
    Rule(Explained),
    /// `explain`: every rule.
    Rules(Vec<Explained>),
    /// `migrate lint`.
    Linted(Box<Linted>),
    /// `migrate new`.
    NewMigration(NewMigration),
    /// `doctor`.
    Doctor(Doctor),
    /// `config show`.
    Configuration(Configuration),
    /// `demo`.
    Demo(Box<Demo>),
    /// `export`, `import`, `clone`, `backup`, `restore`.
    Transferred(Box<Transferred>),
    /// `restore --verify`.
    Drill(Box<Drill>),
    /// Text that is the same in every format: completions, a manual page, a file's name.
    Text(String),
}

/// What the exit status says about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or nothing to do.
    Done,
    /// The answer is "no": findings, pending migrations, a failed check.
    No,
    /// Some targets failed.
    Partial,
    /// Everything that was tried failed; the code, when all failures have the same.
    Failed(Option<Code>),
    /// The user stopped it; what was begun was finished.
    Interrupted,
}

impl Verdict {
    /// When so many of these targets failed, with these codes.
    fn of_failures(failed: usize, targets: usize, mut codes: impl Iterator<Item = Code>) -> Self {
        if failed == 0 {
            return Self::Done;
        }
        if failed < targets {
            return Self::Partial;
        }
        let first = codes.next();
        Self::Failed(first.filter(|first| codes.all(|code| code == *first)))
    }

    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => "no",
            Self::Partial => "partial",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Report {
    /// What the exit status says.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Migration(run) => run.verdict(),
            Self::Credentials(credentials) => credentials.verdict(),
            Self::CredentialList(list) => list.verdict(),
            Self::Settled(settled) => settled.verdict(),
            Self::Adopted(adopted) => adopted.verdict(),
            Self::Rewritten(rewritten) => rewritten.verdict(),
            Self::Rollout(rollout) => rollout.verdict(),
            Self::Compared(compared) => compared.verdict(),
            Self::Pruned(pruned) => pruned.verdict(),
            Self::Lived(lived) => lived.verdict(),
            Self::LogVerified(verified) => verified.verdict(),
            Self::Doctor(doctor) => doctor.verdict(),
            Self::Findings(verified) => verified.verdict(),
            Self::Matrix(matrix) => matrix.verdict(),
            Self::Linted(linted) => linted.verdict(),
            Self::Demo(demo) => demo.verdict(),
            Self::Drill(drill) => drill.verdict(),
            _ => Verdict::Done,
        }
    }
}
