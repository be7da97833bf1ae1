//! What the server said about a migration: the kind of failure, and its place in the file.

use tokio_postgres::error::{DbError, ErrorPosition};

use super::answer::{is_lost, server_answer};
use crate::error::{Code, Error};
use crate::sql::position::{Position, line_column, line_column_of_character};
use crate::sql::scan::{Shape, Statement, statements};

/// What a server said about a migration. A migration may raise any SQLSTATE it likes: only those
/// that nobody raises by hand say what kind of failure it is.
pub(super) fn refused(server: &tokio_postgres::Error, attempt: String) -> Error {
    let Some(answer) = server_answer(server) else {
        let lost = is_lost(server);
        let failure = Error::new(if lost { Code::Unreachable } else { Code::Bug }, attempt);
        return failure.hint("the connection to the server was lost: look into the server's log");
    };
    let code = match answer.sqlstate.as_str() {
        "42501" => Code::Permission,
        "55P03" => Code::LockBusy,
        "57P01" | "57P02" => Code::Unreachable,
        _ => Code::Server,
    };
    Error::new(code, attempt).answered(answer)
}

/// Where in a file a failure stands: where the server says; or, when it speaks of a query inside a
/// function, where that query stands in the statement; or where the statement begins that failed
/// after `done` others. `before` characters of what was sent stand before the file. Most refusals
/// of data and of existing objects come without a place.
pub(super) fn place(
    sql: &str,
    error: &tokio_postgres::Error,
    done: usize,
    before: usize,
) -> Option<Position> {
    let refusal = error.as_db_error()?;
    if let Some(ErrorPosition::Original(at)) = refusal.position() {
        let at = usize::try_from(*at).ok()?.saturating_sub(before);
        return Some(line_column_of_character(sql, at));
    }
    place_in_statement(sql, &nth(sql, done)?, refusal)
}

/// As [`place`], for a statement that was sent alone: the server counts from its own beginning.
pub(super) fn place_alone(
    sql: &str,
    error: &tokio_postgres::Error,
    done: usize,
) -> Option<Position> {
    let refusal = error.as_db_error()?;
    let statement = nth(sql, done)?;
    if let Some(ErrorPosition::Original(at)) = refusal.position() {
        let skipped = sql[..statement.range.start].chars().count();
        return Some(line_column_of_character(sql, skipped + usize::try_from(*at).ok()?));
    }
    place_in_statement(sql, &statement, refusal)
}

fn nth(sql: &str, done: usize) -> Option<Statement<'_>> {
    statements(sql).filter(|statement| statement.shape != Shape::Blank).nth(done)
}

fn place_in_statement(sql: &str, statement: &Statement<'_>, refusal: &DbError) -> Option<Position> {
    if let Some(ErrorPosition::Internal { position, query }) = refusal.position() {
        let mut found = statement.text.match_indices(query.as_str());
        if let (Some((at, _)), None) = (found.next(), found.next()) {
            let ahead = usize::try_from(*position).ok()?.saturating_sub(1);
            let inside = query.char_indices().nth(ahead).map_or(query.len(), |(at, _)| at);
            return Some(line_column(sql, statement.range.start + at + inside));
        }
    }
    Some(statement.position)
}
