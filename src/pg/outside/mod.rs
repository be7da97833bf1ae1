//! Migrations outside of a transaction: statement by statement, on a session of their own.
//!
//! What may run in a transaction does, together with the note that it is done; the rest is looked
//! at before and after. A file that was stopped anywhere goes on with the statement that was not
//! done, and an index that was left half-built is removed before it is built again.
//!
//! `lock_timeout` keeps a statement from standing in the way of the application while it waits
//! itself. CONCURRENTLY stands in nobody's way while it waits for older transactions, and giving up
//! throws its work away: it may wait [`PATIENCE`] times as long for each of them.

mod index;
mod notes;
mod watch;

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use self::notes::Notes;
use self::watch::{Blocker, Watched};
use super::answer::failed;
use super::carry::carry;
use super::home::{Limits, milliseconds};
use super::refusal::{place_alone, refused};
use crate::error::{Code, Error, Location};
use crate::model::count;
use crate::model::ident::Ident;
use crate::model::migration::Migration;
use crate::plan::outside::{
    Changed, Detach, Standing, Task, Way, resume, sets_lock_timeout, tasks, wants_notes,
};
use crate::sql;
use crate::sql::{Literal, Sql};

pub use self::watch::Watcher;

/// How many times `lock_timeout` a CONCURRENTLY may wait for one older transaction.
const PATIENCE: u32 = 20;

/// A file that runs outside of a transaction, and where.
pub(super) struct Outside<'a> {
    /// A session that nobody else uses, and that is not behind a transaction pooler.
    pub(super) session: &'a Client,
    /// What the session is set to: role, search path and limits.
    pub(super) setup: &'a Sql,
    /// The schema.
    pub(super) schema: &'a Ident,
    /// Who owns its objects; the session's own role without one.
    pub(super) role: Option<&'a Ident>,
    /// How long statements may wait and work.
    pub(super) limits: Limits,
    /// The file.
    pub(super) migration: &'a Migration,
    /// Who is told what a long statement is doing.
    pub(super) watcher: Option<&'a dyn Watcher>,
}

/// Carries out what is left of a file. Returns what the transaction that records the file must run
/// as well, so that its notes and its record change together.
///
/// The session is as it was afterwards, unless it is gone. The caller holds the schema's lock.
///
/// # Errors
///
/// The failure of a statement with its place, what of the file stays done, and what was left
/// half-built. [`Code::HistoryDiverged`] when the file was changed where it was done already.
pub(super) async fn run(order: &Outside<'_>) -> Result<Sql, Error> {
    let ours = |(_, error)| failed(error, format!("prepare to apply {}", order.migration.path));
    carry(order.session, order.setup.as_str()).await.map_err(ours)?;
    let outcome = Run::begin(order).await;
    let outcome = match outcome {
        Ok(mut run) => run.all().await,
        Err(error) => Err(error),
    };
    let reset = carry(order.session, "RESET ROLE; RESET ALL").await;
    let closing = outcome?;
    reset.map_err(ours)?;
    Ok(closing)
}

/// A file on its way.
struct Run<'a> {
    order: &'a Outside<'a>,
    tasks: Vec<Task<'a>>,
    standings: Vec<Standing>,
    notes: Notes<'a>,
    /// `lock_timeout` while CONCURRENTLY waits, unless the file chooses.
    patience: Option<Duration>,
    /// The server's process of the session.
    pid: i32,
    /// How many statements are done.
    done: usize,
}

impl<'a> Run<'a> {
    async fn begin(order: &'a Outside<'a>) -> Result<Self, Error> {
        let tasks = tasks(&order.migration.sql);
        let mut notes = Notes::read(order, wants_notes(&tasks)).await?;
        let standings = match resume(&tasks, notes.of_this_file()) {
            Ok(standings) => standings,
            Err(Changed(number)) => return Err(changed(order, &tasks, number)),
        };
        notes.make().await?;
        let patience = (!sets_lock_timeout(&tasks)).then(|| order.limits.lock * PATIENCE);
        let asked = order.session.query_typed("SELECT pg_catalog.pg_backend_pid()", &[]).await;
        let asked = asked
            .map_err(|error| failed(error, format!("prepare to apply {}", order.migration.path)))?;
        let pid = asked.first().map_or(0, |row| row.get(0));
        Ok(Self { order, tasks, standings, notes, patience, pid, done: 0 })
    }

