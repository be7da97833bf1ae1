//! Looks at a long statement from a second session: how far it is, and whom it waits for.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Either, select};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::Error;
use crate::pg::answer::failed;
use crate::pg::carry::carry;
use crate::pg::session::Session;

/// A statement that is done by then needs nobody to look at it; afterwards it is looked so often.
const EVERY: Duration = Duration::from_secs(1);

/// The same is not told again before.
const AGAIN: Duration = Duration::from_secs(10);

/// So much of the statement of another session is shown.
const SHOWN: usize = 60;

/// Somebody who is told what a long statement is doing, and lends a session to look at it.
pub trait Watcher: Sync {
    /// A second session in the same database, of the same role. Asked for only when a statement
    /// takes its time.
    fn session(&self) -> BoxFuture<'_, Result<Session, Error>>;

    /// Tells them, in words. Must return quickly.
    fn tell(&self, what: &str);
}

/// A session that stands in the way of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocker {
    pid: i32,
    role: String,
    application: String,
    database: String,
    /// Of another role's session the server shows neither state nor statement.
    state: Option<String>,
    seconds: Option<i64>,
    statement: Option<String>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({}", self.pid, self.application)?;
        write!(f, " as {} in {}", self.role, self.database)?;
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(seconds) = self.seconds {
            write!(f, ", in a transaction for {seconds} s")?;
        }
        match &self.statement {
            Some(statement) => write!(f, "): {statement}"),
            None => write!(f, ")"),
        }
    }
}

/// A statement that is sent, and looked at when it takes its time.
pub(super) struct Watched<'a> {
    /// Where it is sent.
    pub(super) session: &'a Client,
    /// The server's process of that session.
    pub(super) pid: i32,
    /// Who is told.
    pub(super) watcher: Option<&'a dyn Watcher>,
    /// What it belongs to, in words.
    pub(super) subject: &'a str,
}

impl Watched<'_> {
    /// Sends the statement. A failure comes with those whom it was waiting for when it was last
    /// looked at.
    pub(super) async fn send(
        &self,
        text: &str,
    ) -> Result<(), (tokio_postgres::Error, Vec<Blocker>)> {
        let Some(watcher) = self.watcher else {
            return carry(self.session, text).await.map_err(|(_, error)| (error, Vec::new()));
        };
        let seen = Mutex::new(Vec::new());
        let work = std::pin::pin!(carry(self.session, text));
        let looking = std::pin::pin!(async {
            if let Err(error) = self.look(watcher, &seen).await {
                log::info!("nobody looks at a long statement: {error}");
            }
            std::future::pending::<()>().await;
        });
        let done = match select(work, looking).await {
            Either::Left((done, _)) => done,
            // It never ends by itself.
            Either::Right(((), work)) => work.await,
        };
        done.map_err(|(_, error)| {
            (error, seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
        })
    }

    /// Looks at the session once a second, for as long as nobody stops it.
    async fn look(&self, watcher: &dyn Watcher, seen: &Mutex<Vec<Blocker>>) -> Result<(), Error> {
        tokio::time::sleep(EVERY).await;
        let session = watcher.session().await?;
        let mut told: Option<(String, Instant)> = None;
        loop {
            let blockers = blockers(session.client(), self.pid).await?;
            let progress = progress(session.client(), self.pid).await?;
            let whom = blockers.iter().map(|one| one.pid.to_string()).collect::<Vec<_>>().join(",");
            let far = progress.as_ref().map(|one| format!("{} {}", one.phase, one.tenth()));
            let key = format!("{far:?} {whom}");
            let is_new =
                told.as_ref().is_none_or(|(before, at)| *before != key || at.elapsed() >= AGAIN);
            if is_new && let Some(what) = describe(progress.as_ref(), &blockers) {
                let what = format!("{}: {what}", self.subject);
                log::info!("{what}");
                watcher.tell(&what);
                told = Some((key, Instant::now()));
            }
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = blockers;
            tokio::time::sleep(EVERY).await;
        }
    }
}

fn describe(progress: Option<&Progress>, blockers: &[Blocker]) -> Option<String> {
    let waits = (!blockers.is_empty()).then(|| {
        let named: Vec<String> = blockers.iter().map(ToString::to_string).collect();
        format!("waits for {}", named.join(", and for "))
    });
    match (progress, waits) {
        (Some(progress), Some(waits)) => Some(format!("{progress}; {waits}")),
        (Some(progress), None) => Some(progress.to_string()),
        (None, waits) => waits,
    }
}

/// How far the building of an index is.
struct Progress {
    phase: String,
    done: i64,
    total: i64,
    unit: &'static str,
}

impl Progress {
    /// Changes with what is worth telling: the phase, and every tenth of it.
    fn tenth(&self) -> i64 {
        if self.total > 0 { self.done * 10 / self.total } else { 0 }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.phase)?;
        if self.total > 0 {
            write!(f, ", {} of {} {}", self.done, self.total, self.unit)?;
        }
        Ok(())
    }
}

async fn progress(session: &Client, pid: i32) -> Result<Option<Progress>, Error> {
    let rows = session
        .query_typed(
            "SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total \
             FROM pg_catalog.pg_stat_progress_create_index WHERE pid = $1",
            &[(&pid, Type::INT4)],
        )
        .await
        .map_err(|error| failed(error, "read the progress of an index"))?;
    Ok(rows.first().and_then(|row| {
        let number = |at: usize| row.get::<_, Option<i64>>(at).unwrap_or_default();
        let (done, total, unit) = match number(2) {
            0 => (number(3), number(4), "rows"),
            blocks => (number(1), blocks, "blocks"),
        };
        Some(Progress { phase: row.get::<_, Option<String>>(0)?, done, total, unit })
    }))
}

/// Who keeps a session from going on.
async fn blockers(session: &Client, pid: i32) -> Result<Vec<Blocker>, Error> {
    let rows = session
        .query_typed(
            "SELECT a.pid, coalesce(a.usename::text, ''), \
                    coalesce(nullif(a.application_name, ''), a.backend_type, 'unnamed'), \
                    coalesce(a.datname::text, ''), a.state, \
                    extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::int8, \
                    CASE WHEN a.state IS NOT NULL THEN a.query END \
             FROM pg_catalog.pg_stat_activity a \
             WHERE a.pid = ANY (pg_catalog.pg_blocking_pids($1)) ORDER BY a.xact_start, a.pid",
            &[(&pid, Type::INT4)],
        )
        .await
        .map_err(|error| failed(error, "read whom a statement waits for"))?;
    Ok(rows
        .iter()
        .map(|row| Blocker {
            pid: row.get(0),
            role: row.get(1),
            application: row.get(2),
            database: row.get(3),
            state: row.get(4),
            seconds: row.get(5),
            statement: row.get::<_, Option<String>>(6).map(|text| first_words(&text)),
        })
        .collect())
}

/// The beginning of a statement, on one line.
fn first_words(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}
