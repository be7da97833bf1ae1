//! Reads histories: one, one under its lock, and those of many schemas at once.

use std::collections::BTreeMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::answer::failed;
use super::lock::{Lock, LockKey};
use super::many::{self, having};
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::{Applied, Digest, History, Version};
use crate::model::tenant::Placement;
use crate::sql;
use crate::sql::{Literal, Sql};

/// The histories of the schemas of one database, as far as they can be read; a schema that does not
/// exist is absent, and one that was never migrated has an empty history.
pub type Histories = BTreeMap<Ident, Result<History, Error>>;

/// Reads the history of one schema; none where the table is not there.
///
/// # Errors
///
/// [`Code::HistoryDiverged`] for a row that refinery never wrote; [`Code::NotFound`] where the
/// schema is not there; whatever the server refuses.
pub async fn history(session: &Session, schema: &Ident) -> Result<Option<History>, Error> {
    if let Some(history) = of(session.client(), schema).await? {
        return Ok(Some(history));
    }
    let there = written(session, std::slice::from_ref(&schema)).await?;
    if there.contains_key(schema) {
        return Ok(None);
    }
    let what = format!("there is no schema {schema} in database {}", session.database_ident());
    Err(Error::new(Code::NotFound, what))
}

/// Takes the lock of a schema's migrations for the session if it is free, and reads the history after
/// that, in one message. Also returns whether the session holds the lock: until
/// [`migrate_at_once`](super::migrate_at_once) hands it over to its transaction, or it ends.
///
/// A session that is not one process of the server takes no lock: it might be left with another.
///
/// # Errors
///
/// As [`history`].
pub async fn lock_and_read(
    session: &Session,
    placement: &Placement,
) -> Result<(Option<History>, Lock), Error> {
    let schema = &placement.schema;
    if session.is_untouched().await {
        let key = LockKey::migrations(placement).number();
        let script = sql!("SELECT pg_catalog.pg_try_advisory_lock({}); {}", key, rows_of(schema));
        if let Some(answer) = answer_of(session.client(), schema, &script).await? {
            let lock = if answer.iter().any(is_taken) { Lock::Held } else { Lock::Open };
            return history_of(schema, &answer).map(|history| (Some(history), lock));
        }
    }
    Ok((history(session, schema).await?, Lock::Open))
}

/// Whether it is the row that says that a lock was taken.
fn is_taken(message: &SimpleQueryMessage) -> bool {
    matches!(message, SimpleQueryMessage::Row(row) if row.len() == 1 && row.get(0) == Some("t"))
}

/// Reads refinery's history of one schema; none when the table is absent.
///
/// # Errors
///
/// [`Code::HistoryDiverged`] for a row that refinery never wrote.
pub(super) async fn of(session: &Client, schema: &Ident) -> Result<Option<History>, Error> {
    let answer = answer_of(session, schema, &rows_of(schema)).await?;
    answer.map(|answer| history_of(schema, &answer)).transpose()
}

/// What the server answers to a script that reads a history; none when the table is absent.
async fn answer_of(
    session: &Client,
    schema: &Ident,
    script: &Sql,
) -> Result<Option<Vec<SimpleQueryMessage>>, Error> {
    match session.simple_query(script.as_str()).await {
        Ok(answer) => Ok(Some(answer)),
        Err(error)
            if error.code().is_some_and(|code| {
                *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME
            }) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(error, format!("read the history of {schema}"))),
    }
}

fn rows_of(schema: &Ident) -> Sql {
    sql!("SELECT version, name, applied_on, checksum FROM {}.refinery_schema_history", schema)
}

/// The history that [`rows_of`] asks for.
fn history_of(schema: &Ident, answer: &[SimpleQueryMessage]) -> Result<History, Error> {
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) if row.len() == 4 => Some(row),
        _ => None,
    });
    let applied: Result<Vec<Applied>, String> = rows
        .map(|row| {
            let version = row.get(0).and_then(|version| version.parse().ok());
            let version = version.ok_or_else(|| "a version that is no integer".to_owned())?;
            recorded(version, row.get(1), row.get(2), row.get(3))
        })
        .collect();
    let mut applied = applied.map_err(|row| foreign_row(schema, &row))?;
    // A process that has sorted nothing yet needs longer for it than for all the rest.
    applied.sort_by_key(|applied| applied.version);
    Ok(History(applied))
}

/// A row that refinery never wrote, and that its own reader would panic at.
fn foreign_row(schema: &Ident, row: &str) -> Error {
    Error::new(
        Code::HistoryDiverged,
        format!("read the history of {schema}: {HISTORY_TABLE} holds {row}"),
    )
}

