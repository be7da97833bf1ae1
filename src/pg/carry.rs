//! Carries scripts to the server, and says which statement of them was refused.

use std::fmt;

use futures_util::StreamExt as _;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::model::layout::HISTORY_TABLE;

/// What went wrong while refinery's statements were carried.
#[derive(Debug)]
pub(super) enum CarryError {
    /// The server refused a statement of a file.
    File {
        /// Which of the pending files.
        at: usize,
        /// How many statements of it were done before.
        done: usize,
        /// How many characters of what was sent stand before the file.
        before: usize,
        /// What the server said.
        error: tokio_postgres::Error,
    },
    /// The server refused a statement of a repeatable file; as above.
    Repeatable {
        /// Which of the pending repeatable files.
        at: usize,
        /// How many statements of it were done before.
        done: usize,
        /// How many characters of what was sent stand before the file.
        before: usize,
        /// What the server said.
        error: tokio_postgres::Error,
    },
    /// Another session holds the schema's lock.
    Busy,
    /// The history is no longer as it was read.
    Moved,
    /// The server refused one of ours.
    Ours(tokio_postgres::Error),
    /// A file stopped that runs outside of a transaction; whoever ran it knows why.
    Outside,
    /// The history holds a row that refinery never wrote.
    History(String),
}

impl fmt::Display for CarryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { .. } | Self::Repeatable { .. } => {
                f.write_str("the server refused a statement of the migration")
            }
            Self::Busy => f.write_str("another session holds the lock"),
            Self::Moved => f.write_str("the history is no longer as it was read"),
            Self::Ours(_) => f.write_str("the server refused a statement"),
            Self::Outside => f.write_str("a file outside of a transaction stopped"),
            Self::History(row) => write!(f, "{HISTORY_TABLE} holds {row}"),
        }
    }
}

impl std::error::Error for CarryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } | Self::Repeatable { error, .. } | Self::Ours(error) => {
                Some(error)
            }
            Self::Outside | Self::History(_) | Self::Busy | Self::Moved => None,
        }
    }
}

/// Carries a script to the server. A failure comes with the number of statements before it.
pub(super) async fn carry(
    session: &Client,
    script: &str,
) -> Result<(), (usize, tokio_postgres::Error)> {
    let answers = session.simple_query_raw(script).await.map_err(|error| (0, error))?;
    let mut answers = std::pin::pin!(answers);
    let mut done = 0;
    while let Some(answer) = answers.next().await {
        if let SimpleQueryMessage::CommandComplete(_) = answer.map_err(|error| (done, error))? {
            done += 1;
        }
    }
    Ok(())
}
