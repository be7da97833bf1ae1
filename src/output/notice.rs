//! Findings of any command, as they are written for other tools: SARIF, `JUnit`, GitHub, Markdown.

use crate::model::severity::Severity;
use crate::report::{Explained, Report};

/// One finding, whoever found it.
pub(super) struct Notice<'a> {
    pub(super) rule: &'static str,
    pub(super) severity: Severity,
    pub(super) message: &'a str,
    pub(super) fix: String,
    pub(super) fingerprint: &'a str,
    pub(super) place: Place<'a>,
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

/// The findings of an answer.
pub(super) struct Notices<'a> {
    /// The command that found them.
    pub(super) command: &'static str,
    pub(super) all: Vec<Notice<'a>>,
    pub(super) fail_on: Severity,
}

impl Notices<'_> {
    /// The rules that found something, sorted.
    pub(super) fn rules(&self) -> Vec<Explained> {
        let mut ids: Vec<&str> = self.all.iter().map(|notice| notice.rule).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(Explained::find).collect()
    }
}

/// The findings of an answer, if it is one that has findings.
pub(super) fn notices(report: &Report) -> Option<Notices<'_>> {
    match report {
        Report::Linted(linted) => Some(Notices {
            command: "migrate lint",
            fail_on: linted.fail_on,
            all: linted
                .findings
                .iter()
                .map(|finding| Notice {
                    rule: finding.rule,
                    severity: finding.severity,
                    message: &finding.message,
                    fix: finding.fix.clone(),
                    fingerprint: &finding.fingerprint,
                    place: Place::File {
                        path: &finding.file,
                        line: finding.line,
                        column: finding.column,
                        end_column: finding.end_column,
                    },
                })
                .collect(),
        }),
        Report::Findings(verified) => Some(Notices {
            command: "verify-rls",
            fail_on: verified.fail_on,
            all: verified
                .report
                .findings
                .iter()
                .map(|finding| {
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
                        fingerprint: &finding.fingerprint,
                        place: Place::Object {
                            kind: object.kind,
                            name: parts.into_iter().flatten().collect::<Vec<_>>().join("/"),
                        },
                    }
                })
                .collect(),
        }),
        _ => None,
    }
}
