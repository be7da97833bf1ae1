//! Migrates one schema, and reads the histories of many at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::answer::failed;
use super::lock::{self, LockKey};
use super::outside::Watcher;
use super::refinery::{self, Limits};
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::{History, MigrationSet, Version};
use crate::model::pooling::Operation;
use crate::model::tenant::Placement;
use crate::plan::pending::decide;
use crate::sql;
use crate::sql::{Literal, Sql};

/// So many histories are read in one statement: larger ones plan slower than they save.
const BATCH: usize = 150;

/// One schema to migrate.
#[derive(Clone)]
pub struct Target<'a> {
    /// Where it is.
    pub placement: &'a Placement,
    /// Who owns its objects.
    pub owner: &'a Ident,
    /// The files.
    pub set: &'a MigrationSet,
    /// Up to which version; the newest without one.
    pub to: Option<Version>,
    /// How long migrations may wait and work.
    pub limits: Limits,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// Who is told what a long statement outside of a transaction is doing.
    pub watcher: Option<&'a dyn Watcher>,
}

/// The histories of the schemas of one database, as far as they can be read; a schema that does not
/// exist is absent, and one that was never migrated has an empty history.
pub type Histories = BTreeMap<Ident, Result<History, Error>>;

/// Applies what is pending, under the schema's lock. Returns the version it started from, and what
/// was applied.
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
        let pending = decide(target.set, known, target.to).map_err(before)?;
        if pending.is_empty() {
            return Ok((known.version(), Vec::new()));
        }
        let order = refinery::Order {
            schema,
            role: Some(target.owner),
            limits: target.limits,
            set: target.set,
            history_exists: history.is_some(),
            to: target.to,
            watcher: target.watcher,
        };
        let applied = refinery::migrate(client, &order, &pending).await?;
        Ok((known.version(), applied))
    }
    .await;
    // A failed session gives the lock back by ending; the failure that matters is the other one.
    if let Err(error) = lock::release(client, &key).await {
        log::debug!("{error}");
    }
    done
}

/// Reads the histories of many schemas of one database: one query to find them, then one for every
/// few hundred. A history that cannot be read is that schema's failure, and hides no other.
///
/// # Errors
///
/// Whatever the server refuses before a history is read.
pub async fn histories(session: &Session, schemas: &[&Ident]) -> Result<Histories, Error> {
    let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
    let rows = session
        .client()
        .query_typed(
            "SELECT n.nspname::text, EXISTS (SELECT FROM pg_catalog.pg_class c \
                 WHERE c.relnamespace = n.oid AND c.relname = $2 AND c.relkind IN ('r', 'p')) \
             FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1) ORDER BY 1",
            &[(&names, Type::TEXT_ARRAY), (&HISTORY_TABLE, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for histories in {}", session.database())))?;
    let mut histories = Histories::new();
    let mut written = Vec::new();
    for row in &rows {
        let schema = Ident::new(row.get::<_, String>(0))?;
        if row.get(1) {
            written.push(schema.clone());
        }
        histories.insert(schema, Ok(History::default()));
    }
    for batch in written.chunks(BATCH) {
        match read(session, batch).await {
            Ok(read) => histories.extend(read),
            // One that may not be read fails the statement for all.
            Err(_) => {
                for schema in batch {
                    match read(session, std::slice::from_ref(schema)).await {
                        Ok(read) => histories.extend(read),
                        Err(error) => {
                            histories.insert(schema.clone(), Err(error));
                        }
                    }
                }
            }
        }
    }
    Ok(histories)
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