    async fn all(&mut self) -> Result<Sql, Error> {
        let tasks = std::mem::take(&mut self.tasks);
        for (task, standing) in tasks.iter().zip(std::mem::take(&mut self.standings)) {
            if task.way == Way::Session || standing != Standing::Done {
                self.one(task, standing).await?;
            }
            self.done += 1;
        }
        Ok(self.notes.closing())
    }

    async fn one(&self, task: &Task<'_>, standing: Standing) -> Result<(), Error> {
        let text = task.statement.text;
        match &task.way {
            Way::Session => self.alone(text).await.map_err(|error| self.refused(&error)),
            Way::Together => self.together(task, text, standing).await,
            Way::Alone { .. } => self.noted(task, standing, async || self.send(text).await).await,
            Way::RebuildIndexes => {
                self.noted(task, standing, async || self.rebuild_indexes(text).await).await
            }
            Way::BuildIndex(index) => self.build_index(task, index, standing).await,
            Way::DropIndex(name) => {
                if standing == Standing::Begun && !self.exists(name).await? {
                    return self.notes.done(task).await;
                }
                self.noted(task, standing, async || self.patiently(text).await).await
            }
            Way::Detach(detach) => self.detach(task, detach, standing).await,
        }
    }

    /// Sends a statement in one transaction with the note that it is done. One that PostgreSQL
    /// forbids there, or that ends transactions itself, has done nothing by then, and goes alone.
    async fn together(&self, task: &Task<'_>, text: &str, standing: Standing) -> Result<(), Error> {
        let Some(note) = self.notes.doing(task) else {
            return self.alone(text).await.map_err(|error| self.refused(&error));
        };
        let session = self.order.session;
        let (begun, sent, noted) = futures_util::future::join3(
            carry(session, "BEGIN"),
            self.watched(text),
            carry(session, note.as_str()),
        )
        .await;
        let ours = |(_, error)| self.ours(error);
        let (error, blockers) = match (begun, sent, noted) {
            (Ok(()), Ok(()), Ok(())) => return Ok(()),
            (Err(error), ..) => return Err(ours(error)),
            (_, Err(failure), _) => failure,
            // Constraints may be checked as late as by COMMIT, which is counted behind the note.
            (_, _, Err((before, error))) => {
                let ended = session.batch_execute("ROLLBACK").await;
                log::debug!("rolled back: {ended:?}");
                let late = before + 1 >= notes::NOTE_STATEMENTS;
                return Err(if late { self.refused(&error) } else { self.ours(error) });
            }
        };
        let ended = session.batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
        let forbidden =
            [SqlState::ACTIVE_SQL_TRANSACTION, SqlState::INVALID_TRANSACTION_TERMINATION];
        if error.code().is_some_and(|code| forbidden.contains(code)) {
            return self.noted(task, standing, async || self.send(text).await).await;
        }
        Err(self.blocked(&error, &blockers))
    }

    /// Does something that cannot share a transaction with its notes: one before, one behind.
    async fn noted(
        &self,
        task: &Task<'_>,
        standing: Standing,
        work: impl AsyncFnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        if standing == Standing::Begun {
            log::warn!("{}: {}", self.order.migration.path, second_time(task));
        }
        self.notes.begun(task).await?;
        match work().await {
            Ok(()) => self.notes.done(task).await,
            Err(error) if error.code == Code::Unreachable => Err(error),
            Err(error) => {
                self.notes.undone(task).await;
                Err(match (&task.way, standing) {
                    (Way::Alone { repeatable: false }, Standing::Begun) => {
                        error.hint(second_time(task))
                    }
                    _ => error,
                })
            }
        }
    }

    /// Detaches a partition, or finishes what was begun.
    async fn detach(
        &self,
        task: &Task<'_>,
        detach: &Detach,
        standing: Standing,
    ) -> Result<(), Error> {
        let rows = self
            .order
            .session
            .query_typed(
                "SELECT inhdetachpending FROM pg_catalog.pg_inherits \
                 WHERE inhparent = pg_catalog.to_regclass($1) AND inhrelid = pg_catalog.to_regclass($2)",
                &[
                    (&detach.parent, tokio_postgres::types::Type::TEXT),
                    (&detach.partition, tokio_postgres::types::Type::TEXT),
                ],
            )
            .await
            .map_err(|error| self.ours(error))?;
        let text = match rows.first().map(|row| row.get::<_, bool>(0)) {
            None if standing == Standing::Begun => return self.notes.done(task).await,
            Some(true) => detach.finish.as_str(),
            None | Some(false) => task.statement.text,
        };
        self.noted(task, standing, async || self.patiently(text).await).await
    }

