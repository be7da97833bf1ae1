//! Migrates one schema, and reads the histories of many at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::answer::failed;
use super::lock::{self, LockKey};
use super::refinery::{self, Limits};
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::{History, MigrationSet, Version};
use crate::model::tenant::Placement;
use crate::plan::pending::decide;
use crate::sql;
use crate::sql::{Literal, Sql};

/// So many histories are read in one statement: larger ones plan slower than they save.
const BATCH: usize = 150;

/// One schema to migrate.
#[derive(Clone, Debug)]
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
}

/// The histories of the schemas of one database; a schema without a history is absent.
pub type Histories = BTreeMap<Ident, History>;

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
/// few hundred.
///
/// # Errors
///
/// Whatever the server refuses, and a row that refinery never wrote.
pub async fn histories(session: &Session, schemas: &[&Ident]) -> Result<Histories, Error> {
    let client = session.client();
    let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
    let rows = client
        .query_typed(
            "SELECT n.nspname::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = $2 AND c.relkind IN ('r', 'p') AND n.nspname = ANY ($1) ORDER BY 1",
            &[(&names, Type::TEXT_ARRAY), (&HISTORY_TABLE, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for histories in {}", session.database())))?;
    let found: Vec<Ident> =
        rows.iter().map(|row| Ident::new(row.get::<_, String>(0))).collect::<Result<_, _>>()?;
    let mut histories: Histories =
        found.iter().map(|schema| (schema.clone(), History::default())).collect();
    for batch in found.chunks(BATCH) {
        let parts: Vec<Sql> = batch
            .iter()
            .map(|schema| {
                sql!(
                    "SELECT {}, version::int8, name::text, applied_on::text, checksum::text FROM {}.refinery_schema_history",
                    Literal(schema.as_str()),
                    schema
                )
            })
            .collect();
        let rows = client
            .query_typed(union(&parts).as_str(), &[])
            .await
            .map_err(|error| failed(error, format!("read histories in {}", session.database())))?;
        for row in &rows {
            let schema = Ident::new(row.get::<_, String>(0))?;
            let applied = refinery::applied(row, 1)
                .map_err(|found| refinery::foreign_row(&schema, &found))?;
            if let Some(history) = histories.get_mut(&schema) {
                history.0.push(applied);
            }
        }
    }
    Ok(histories)
}

fn union(parts: &[Sql]) -> Sql {
    let text: Vec<&str> = parts.iter().map(Sql::as_str).collect();
    Sql::trusted(format!("{} ORDER BY 1, 2", text.join(" UNION ALL ")))
}