/// Reads a row of the history from column `at` on.
fn applied(row: &tokio_postgres::Row, at: usize) -> Result<Applied, String> {
    let version = row
        .try_get::<_, i64>(at)
        .or_else(|_| row.try_get::<_, i32>(at).map(i64::from))
        .map_err(|_| "a version that is no integer".to_owned())?;
    let text = |column: usize| row.try_get::<_, Option<&str>>(column).ok().flatten();
    recorded(version, text(at + 1), text(at + 2), text(at + 3))
}

fn recorded(
    version: i64,
    name: Option<&str>,
    applied_on: Option<&str>,
    checksum: Option<&str>,
) -> Result<Applied, String> {
    let checksum = checksum.unwrap_or_default();
    Ok(Applied {
        version: Version(version),
        name: name.unwrap_or_default().to_owned(),
        applied_on: applied_on.unwrap_or_default().to_owned(),
        checksum: checksum
            .parse()
            .map_err(|_| format!("the checksum {checksum:?} of version {version}"))?,
    })
}

/// Which of these schemas exist, and whether each has a history. One query.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn written(
    session: &Session,
    schemas: &[&Ident],
) -> Result<BTreeMap<Ident, bool>, Error> {
    having(session, schemas, HISTORY_TABLE).await
}

/// Sums up histories that exist, in one message: what it takes to see who has nothing to do.
///
/// Each has a statement of its own: a `UNION ALL` of them takes twice as long to plan.
///
/// # Errors
///
/// Whatever the server refuses: one that may not be read, or holds what refinery never wrote, fails
/// the message for all.
pub async fn digests(
    session: &Session,
    schemas: &[Ident],
) -> Result<BTreeMap<Ident, Digest>, Error> {
    let statements: Vec<Sql> = schemas.iter().map(digest_of).collect();
    let rows = one_row_each(session, &Sql::joined(&statements, "; "))
        .await
        .map_err(|error| failed(error, format!("read histories in {}", session.database())))?;
    Ok(schemas.iter().cloned().zip(rows.iter().map(digest)).collect())
}

fn digest_of(schema: &Ident) -> Sql {
    sql!(
        "SELECT pg_catalog.count(*), pg_catalog.max(version), \
           pg_catalog.sum(checksum::pg_catalog.numeric) FROM {}.refinery_schema_history",
        schema
    )
}

/// Reads what [`digest_of`] asks for.
fn digest(row: &SimpleQueryRow) -> Digest {
    Digest {
        rows: row.get(0).and_then(|rows| rows.parse().ok()).unwrap_or(usize::MAX),
        newest: row.get(1).and_then(|version| version.parse().ok()).map(Version),
        // What is no sum of checksums agrees with no files, and is read row by row.
        checksums: row.get(2).map_or(0, |sum| sum.parse().unwrap_or(u128::MAX)),
    }
}

/// The rows of a script whose statements return one each.
async fn one_row_each(
    session: &Session,
    script: &Sql,
) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let messages = session.client().simple_query(script.as_str()).await?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

/// Reads the histories of many schemas of one database: one query to find them, then one for every
/// few hundred. A history that cannot be read is that schema's failure, and hides no other.
///
/// # Errors
///
/// Whatever the server refuses before a history is read.
pub async fn histories(session: &Session, schemas: &[&Ident]) -> Result<Histories, Error> {
    let found = written(session, schemas).await?;
    Ok(many::read(found, async |batch| read(session, batch).await).await)
}

/// Reads histories that exist, in one statement.
async fn read(session: &Session, schemas: &[Ident]) -> Result<Histories, Error> {
    let parts: Vec<Sql> = schemas
        .iter()
        .map(|schema| {
            sql!(
                "SELECT {}, version::int8, name::text, applied_on::text, checksum::text FROM {}.refinery_schema_history",
                Literal(schema.as_str()),
                schema
            )
        })
        .collect();
    let rows =
        session.client().query_typed(union(&parts).as_str(), &[]).await.map_err(|error| {
            let what = match schemas {
                [only] => format!("the history of {only}"),
                _ => "histories".to_owned(),
            };
            failed(error, format!("read {what} in {}", session.database()))
        })?;
    let mut histories = Histories::new();
    for row in &rows {
        let schema = Ident::new(row.get::<_, String>(0))?;
        let applied = applied(row, 1).map_err(|found| foreign_row(&schema, &found));
        let history = histories.entry(schema).or_insert_with(|| Ok(History::default()));
        match (history.as_mut(), applied) {
            (Ok(history), Ok(applied)) => history.0.push(applied),
            (Ok(_), Err(error)) => *history = Err(error),
            (Err(_), _) => {}
        }
    }
    Ok(histories)
}

fn union(parts: &[Sql]) -> Sql {
    sql!("{} ORDER BY 1, 2", Sql::joined(parts, " UNION ALL "))
}
