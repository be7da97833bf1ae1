//! What the preflight of migration files has to say, as findings.

use super::{Finding, Rule};
use crate::model::fingerprint;
use crate::model::severity::Severity;
use crate::sql::position::Position;

pub(super) static RULE: Rule = Rule {
    id: "unusable-file",
    severity: Severity::Critical,
    title: "a file that no migration would run",
    why: "Before anything is migrated, names, encodings and statements of all files are checked; one file that fails stops every command that needs the set. The checksum of a file must be the same on every machine, its SQL must be for a server and not for psql, and its transaction is tenantctl's.",
    example: "\\i other.sql\nCOMMIT;",
    fix: "As the finding says: rename the file, save it as UTF-8 with LF, or write plain SQL.",
};

/// A finding about a file that cannot be used, wherever in it, or in its name, the reason is.
pub fn unusable(
    path: &str,
    position: Option<Position>,
    source: &str,
    what: &str,
    fix: &str,
) -> Finding {
    let at = position.unwrap_or(Position::START);
    Finding {
        rule: RULE.id,
        severity: RULE.severity,
        file: path.to_owned(),
        line: at.line,
        column: at.column,
        end_column: at.column + 1,
        source: source.lines().nth(at.line - 1).unwrap_or_default().to_owned(),
        message: what.to_owned(),
        fix: fix.to_owned(),
        fingerprint: fingerprint::of([RULE.id, path, what]),
    }
}
