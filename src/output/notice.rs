//! Findings of any command, as they are written for other tools: SARIF, `JUnit`, GitHub, Markdown.

use crate::audit::{Finding, Suppressed, Suppression};
use crate::model::severity::Severity;
use crate::report::{Explained, Linted, Report, Verified};

/// One finding, whoever found it.
pub(super) struct Notice<'a> {
    pub(super) rule: &'static str,
    pub(super) severity: Severity,
    pub(super) message: &'a str,
    pub(super) fix: String,
    /// Statements that show it.
    pub(super) reproduce: Option<&'a str>,
    pub(super) fingerprint: &'a str,
    pub(super) place: Place<'a>,
    /// Why it does not count.
    pub(super) suppressed: Option<&'a Suppression>,
}

impl Notice<'_> {
    /// Whether it makes the answer a "no".
    pub(super) fn fails(&self, fail_on: Severity) -> bool {
        self.suppressed.is_none() && self.severity >= fail_on
    }
}

/// Why a finding does not count, in words.
pub(super) fn justification(suppression: &Suppression) -> String {
    match suppression {
        Suppression::Baseline => "known: it is in the baseline".to_owned(),
        Suppression::Allow { reason, expires } => format!("allowed until {expires}: {reason}"),
    }
}

/// Where a finding is.
pub(super) enum Place<'a> {
    /// In a file: lines and columns from 1, the end behind the last character.
    File { path: &'a str, line: usize, column: usize, end_column: usize },
    /// On a server.
    Object { kind: &'a str, name: String },
}

impl Place<'_> {
    /// The place as people name it.
    pub(super) fn label(&self) -> String {
        match self {
            Self::File { path, line, column, .. } => format!("{path}:{line}:{column}"),
            Self::Object { kind, name } => format!("{kind} {name}"),
        }
    }

    /// What several findings may have in common: the file, or the server's object.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::File { path, .. } => (*path).to_owned(),
            Self::Object { name, .. } => name.clone(),
        }
    }
}

/// Something about the answer itself.
pub(super) struct Remark {
    /// What, in a word or two.
    pub(super) title: &'static str,
    /// What exactly.
    pub(super) message: String,
    /// Whether it keeps the answer from being a "yes".
    pub(super) grave: bool,
}

/// The findings of an answer.
pub(super) struct Notices<'a> {
    /// The command that found them.
    pub(super) command: &'static str,
    /// Those that count come first.
    pub(super) all: Vec<Notice<'a>>,
    pub(super) fail_on: Severity,
    pub(super) remarks: Vec<Remark>,
    /// Whether findings are compared with those that were there before.
    pub(super) compared: bool,
    /// Whether everything that was asked for was looked at.
    pub(super) whole: bool,
}

impl Notices<'_> {
    /// The rules that found something, sorted.
    pub(super) fn rules(&self) -> Vec<Explained> {
        let mut ids: Vec<&str> = self.all.iter().map(|notice| notice.rule).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(Explained::find).collect()
    }

    /// The findings that count.
    pub(super) fn open(&self) -> impl Iterator<Item = &Notice<'_>> {
        self.all.iter().filter(|notice| notice.suppressed.is_none())
    }

    /// Whether the answer is a "no", or none at all.
    pub(super) fn fail(&self) -> bool {
        self.all.iter().any(|notice| notice.fails(self.fail_on))
            || self.remarks.iter().any(|remark| remark.grave)
    }
}

/// The findings of an answer, if it is one that has findings.
pub(super) fn notices(report: &Report) -> Option<Notices<'_>> {
    match report {
        Report::Linted(linted) => Some(of_files(linted)),
        Report::Findings(verified) => Some(of_servers(verified)),
        _ => None,
    }
}

fn of_files(linted: &Linted) -> Notices<'_> {
    let all = linted
        .findings
        .iter()
        .map(|finding| Notice {
            rule: finding.rule,
            severity: finding.severity,
            message: &finding.message,
            fix: finding.fix.clone(),
            reproduce: None,
            fingerprint: &finding.fingerprint,
            place: Place::File {
                path: &finding.file,
                line: finding.line,
                column: finding.column,
                end_column: finding.end_column,
            },
            suppressed: None,
        })
        .collect();
    Notices {
        command: "migrate lint",
        fail_on: linted.fail_on,
        all,
        remarks: Vec::new(),
        compared: false,
        whole: true,
    }
}

fn of_servers(verified: &Verified) -> Notices<'_> {
    let report = &verified.report;
    let open = report.findings.iter().map(|finding| notice(finding, None));
    let suppressed = report
        .suppressed
        .iter()
        .map(|Suppressed { finding, suppression }| notice(finding, Some(suppression)));
    Notices {
        command: "verify-rls",
        fail_on: verified.fail_on,
        all: open.chain(suppressed).collect(),
        remarks: remarks(verified),
        compared: verified.baseline.is_some() || verified.written_baseline.is_some(),
        whole: !verified.interrupted && verified.failures().next().is_none(),
    }
}

fn notice<'a>(finding: &'a Finding, suppressed: Option<&'a Suppression>) -> Notice<'a> {
    let object = &finding.object;
    let parts = [
        Some(object.cluster.as_str()),
        object.database.as_deref(),
        object.parent.as_deref(),
        Some(object.name.as_str()),
    ];
    Notice {
        rule: finding.rule,
        severity: finding.severity,
        message: &finding.message,
        fix: finding.fix.to_string(),
        reproduce: finding.reproduce.as_deref(),
        fingerprint: &finding.fingerprint,
        place: Place::Object {
            kind: object.kind,
            name: parts.into_iter().flatten().collect::<Vec<_>>().join("/"),
        },
        suppressed,
    }
}

fn remarks(verified: &Verified) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for (database, failure) in verified.failures() {
        let name = format!("{}/{}", database.cluster, database.database.as_str());
        let message = format!("{name}: {}", failure.message);
        remarks.push(Remark { title: "not audited", message, grave: true });
    }
    if verified.untouched > 0 {
        let number = crate::model::count(verified.untouched, "database");
        let message = format!("interrupted before {number}");
        remarks.push(Remark { title: "not audited", message, grave: true });
    }
    for one in &verified.expired {
        let message = format!("{one} (until {}): {}", one.expires, one.reason);
        remarks.push(Remark { title: "exception is over", message, grave: true });
    }
    for one in &verified.unused {
        let message = format!("{one}: {}", one.reason);
        remarks.push(Remark { title: "exception covers nothing", message, grave: false });
    }
    for one in &verified.gone {
        let message = format!("{} on {} is found no more", one.rule, one.name);
        remarks.push(Remark { title: "gone from the baseline", message, grave: false });
    }
    let silent = verified.report.not_probed.len();
    if silent > 0 {
        let message =
            format!("{}; -o json says which and why", crate::model::count(silent, "attempt"));
        remarks.push(Remark { title: "not probed", message, grave: false });
    }
    for assumption in &verified.report.assumptions {
        remarks.push(Remark { title: "assumed", message: assumption.clone(), grave: false });
    }
    remarks
}
