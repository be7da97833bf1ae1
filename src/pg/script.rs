//! Statements of ours and of files in one message, with what each is for.

use std::borrow::Cow;

use tokio_postgres::Client;

use super::message::{Message, Unsent};
use super::refusal::{place, refused};
use crate::error::{Error, Location};
use crate::sql::Sql;

/// A message that is being written.
#[derive(Default)]
pub(super) struct Script<'a> {
    /// Its parts, by their places in `parts`.
    message: Message<usize>,
    parts: Vec<Part<'a>>,
}

/// One piece of it.
struct Part<'a> {
    /// What it is for, in words that may follow "error:".
    attempt: String,
    /// The file, when it is one.
    file: Option<(&'a str, Cow<'a, str>)>,
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
        self.push(attempt.into(), sql.as_str());
    }

    /// Adds what refinery wrote: its table is one that we named, its values were checked when the
    /// set was read.
    pub(super) fn refinerys(&mut self, attempt: impl Into<String>, text: &str) {
        self.push(attempt.into(), text);
    }

    /// Adds a file, as its author wrote it.
    pub(super) fn file(
        &mut self,
        attempt: impl Into<String>,
        path: &'a str,
        sql: impl Into<Cow<'a, str>>,
    ) {
        let sql = sql.into();
        self.message.add(self.parts.len(), &sql);
        self.parts.push(Part { attempt: attempt.into(), file: Some((path, sql)) });
    }

    fn push(&mut self, attempt: String, sql: &str) {
        self.message.add(self.parts.len(), sql);
        self.parts.push(Part { attempt, file: None });
    }

    /// Sends it, and leaves no transaction open when it fails.
    ///
    /// # Errors
    ///
    /// What the server refused.
    pub(super) async fn send(&self, session: &Client) -> Result<(), Refusal> {
        let Err(unsent) = self.message.send(session).await else {
            return Ok(());
        };
        let ended = session.batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
        Err(self.explain(&unsent))
    }

    fn explain(&self, unsent: &Unsent<usize>) -> Refusal {
        let Unsent { whose, error: server } = unsent;
        // All were done: what failed is the last.
        let part = whose.map_or(self.parts.last(), |whose| self.parts.get(whose.part));
        let Some(part) = part else {
            return Refusal { error: refused(server, "send a message".to_owned()), ours: None };
        };
        let error = refused(server, part.attempt.clone());
        let (Some((path, sql)), Some(whose)) = (&part.file, whose) else {
            return Refusal { error, ours: server.code().map(|code| code.code().to_owned()) };
        };
        let error = match place(sql, server, whose.done, whose.before) {
            Some(place) => error.at(Location {
                file: (*path).to_owned(),
                line: place.line,
                column: place.column,
            }),
            None => error,
        };
        Refusal { error, ours: None }
    }
}
