//! Several statements, ours and files', in one message: one transaction, one answer to wait for.
//!
//! The server stops at the first statement that it refuses and passes over the rest, so nothing is
//! done behind a failure; which statement that was follows from how many were answered.

use tokio_postgres::Client;

use super::carry::carry;
use super::refusal::{place_behind, refused};
use crate::error::{Error, Location};
use crate::sql::Sql;
use crate::sql::scan::{Shape, statements};

/// A message that is being written.
#[derive(Default)]
pub(super) struct Script<'a> {
    text: String,
    parts: Vec<Part<'a>>,
}

/// One piece of it.
struct Part<'a> {
    /// What it is for, in words that may follow "error:".
    attempt: String,
    /// The file, when it is one.
    file: Option<(&'a str, &'a str)>,
    /// How many characters stand before it.
    before: usize,
    /// How many answers it gets.
    statements: usize,
}

/// The statement that the server refused.
pub(super) struct Refusal {
    /// The failure, with the file and the place when it stands in one.
    pub(super) error: Error,
    /// The server's SQLSTATE, when a statement of ours was refused; of a file's it means nothing,
    /// since its author may raise what they like.
    pub(super) ours: Option<String>,
}

impl<'a> Script<'a> {
    /// Adds statements of ours.
    pub(super) fn ours(&mut self, attempt: impl Into<String>, sql: &Sql) {
        self.push(attempt.into(), None, sql.as_str());
    }

    /// Adds what refinery wrote: its table is one that we named, its values were checked when the
    /// set was read.
    pub(super) fn refinerys(&mut self, attempt: impl Into<String>, text: &str) {
        self.push(attempt.into(), None, text);
    }

    /// Adds a file, as its author wrote it.
    pub(super) fn file(&mut self, attempt: impl Into<String>, path: &'a str, sql: &'a str) {
        self.push(attempt.into(), Some((path, sql)), sql);
    }

    fn push(&mut self, attempt: String, file: Option<(&'a str, &'a str)>, sql: &str) {
        let answered = statements(sql).filter(|one| one.shape != Shape::Blank).count();
        let before = self.text.chars().count();
        self.parts.push(Part { attempt, file, before, statements: answered });
        self.text.push_str(sql);
        // A comment without a line's end would swallow what comes next; an empty statement is none.
        self.text.push_str("\n;\n");
    }

    /// Sends it, and leaves no transaction open when it fails.
    ///
    /// # Errors
    ///
    /// What the server refused.
    pub(super) async fn send(&self, session: &Client) -> Result<(), Refusal> {
        let Err((done, server)) = carry(session, &self.text).await else {
            return Ok(());
        };
        let ended = session.batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
        Err(self.explain(done, &server))
    }

    fn explain(&self, mut done: usize, server: &tokio_postgres::Error) -> Refusal {
        let failed = self.parts.iter().find(|part| {
            let here = done < part.statements;
            if !here {
                done -= part.statements;
            }
            here
        });
        let Some(part) = failed.or(self.parts.last()) else {
            return Refusal { error: refused(server, "send a message".to_owned()), ours: None };
        };
        let error = refused(server, part.attempt.clone());
        let Some((path, sql)) = part.file else {
            return Refusal { error, ours: server.code().map(|code| code.code().to_owned()) };
        };
        let error = match place_behind(sql, part.before, server, done) {
            Some(place) => {
                error.at(Location { file: path.to_owned(), line: place.line, column: place.column })
            }
            None => error,
        };
        Refusal { error, ours: None }
    }
}
