//! What an application would see: one statement as its role, and whatever the server answers.
//!
//! A refusal is an answer here, not a failure: it is often the one that was hoped for.

use tokio_postgres::SimpleQueryMessage;

use super::answer::{failed, server_answer};
use super::session::Session;
use crate::error::{Error, ServerAnswer};
use crate::sql::Sql;

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A query's rows, as text; NULL is none.
    Rows(Vec<Vec<Option<String>>>),
    /// How many rows a command changed; zero for one that changes none.
    Done(u64),
    /// The server refused, in its own words.
    Refused(ServerAnswer),
}

/// Runs one statement, and takes a refusal as an answer.
///
/// # Errors
///
/// When the connection is lost: nobody answered.
pub async fn trial(session: &Session, statement: &Sql) -> Result<Answer, Error> {
    let messages = match session.client().simple_query(statement.as_str()).await {
        Ok(messages) => messages,
        Err(error) => {
            return match server_answer(&error) {
                Some(refusal) => Ok(Answer::Refused(refusal)),
                None => Err(failed(error, format!("run {statement}"))),
            };
        }
    };
    let mut rows = None;
    let mut done = 0;
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => rows = Some(Vec::new()),
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
                rows.get_or_insert_with(Vec::new).push(values);
            }
            SimpleQueryMessage::CommandComplete(changed) => done = changed,
            _ => {}
        }
    }
    Ok(rows.map_or(Answer::Done(done), Answer::Rows))
}
