//! One attempt at a time: a savepoint, a role, a context, a statement, and back.

use std::cell::RefCell;
use std::collections::HashMap;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::error::Error;
use crate::model::catalog::Catalog;
use crate::model::ident::Ident;
use crate::model::layout::Setting;
use crate::pg::observe::catalog::failed;
use crate::sql;
use crate::sql::{Literal, Sql};

/// What the server answered to the last statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It ran: the rows it hit, and the first row it returned.
    Done { hit: u64, first: Vec<Option<String>> },
    /// It was refused by privilege or policy.
    Refused { message: String },
    /// It failed for another reason.
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
    /// The number in the first column of the first row.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Done { first, .. } => first.first()?.as_deref()?.parse().ok(),
            _ => None,
        }
    }

    /// Why it did not run.
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Done { .. } => None,
            Self::Refused { message } => Some(format!("{message} (42501)")),
            Self::Failed { sqlstate, message, .. } => Some(format!("{message} ({sqlstate})")),
        }
    }
}

/// A session inside the transaction of the probe.
pub(super) struct Session<'c> {
    client: &'c Client,
    /// Whether `RESET ROLE`, which any function may say, makes it a superuser again.
    pub(super) superuser: bool,
    /// The role that the session goes back to.
    pub(super) operator: String,
    /// For each role that was asked for: why the session cannot become it.
    becomes: RefCell<HashMap<Ident, Option<String>>>,
}

impl<'c> Session<'c> {
    pub(super) fn new(client: &'c Client, catalog: &Catalog) -> Self {
        Self {
            client,
            superuser: catalog.roles.get(&catalog.reader).is_some_and(|role| role.superuser),
            operator: catalog.role_name(catalog.reader),
            becomes: RefCell::default(),
        }
    }

    /// Why the session cannot act as a role; `None` when it can.
    pub(super) async fn barred(&self, role: &Ident) -> Result<Option<String>, Error> {
        if let Some(known) = self.becomes.borrow().get(role) {
            return Ok(known.clone());
        }
        let why = match self.attempt(&[sql!("SET LOCAL ROLE {}", role)]).await? {
            Answer::Done { .. } => None,
            Answer::Refused { .. } => Some(format!(
                "{} may not act as {role}: GRANT {role} TO {}",
                self.operator, self.operator
            )),
            Answer::Failed { message, .. } => Some(message),
        };
        self.becomes.borrow_mut().insert(role.clone(), why.clone());
        Ok(why)
    }

    /// Reads rows as the operator; none when they cannot be read.
    pub(super) async fn rows(&self, query: &Sql) -> Result<Vec<Vec<Option<String>>>, Error> {
        let script = format!("SAVEPOINT attempt; {query}; RELEASE SAVEPOINT attempt");
        match self.client.simple_query(&script).await {
            Ok(messages) => Ok(messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
                    }
                    _ => None,
                })
                .collect()),
            Err(error) if error.as_db_error().is_none() => Err(failed("probe", error)),
            Err(error) => {
                self.take_back().await?;
                if error.code().is_some_and(|code| code.code() == "55P03") {
                    self.hurry().await?;
                }
                Ok(Vec::new())
            }
        }
    }

    /// Runs statements and takes them back; answers for the last one.
    pub(super) async fn attempt(&self, statements: &[Sql]) -> Result<Answer, Error> {
        self.script(statements, "ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt").await
    }

    /// Runs statements and keeps what they did until the transaction ends, but not the role.
    pub(super) async fn keep(&self, statements: &[Sql]) -> Result<Answer, Error> {
        self.script(statements, "SET LOCAL ROLE NONE; RELEASE SAVEPOINT attempt").await
    }

    async fn script(&self, statements: &[Sql], after: &str) -> Result<Answer, Error> {
        let body: Vec<&str> = statements.iter().map(Sql::as_str).collect();
        // One message, so that a role is never left standing between two of them.
        let script = format!("SAVEPOINT attempt; {}; {after}", body.join("; "));
        let error = match self.client.simple_query(&script).await {
            Ok(messages) => return Ok(answer(&messages, statements.len())),
            Err(error) => error,
        };
        let answer = match error.as_db_error() {
            None => return Err(failed("probe", error)),
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
        self.take_back().await?;
        if matches!(&answer, Answer::Failed { sqlstate, .. } if sqlstate == "55P03") {
            self.hurry().await?;
        }
        Ok(answer)
    }

    /// Waits less for locks from now on: who holds one for seconds will hold it for the next attempt.
    async fn hurry(&self) -> Result<(), Error> {
        self.client
            .batch_execute("SET LOCAL lock_timeout = '100ms'")
            .await
            .map_err(|error| failed("limit the wait for locks", error))
    }

    async fn take_back(&self) -> Result<(), Error> {
        self.client
            .batch_execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt")
            .await
            .map_err(|error| failed("take a probe back", error))
    }
}

/// The statements that make a session somebody: a role, and a tenant when a setting holds it.
pub(super) fn enter(role: &Ident, context: Option<(&Setting, &str)>) -> Vec<Sql> {
    let mut statements = vec![sql!("SET LOCAL ROLE {}", role)];
    if let Some((setting, key)) = context {
        let name = Literal(setting.as_str());
        statements.push(sql!("SELECT pg_catalog.set_config({}, {}, true)", name, Literal(key)));
    }
    statements
}

/// Picks the answer to the last of `count` statements, which stand behind the savepoint.
fn answer(messages: &[SimpleQueryMessage], count: usize) -> Answer {
    let mut done = 0;
    let mut first: Option<Vec<Option<String>>> = None;
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) if done == count && first.is_none() => {
                first = Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::CommandComplete(hit) => {
                if done == count {
                    return Answer::Done { hit: *hit, first: first.unwrap_or_default() };
                }
                done += 1;
            }
            _ => {}
        }
    }
    Answer::Done { hit: 0, first: first.unwrap_or_default() }
}
