//! One of the two places of a move: a session in it, and how its rows are told apart.

use std::time::{Duration, Instant};

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::error::Error;
use crate::model::desired::Sharing;
use crate::model::holdings::{HeldTable, Holdings};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::pooling::Operation;
use crate::model::tenant::{Isolation, Tenant};
use crate::pg::answer::failed;
use crate::pg::lock::{self, LockKey};
use crate::pg::observe::holdings::holdings;
use crate::pg::session::Session;
use crate::plan::moving::estimate::Load;
use crate::plan::transfer;
use crate::sql;
use crate::sql::{Literal, Sql};

/// Values look the same whoever reads them, on whatever server; and limits that were not made for
/// what runs for as long as there are rows do not hold.
fn spelling() -> Sql {
    sql!(
        "SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres'; \
         SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; \
         SET LOCAL lc_monetary = 'C'; SET LOCAL client_encoding = 'UTF8'; \
         SET LOCAL client_min_messages = warning; \
         SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings \
         WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
    )
}

/// One of the two places of a move.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// A session in its database that nobody else uses.
    pub session: &'a Session,
    /// The tenant as it is, or would be, there.
    pub tenant: &'a Tenant,
    /// How rows are told apart, where tenants share tables.
    pub sharing: Option<&'a Sharing>,
    /// The move's id: what it itself is let in by.
    pub id: Uuid,
}

impl Place<'_> {
    /// Whether its tables are everybody's.
    pub(in crate::pg) fn is_shared(&self) -> bool {
        self.tenant.isolation == Isolation::Shared
    }

    /// What every transaction there begins with: its owner, its search path, its tenant; let in where
    /// others are kept out.
    pub(in crate::pg) fn enter(&self, snapshot: bool, lock: Duration) -> Sql {
        let begin = if snapshot {
            sql!("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        } else {
            sql!("BEGIN")
        };
        let lock = format!("{}ms", lock.as_millis().max(1));
        sql!(
            "{}; SET LOCAL lock_timeout = {}; {}; SET LOCAL ROLE {}; {}",
            begin,
            Literal(&lock),
            spelling(),
            self.tenant.owner,
            self.context()
        )
    }

    /// The tenant that policies see, the names that types are spelled by, and the key to what is
    /// closed.
    pub(in crate::pg) fn context(&self) -> Sql {
        let id = self.id.to_string();
        let mine = sql!(
            "SET LOCAL search_path = {}; SET LOCAL tenantctl.move = {}",
            self.tenant.placement.schema,
            Literal(&id)
        );
        match self.sharing {
            Some(sharing) => sql!(
                "{}; SELECT pg_catalog.set_config({}, {}, true)",
                mine,
                Literal(sharing.tenancy.setting.as_str()),
                Literal(&self.tenant.key)
            ),
            None => mine,
        }
    }

    /// Runs statements; `what` says what for.
    pub(in crate::pg) async fn run(&self, statements: &Sql, what: &str) -> Result<(), Error> {
        self.session
            .client()
            .batch_execute(statements.as_str())
            .await
            .map_err(|error| failed(error, self.attempt(what)))
    }

    pub(in crate::pg) fn attempt(&self, what: &str) -> String {
        format!("{what} of tenant {} in {}", self.tenant.id, self.tenant.placement)
    }

    /// Ends a transaction well, or undoes it.
    pub(in crate::pg) async fn end<T>(
        &self,
        done: Result<T, Error>,
        what: &str,
    ) -> Result<T, Error> {
        match done {
            Ok(done) => {
                self.run(&sql!("COMMIT"), what).await?;
                Ok(done)
            }
            Err(error) => {
                let ended = self.session.client().batch_execute("ROLLBACK").await;
                log::debug!("rolled back: {ended:?}");
                Err(error)
            }
        }
    }

    /// Where a table's rows of the tenant are.
    pub(in crate::pg) fn rows(&self, name: &QualifiedName, table: &HeldTable) -> Sql {
        let only = if table.partitioned { sql!("") } else { sql!("ONLY ") };
        match transfer::filter(table, &self.tenant.key) {
            Some(held) => sql!(" FROM {}{} AS held WHERE {}", only, name, held),
            None => sql!(" FROM {}{} AS held", only, name),
        }
    }

    /// Becomes the role that sees the tenant's rows of a table, and may write them.
    pub(in crate::pg) fn becoming(
        &self,
        name: &QualifiedName,
        table: &HeldTable,
    ) -> Result<Sql, Error> {
        Ok(sql!("SET LOCAL ROLE {}", transfer::reader(name, table, self.tenant)?))
    }

    /// Reads what the tenant has there.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses; `not-found` when there is no such schema.
    pub async fn holdings(&self) -> Result<Holdings, Error> {
        self.run(&sql!("BEGIN TRANSACTION READ ONLY"), "read the tables").await?;
        let read = holdings(
            self.session.client(),
            self.tenant,
            self.sharing.map(|sharing| &sharing.tenancy),
        )
        .await;
        let ended = self.session.client().batch_execute("ROLLBACK").await;
        let mut read = read?;
        ended.map_err(|error| failed(error, self.attempt("read the tables")))?;
        // What this move itself has put there is nobody's.
        for table in read.tables.values_mut() {
            table.triggers.retain(|name, _| !name.as_str().starts_with(super::closing::PREFIX));
            table.foreign_policies.retain(|name| !name.starts_with(super::sealing::PREFIX));
        }
        Ok(read)
    }
}