    async fn exists(&self, name: &str) -> Result<bool, Error> {
        let rows = self
            .order
            .session
            .query_typed(
                "SELECT pg_catalog.to_regclass($1) IS NOT NULL",
                &[(&name, tokio_postgres::types::Type::TEXT)],
            )
            .await
            .map_err(|error| self.ours(error))?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Sends one statement, in a transaction of its own.
    async fn alone(&self, text: &str) -> Result<(), tokio_postgres::Error> {
        carry(self.order.session, text).await.map_err(|(_, error)| error)
    }

    /// Sends a statement that may take its time, and has it watched.
    async fn send(&self, text: &str) -> Result<(), Error> {
        self.watched(text).await.map_err(|(error, blockers)| self.blocked(&error, &blockers))
    }

    /// Sends a CONCURRENTLY, which may wait longer than others.
    async fn patiently(&self, text: &str) -> Result<(), Error> {
        let Some(patience) = self.patience else { return self.send(text).await };
        self.wait_for_locks(patience).await?;
        let sent = self.send(text).await;
        let restored = self.wait_for_locks(self.order.limits.lock).await;
        sent.and(restored)
    }

    async fn wait_for_locks(&self, limit: Duration) -> Result<(), Error> {
        let limit = milliseconds(limit);
        let set = sql!("SET SESSION lock_timeout = {}", Literal(&limit));
        self.alone(set.as_str()).await.map_err(|error| self.ours(error))
    }

    async fn watched(&self, text: &str) -> Result<(), (tokio_postgres::Error, Vec<Blocker>)> {
        let subject = format!("{} in {}", self.order.migration.path, self.order.schema);
        let Outside { session, watcher, .. } = *self.order;
        Watched { session, pid: self.pid, watcher, subject: &subject }.send(text).await
    }

    /// The failure of a statement of ours.
    fn ours(&self, error: tokio_postgres::Error) -> Error {
        let Outside { migration, schema, .. } = self.order;
        failed(error, format!("apply {} to {schema}", migration.path))
    }

    /// The failure of the statement that is next, and of which nobody is known to be the cause.
    fn refused(&self, error: &tokio_postgres::Error) -> Error {
        self.blocked(error, &[])
    }

    /// The failure of the statement that is next, with those who were in its way.
    fn blocked(&self, error: &tokio_postgres::Error, blockers: &[Blocker]) -> Error {
        let Outside { migration, schema, .. } = self.order;
        let mut failure = refused(error, format!("apply {} to {schema}", migration.path));
        if let Some(place) = place_alone(&migration.sql, error, self.done) {
            failure = failure.at(Location {
                file: migration.path.clone(),
                line: place.line,
                column: place.column,
            });
        }
        for blocker in blockers {
            failure = failure.hint(format!("it waited for {blocker}"));
        }
        if self.done > 0 {
            failure = failure.hint(format!(
                "what was done before stays done: {} of {}; the next run goes on with this one",
                count(self.done, "statement"),
                migration.path
            ));
        }
        failure
    }
}

fn changed(order: &Outside<'_>, tasks: &[Task<'_>], number: i32) -> Error {
    let path = &order.migration.path;
    let notes = notes::table(order.schema);
    let error = Error::new(
        Code::HistoryDiverged,
        format!(
            "apply {path} to {}: its statement {number} was done already, and has changed since",
            order.schema
        ),
    )
    .hint(format!("put statement {number} back as it was, and change what follows it"))
    .hint(format!(
        "or have the whole file run again: DELETE FROM {notes} WHERE version = {};",
        order.migration.version
    ));
    match tasks.iter().find(|task| task.number == number) {
        Some(task) => {
            let place = task.statement.position;
            error.at(Location { file: path.clone(), line: place.line, column: place.column })
        }
        None => error,
    }
}

/// What is known about a statement that is sent again.
fn second_time(task: &Task<'_>) -> String {
    format!(
        "statement {} (line {}) was sent by a run that was cut off before it heard the answer, \
         so it may have been done, wholly or in part, before this run sent it again",
        task.number, task.statement.position.line
    )
}
