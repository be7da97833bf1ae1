//! What a rule found in a file.

use serde::Serialize;

use super::Rule;
use super::script::{Place, Source};
use crate::model::fingerprint;
use crate::model::severity::Severity;
use crate::sql::position::line_column;

/// One thing that is wrong in one place of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// The file, as a person names it.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
    /// The column behind the last character on that line that it is about.
    pub end_column: usize,
    /// That line of the file.
    pub source: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to write instead.
    pub fix: String,
    /// Stays the same while the file keeps its path and the message its names; it does not count
    /// lines.
    pub fingerprint: String,
}

/// A finding before its place is counted in lines.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) rule: &'static str,
    pub(super) severity: Severity,
    pub(super) at: Place,
    pub(super) message: String,
    pub(super) fix: String,
}

impl Draft {
    pub(super) fn new(
        rule: &Rule,
        at: &Place,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            rule: rule.id,
            severity: rule.severity,
            at: at.clone(),
            message: message.into(),
            fix: fix.into(),
        }
    }

    /// Makes it graver or lighter than its rule usually is.
    #[must_use]
    pub(super) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub(super) fn finish(self, source: &Source<'_>) -> Finding {
        let sql = source.sql;
        // What is missing at the end of a file is missing behind its last character.
        let last = sql.trim_end().len().saturating_sub(1);
        let start = line_column(sql, self.at.range.start.min(last));
        let line = sql.lines().nth(start.line - 1).unwrap_or_default().to_owned();
        let end = line_column(sql, self.at.range.end);
        let end_column = if end.line == start.line { end.column } else { line.chars().count() + 1 };
        Finding {
            rule: self.rule,
            severity: self.severity,
            file: source.path.to_owned(),
            line: start.line,
            column: start.column,
            end_column: end_column.max(start.column + 1),
            source: line,
            fingerprint: fingerprint::of([self.rule, source.path, &self.message]),
            message: self.message,
            fix: self.fix,
        }
    }
}
