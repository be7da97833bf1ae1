//! One COPY: rows that are read, or rows that are written.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_postgres::{CopyInSink, CopyOutStream};

use crate::error::Error;
use crate::model::tally::{Content, Tally};
use crate::pg::answer::failed;
use crate::pg::cancel::Canceller;
use crate::pg::session::Session;
use crate::sql;
use crate::sql::Sql;

/// A row is a message of its own; pieces of this size pass through everything that follows.
const PIECE: usize = 64 * 1024;

/// How rows are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// COPY's text format: what COPY reads again, on any version of the server.
    Rows,
    /// One JSON object for each row, escaped as COPY's text format escapes.
    Json,
    /// CSV with the names of the columns in the first line.
    Csv,
}

impl Shape {
    fn statement(self, select: &Sql) -> Sql {
        match self {
            Self::Rows => sql!("COPY ({}) TO STDOUT", select),
            Self::Json => {
                sql!(
                    "COPY (SELECT pg_catalog.row_to_json(line) FROM ({}) AS line) TO STDOUT",
                    select
                )
            }
            Self::Csv => sql!("COPY ({}) TO STDOUT (FORMAT csv, HEADER)", select),
        }
    }
}

/// Rows that a server sends. Whoever loses interest before the end stops the server; the session is of
/// no use then, and is to be dropped.
pub struct Rows {
    stream: Pin<Box<CopyOutStream>>,
    tally: Tally,
    what: String,
    /// What stops the statement; none once it is over.
    canceller: Option<Canceller>,
}

impl Rows {
    /// Begins to read what a query answers; `what` says what is read.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn begin(
        session: &Session,
        select: &Sql,
        shape: Shape,
        tally: Tally,
        what: String,
    ) -> Result<Self, Error> {
        let statement = shape.statement(select);
        let stream = session
            .client()
            .copy_out(statement.as_str())
            .await
            .map_err(|error| failed(error, what.clone()))?;
        Ok(Self { stream: Box::pin(stream), tally, what, canceller: Some(session.canceller()) })
    }

    /// The next piece: some rows, whole or not; none at the end.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        // Asked again after its end, the driver's stream takes the next message for a failure.
        if self.canceller.is_none() {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(PIECE);
        while piece.len() < PIECE {
            match self.stream.next().await {
                Some(Ok(row)) if piece.is_empty() && row.len() >= PIECE => {
                    self.tally.take(&row);
                    return Ok(Some(row));
                }
                Some(Ok(row)) => piece.extend_from_slice(&row),
                Some(Err(error)) => {
                    self.canceller = None;
                    return Err(failed(error, self.what.clone()));
                }
                None => {
                    self.canceller = None;
                    break;
                }
            }
        }
        if piece.is_empty() {
            return Ok(None);
        }
        self.tally.take(&piece);
        Ok(Some(piece.freeze()))
    }

    /// How much has come until now.
    pub fn so_far(&self) -> Content {
        self.tally.so_far()
    }

    /// Reads to the end, and says what there was.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn content(mut self) -> Result<Content, Error> {
        while self.next().await?.is_some() {}
        Ok(self.so_far())
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let Some(canceller) = self.canceller.take() else { return };
        let what = std::mem::take(&mut self.what);
        // The rest of a large table would be sent, and thrown away, before anything else.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = canceller.cancel().await {
                    log::debug!("{what} was given up: {error}");
                }
            });
        }
    }
}

/// Rows on their way into a server. Dropped before the end, it leaves nothing behind. Once the server
/// has refused something, the session is of no use and is to be dropped: the driver is out of step.
pub struct Filling {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    what: String,
}

impl Filling {
    /// Begins to write rows in COPY's text format; `statement` is a COPY … FROM STDIN, and `what`
    /// says what is written.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn begin(session: &Session, statement: &Sql, what: String) -> Result<Self, Error> {
        let sink = session
            .client()
            .copy_in(statement.as_str())
            .await
            .map_err(|error| failed(error, what.clone()))?;
        Ok(Self { sink: Box::pin(sink), what })
    }

    /// Writes the next piece: some rows, whole or not.
    ///
    /// # Errors
    ///
    /// Whatever the server has refused until now.
    pub async fn put(&mut self, piece: Bytes) -> Result<(), Error> {
        match self.sink.feed(piece).await {
            Ok(()) => Ok(()),
            Err(error) => Err(failed(error, self.what.clone())),
        }
    }

    /// Ends the statement. Returns how many rows the server has taken.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn end(mut self) -> Result<u64, Error> {
        let what = std::mem::take(&mut self.what);
        self.sink.as_mut().finish().await.map_err(|error| failed(error, what))
    }
}