/// Counts the tenant's rows and measures how fast a sample of them is read.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn measure(place: &Place<'_>, holdings: &Holdings) -> Result<Load, Error> {
    const SAMPLE: i64 = 5000;
    let what = "measure the rows";
    place.run(&place.enter(true, Duration::from_secs(5)), what).await?;
    let client = place.session.client();
    let mut load = Load { tables: holdings.tables.len() as u64, ..Load::default() };
    let (mut read, mut took) = (0_i64, Duration::ZERO);
    let measured = async {
        for (name, table) in &holdings.tables {
            let rows = place.rows(name, table);
            let begun = Instant::now();
            let query = sql!(
                "SELECT (SELECT pg_catalog.count(*){}), count(*), \
                        coalesce(sum(pg_catalog.octet_length(pg_catalog.textin(pg_catalog.record_out(sample)))), 0)::int8 \
                 FROM (SELECT held.*{} LIMIT {}) AS sample",
                rows,
                rows,
                SAMPLE
            );
            let found = client
                .query_typed(query.as_str(), &[])
                .await
                .map_err(|error| failed(error, place.attempt(what)))?;
            let Some(row) = found.first() else { continue };
            let (all, sampled, bytes): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            took += begun.elapsed();
            read += bytes;
            load.rows += all.unsigned_abs();
            load.bytes += (all.unsigned_abs() * bytes.unsigned_abs())
                .checked_div(sampled.unsigned_abs())
                .unwrap_or(0);
        }
        Ok(())
    };
    let measured = measured.await;
    place.end(measured, what).await?;
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    if read > 100_000 {
        load.read_rate = Some(read as f64 / took.as_secs_f64().max(1e-4));
    }
    Ok(load)
}

/// Takes a place for this process alone, until the session ends: what a killed process has asked the
/// server for may still be going on there.
///
/// # Errors
///
/// `lock-busy` when another session holds it for longer than `wait`.
pub async fn occupy(session: &Session, tenant: &Tenant, wait: Duration) -> Result<(), Error> {
    let key = LockKey::place(&tenant.id, &tenant.placement);
    session.require(Operation::Session, &key.attempt()).await?;
    lock::acquire(session.client(), &key, wait).await
}

/// Whether a server has a database of that name.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn has_database(session: &Session, name: &Ident) -> Result<bool, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT FROM pg_catalog.pg_database WHERE datname = $1 AND datconnlimit <> -2",
            &[(&name.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for database {name}")))?;
    Ok(!rows.is_empty())
}

/// Reads text values.
pub(super) async fn texts(
    place: &Place<'_>,
    query: &Sql,
    what: &str,
) -> Result<Vec<String>, Error> {
    let rows = place
        .session
        .client()
        .query_typed(query.as_str(), &[])
        .await
        .map_err(|error| failed(error, place.attempt(what)))?;
    rows.iter()
        .map(|row| row.try_get(0).map_err(|error| failed(error, place.attempt(what))))
        .collect()
}

/// The names of tables, for one query.
pub(super) async fn having_trigger(
    place: &Place<'_>,
    schemas: &[&str],
    trigger: &str,
) -> Result<Vec<(String, String)>, Error> {
    let rows = place
        .session
        .client()
        .query_typed(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_trigger t \
             JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = ANY ($1) AND t.tgname = $2 AND NOT t.tgisinternal",
            &[(&schemas, Type::TEXT_ARRAY), (&trigger, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, place.attempt("look who is kept out")))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A name of ours that differs from tenant to tenant.
pub(super) fn own_name(prefix: &str, id: Uuid, suffix: &str) -> Result<Ident, Error> {
    Ident::new(format!("{prefix}{}{suffix}", id.simple()))
}
