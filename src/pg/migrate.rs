//! Migrates one schema, and reads the histories of many at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::answer::failed;
use super::decided::Decided;
use super::home::Limits;
use super::lock::{self, LockKey};
use super::many::{self, having};
use super::outside::Watcher;
use super::refinery::{self, Commit, Guard, NotApplied, Order, Prepared, Repeating};
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::{Digest, History, Version};
use crate::model::pooling::Operation;
use crate::model::tenant::Placement;
use crate::plan::pending::decide;
use crate::sql;
use crate::sql::{Literal, Sql};

/// One schema to migrate.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Where it is.
    pub placement: &'a Placement,
    /// Who owns its objects.
    pub owner: &'a Ident,
    /// The files.
    pub files: &'a Prepared<'a>,
    /// Up to which version; the newest without one.
    pub to: Option<Version>,
    /// How long migrations may wait and work.
    pub limits: Limits,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// Which repeatable files come with what is applied at once.
    pub repeatables: Repeating<'a>,
    /// Who is told what a long statement outside of a transaction is doing.
    pub watcher: Option<&'a dyn Watcher>,
    /// Whether what runs on the session may take any identity.
    pub superuser: bool,
    /// When what is applied at once counts as committed.
    pub commit: Commit,
}

/// The histories of the schemas of one database, as far as they can be read; a schema that does not
/// exist is absent, and one that was never migrated has an empty history.
pub type Histories = BTreeMap<Ident, Result<History, Error>>;

/// Applies what is pending, one transaction per file, under the schema's lock, which the session
/// holds meanwhile. Returns the version it started from, and what was applied.
///
/// # Errors
///
/// The failure, with what was applied before it.
pub async fn migrate_target(
    session: &Session,
    target: &Target<'_>,
) -> Result<(Option<Version>, Vec<Version>), (Vec<Version>, Error)> {
    let client = session.client();
    let schema = &target.placement.schema;
    let key = LockKey::migrations(target.placement);
    let before = |error| (Vec::new(), error);
    session.require(Operation::Session, &key.attempt()).await.map_err(before)?;
    lock::acquire(client, &key, target.lock_wait).await.map_err(before)?;
    let done = async {
        let history = refinery::history(client, schema).await.map_err(before)?;
        let none = History::default();
        let known = history.as_ref().unwrap_or(&none);
        let pending = decide(target.files.set(), known, target.to).map_err(before)?;
        if pending.is_empty() {
            return Ok((known.version(), Vec::new()));
        }
        // They follow in a transaction of their own, when the last of the files is there.
        let alone = Target { repeatables: Repeating::default(), ..*target };
        let order = alone.order(history.as_ref(), Guard::Held);
        let applied = refinery::migrate(client, &order, &pending)
            .await
            .map_err(|not_applied| not_applied.failure(schema))?;
        Ok((known.version(), applied))
    }
    .await;
    // A failed session gives the lock back by ending; the failure that matters is the other one.
    if let Err(error) = lock::release(client, &key).await {
        log::debug!("{error}");
    }
    done
}

/// Applies what is pending in one transaction, which is one message to the server: it takes the
/// schema's lock, makes sure that the history is the `known` one (none where the table is not there
/// yet), and does and records everything that was `decided` over it, or nothing. Where the lock is
/// `held` since before the history was read, it is given back with the transaction instead.
///
/// # Errors
///
/// [`NotApplied`]: somebody else was faster, or is at it, or a statement failed.
pub async fn migrate_at_once(
    session: &Session,
    target: &Target<'_>,
    known: Option<&History>,
    decided: &Decided,
    held: bool,
) -> Result<Vec<Version>, NotApplied> {
    let key = LockKey::migrations(target.placement).number();
    let guard = if held { Guard::HandedOver(key) } else { Guard::Taken(key) };
    let order = Order { inherited: !session.is_untouched().await, ..target.order(known, guard) };
    refinery::migrate_at_once(session.client(), &order, decided).await
}

/// Returns when everything that the session has committed would survive a crash, as far as the
/// server's own `synchronous_commit` promises that.
///
/// A transaction that writes nothing is not waited for, so this one leaves a message in the log,
/// which only logical decoding would read.
///
/// # Errors
///
/// Whatever the server refuses. A lost connection says nothing about what was committed.
pub async fn make_durable(session: &Session) -> Result<(), Error> {
    session
        .client()
        .batch_execute(
            "RESET ALL; SELECT pg_catalog.pg_logical_emit_message(true, 'tenantctl', 'durable')",
        )
        .await
        .map_err(|error| failed(error, "wait until migrations would survive a crash"))
}

/// Reads the history of one schema; none where the table is not there.
///
/// # Errors
///
/// [`Code::HistoryDiverged`] for a row that refinery never wrote; [`Code::NotFound`] where the
/// schema is not there; whatever the server refuses.
pub async fn history(session: &Session, schema: &Ident) -> Result<Option<History>, Error> {
    if let Some(history) = refinery::history(session.client(), schema).await? {
        return Ok(Some(history));
    }
    let there = written(session, std::slice::from_ref(&schema)).await?;
    if there.contains_key(schema) {
        return Ok(None);
    }
    let what = format!("there is no schema {schema} in database {}", session.database_ident());
    Err(Error::new(Code::NotFound, what))
}

impl<'a> Target<'a> {
    fn order(&self, history: Option<&'a History>, guard: Guard) -> Order<'a> {
        Order {
            schema: &self.placement.schema,
            role: Some(self.owner),
            limits: self.limits,
            files: self.files,
            history,
            to: self.to,
            guard,
            watcher: self.watcher,
            superuser: self.superuser,
            commit: self.commit,
            inherited: true,
            repeatables: self.repeatables,
        }
    }
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

/// Takes the lock of a schema's migrations for the session if it is free, and reads the history after
/// that, in one message. Also returns whether the session holds the lock: until
/// [`migrate_at_once`] hands it over to its transaction, or it ends.
///
/// # Errors
///
/// As [`history`].
pub async fn lock_and_read(
    session: &Session,
    placement: &Placement,
) -> Result<(Option<History>, bool), Error> {
    let schema = &placement.schema;
    let key = LockKey::migrations(placement).number();
    match refinery::lock_and_read(session.client(), schema, key).await? {
        Some((read, held)) => Ok((Some(read), held)),
        None => Ok((history(session, schema).await?, false)),
    }
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
        let applied =
            refinery::applied(row, 1).map_err(|found| refinery::foreign_row(&schema, &found));
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
