//! One attempt at a time: a savepoint, a role, a context, statements, and back.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::enter::Who;
use crate::error::Error;
use crate::pg::observe::catalog::failed;
use crate::sql::Sql;

/// A row as text.
pub(super) type Row = Vec<Option<String>>;

/// What one statement of a script did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// The rows it hit.
    pub(super) hit: u64,
    /// The rows it returned.
    pub(super) rows: Vec<Row>,
}

/// What the server answered to a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All of it ran.
    Done(Vec<Done>),
    /// A statement was refused by privilege or policy.
    Refused { message: String },
    /// A statement failed for another reason.
    Failed {
        sqlstate: String,
        message: String,
        /// It came from a function that the statement called, such as a trigger's.
        inside: bool,
        /// The constraint of a table that was broken; none when a value did not fit its domain.
        constraint: Option<String>,
    },
}

impl Answer {
    /// What the last statement did.
    pub(super) fn last(&self) -> Option<&Done> {
        match self {
            Self::Done(all) => all.last(),
            _ => None,
        }
    }

    /// The number in the first column of the last statement's first row.
    pub(super) fn number(&self) -> Option<u64> {
        self.last()?.rows.first()?.first()?.as_deref()?.parse().ok()
    }

    /// Why it did not run.
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Done(_) => None,
            Self::Refused { message } => Some(format!("{message} (42501)")),
            Self::Failed { sqlstate, message, .. } => Some(format!("{message} ({sqlstate})")),
        }
    }

    /// Whether the server had no time for it, which says nothing about anything.
    pub(super) fn hurried(&self) -> bool {
        matches!(self, Self::Failed { sqlstate, .. } if ["55P03", "57014"].contains(&sqlstate.as_str()))
    }
}

/// A session inside the transaction of the probes.
pub(super) struct Session {
    held: crate::pg::Session,
    /// Who it is.
    pub(super) who: Who,
}

/// What every attempt is limited to, besides the locks: idle time is limited because the session may
/// lose its client.
const LIMITS: &str = "SET LOCAL idle_in_transaction_session_timeout = '60s'";

/// Locks are waited for less long than the server waits before it looks for a deadlock, so that it
/// is always the probe that gives way, and never the application.
const LOCKS: &str = "SELECT pg_catalog.set_config('lock_timeout', least(500, \
                     (SELECT setting::int / 2 FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'))::text, true)";

impl Session {
    /// Begins the transaction that everything happens in.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn begin(
        held: crate::pg::Session,
        who: Who,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        let timeout = timeout.as_millis().clamp(1, 600_000);
        held.client()
            .batch_execute(&format!("{begin}; SET LOCAL statement_timeout = {timeout}; {LIMITS}; {LOCKS}; SAVEPOINT attempt"))
            .await
            .map_err(|error| failed("begin to probe", error))?;
        Ok(Self { held, who })
    }

    /// Ends it, and takes back what might be left.
    ///
    /// # Errors
    ///
    /// When the session breaks: the server then takes everything back.
    pub(super) async fn end(self) -> Result<(), Error> {
        self.client()
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| failed("roll the probes back", error))
    }

    pub(super) fn client(&self) -> &Client {
        self.held.client()
    }

    /// Runs statements and takes them back.
    ///
    /// All go to the server in one message: what they lock is held for as long as they run, however
    /// far away the server is, and no role or setting is left standing between two of them.
    ///
    /// # Errors
    ///
    /// When the session breaks. What a statement is refused is part of the answer.
    pub(super) async fn attempt(&self, statements: &[Sql]) -> Result<Answer, Error> {
        let body: Vec<&str> = statements.iter().map(Sql::as_str).collect();
        let script = format!("{}; ROLLBACK TO SAVEPOINT attempt", body.join("; "));
        let error = match self.client().simple_query(&script).await {
            Ok(messages) => return Ok(answer(messages, statements.len())),
            Err(error) => error,
        };
        self.take_back(error, &script).await
    }

    /// Says what a statement was refused, with everything taken back.
    async fn take_back(&self, error: tokio_postgres::Error, script: &str) -> Result<Answer, Error> {
        let answer = match error.as_db_error() {
            None => return Err(failed("probe", error)),
            Some(said) if said.code().code() == "42601" => {
                // Nobody but this crate wrote it, or the server printed it.
                log::debug!("{}: {script}", said.message());
                Answer::Failed {
                    sqlstate: "42601".to_owned(),
                    message: said.message().to_owned(),
                    inside: said.where_().is_some(),
                    constraint: None,
                }
            }
            Some(said) if said.code().code() == "42501" => {
                Answer::Refused { message: said.message().to_owned() }
            }
            Some(said) => Answer::Failed {
                sqlstate: said.code().code().to_owned(),
                message: said.message().to_owned(),
                inside: said.where_().is_some(),
                constraint: said.table().and(said.constraint()).map(str::to_owned),
            },
        };
        self.client()
            .batch_execute("ROLLBACK TO SAVEPOINT attempt")
            .await
            .map_err(|error| failed("take a probe back", error))?;
        if matches!(&answer, Answer::Failed { sqlstate, .. } if sqlstate == "55P03") {
            // Who holds a lock for so long will hold it for the next attempt.
            self.client()
                .batch_execute("SET LOCAL lock_timeout = '50ms'; SAVEPOINT attempt")
                .await
                .map_err(|error| failed("limit the wait for locks", error))?;
        }
        Ok(answer)
    }

    /// Runs statements and then a `COPY … TO STDOUT`, counts the lines that are wanted, and takes all
    /// of it back; says what was refused. Unlike an attempt, it takes a few messages.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn export(
        &self,
        statements: &[Sql],
        copy: &Sql,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Result<u64, Answer>, Error> {
        let body: Vec<&str> = statements.iter().map(Sql::as_str).collect();
        let copied = async {
            self.client().batch_execute(&body.join("; ")).await?;
            let mut lines = std::pin::pin!(self.client().copy_out(copy.as_str()).await?);
            let mut found = 0;
            while let Some(line) = lines.next().await {
                found += u64::from(wanted(&String::from_utf8_lossy(&line?).to_lowercase()));
            }
            self.client().batch_execute("ROLLBACK TO SAVEPOINT attempt").await?;
            Ok(found)
        };
        match copied.await {
            Ok(found) => Ok(Ok(found)),
            Err(error) => Ok(Err(self.take_back(error, copy.as_str()).await?)),
        }
    }

    /// Rows of a query; none when it cannot be answered.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn rows(&self, query: &Sql) -> Result<Vec<Row>, Error> {
        Ok(match self.attempt(std::slice::from_ref(query)).await? {
            Answer::Done(mut all) => all.pop().unwrap_or_default().rows,
            _ => Vec::new(),
        })
    }
}

/// Sorts the messages by statement.
fn answer(messages: Vec<SimpleQueryMessage>, count: usize) -> Answer {
    let mut done = vec![Done::default()];
    for message in messages {
        let Some(current) = done.last_mut() else { break };
        match message {
            SimpleQueryMessage::Row(row) => {
                current
                    .rows
                    .push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::CommandComplete(hit) => {
                current.hit = hit;
                done.push(Done::default());
            }
            _ => {}
        }
    }
    done.truncate(count);
    Answer::Done(done)
}
