//! What `verify-rls` answers: the findings, what could not be audited, and what that amounts to.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::findings::{self, FindingsReport};
use super::{Failure, Verdict};
use crate::audit::{Allow, Known, Pairs, Severity};
use crate::error::Code;
use crate::model::ident::Ident;
use crate::model::tenant::ClusterName;

/// An audit of the selected tenants.
#[derive(Debug)]
pub struct Verified {
    /// How many tenants were selected.
    pub tenants: usize,
    /// The databases that were begun, by cluster and name.
    pub databases: Vec<AuditedDatabase>,
    /// How many databases were not begun because somebody asked to stop.
    pub untouched: usize,
    /// What was found.
    pub report: FindingsReport,
    /// The file with the findings that were there before.
    pub baseline: Option<PathBuf>,
    /// The file that the findings of this audit were written to, and how many it knows.
    pub written_baseline: Option<(PathBuf, usize)>,
    /// What was there before, was looked for, and is found no more.
    pub gone: Vec<Known>,
    /// Exceptions that cover nothing, where the audit would have seen it.
    pub unused: Vec<Allow>,
    /// Exceptions that are over. They are a "no" until somebody renews or removes them.
    pub expired: Vec<Allow>,
    /// The files that the fixes were written to; none when nobody asked.
    pub fixes: Option<Vec<FixFile>>,
    /// From which severity on a finding is a "no".
    pub fail_on: Severity,
    /// Which tenants acted against which; none when nobody did.
    pub pairs: Option<Pairs>,
    /// Whether somebody asked to stop before the end.
    pub interrupted: bool,
    /// How long it took.
    pub took: Duration,
}

/// The fixes for one cluster, written.
#[derive(Clone, Debug, Serialize)]
pub struct FixFile {
    /// The cluster.
    pub cluster: String,
    /// The databases that it must be run in.
    pub databases: Vec<String>,
    /// Where it is.
    pub file: PathBuf,
    /// How many statements it has.
    pub statements: usize,
    /// How many findings need a decision instead.
    pub decisions: usize,
}

/// One database of an audit.
#[derive(Clone, Debug)]
pub struct AuditedDatabase {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub database: Ident,
    /// How many selected tenants live in it.
    pub tenants: usize,
    /// How many findings there are in it; what concerns the whole cluster is counted in each.
    pub findings: usize,
    /// Why it could not be audited.
    pub error: Option<Failure>,
}

impl AuditedDatabase {
    /// The word in JSON.
    pub fn status(&self) -> &'static str {
        match &self.error {
            None => "audited",
            Some(_) if self.was_interrupted() => "interrupted",
            Some(_) => "failed",
        }
    }

    /// Whether its audit was cut short because somebody asked to stop.
    pub fn was_interrupted(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.code == Code::Interrupted)
    }
}

impl Verified {
    /// The databases that could not be audited, each with why.
    pub fn failures(&self) -> impl Iterator<Item = (&AuditedDatabase, &Failure)> {
        self.databases.iter().filter_map(|database| Some((database, database.error.as_ref()?)))
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.interrupted {
            return Verdict::Interrupted;
        }
        // What was found is a "no", whatever the rest would have answered.
        let found = self.report.verdict(self.fail_on) == findings::Verdict::Fail;
        if found || !self.expired.is_empty() {
            return Verdict::No;
        }
        completeness(&self.databases)
    }
}

/// Whether every database was looked at.
pub(super) fn completeness(databases: &[AuditedDatabase]) -> Verdict {
    let failures = databases.iter().filter_map(|database| database.error.as_ref());
    let codes: Vec<Code> = failures.map(|failure| failure.code).collect();
    match codes.as_slice() {
        [] => Verdict::Done,
        [first, rest @ ..] if codes.len() == databases.len() => {
            Verdict::Failed(rest.iter().all(|code| code == first).then_some(*first))
        }
        _ => Verdict::Partial,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Error;

    fn audited(codes: &[Option<Code>]) -> Verified {
        let database = |code: &Option<Code>| AuditedDatabase {
            cluster: ClusterName::new("eu-1").unwrap(),
            database: Ident::new("app").unwrap(),
            tenants: 1,
            findings: 0,
            error: code.map(|code| Failure::from(&Error::new(code, "audit eu-1/app"))),
        };
        Verified {
            tenants: codes.len(),
            databases: codes.iter().map(database).collect(),
            untouched: 0,
            report: FindingsReport::default(),
            baseline: None,
            written_baseline: None,
            gone: Vec::new(),
            unused: Vec::new(),
            expired: Vec::new(),
            fixes: None,
            fail_on: Severity::High,
            pairs: None,
            interrupted: false,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_database_that_was_not_audited_is_no_pass() {
        let gone = Some(Code::Unreachable);
        assert_eq!(audited(&[None, None]).verdict(), Verdict::Done);
        assert_eq!(audited(&[None, gone]).verdict(), Verdict::Partial);
        assert_eq!(audited(&[gone, gone]).verdict(), Verdict::Failed(gone));
        let several = audited(&[gone, Some(Code::AuthFailed)]);
        assert_eq!(several.verdict(), Verdict::Failed(None));
        assert_eq!(several.databases[0].status(), "failed");
        let mut stopped = audited(&[None]);
        stopped.interrupted = true;
        assert_eq!(stopped.verdict(), Verdict::Interrupted);
    }
}
