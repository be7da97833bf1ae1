//! refinery's own runner over our sessions: it decides, orders, checks and records; we carry.
//!
//! [`SchemaTarget`] implements refinery's three asynchronous traits for one schema. Each migration
//! is one transaction, sent as one pipeline: `BEGIN`, `SET LOCAL` for role, search path and limits,
//! the file as its author wrote it, the history row, `COMMIT`. Nothing outlives the transaction,
//! and every answer is checked: the server answers `COMMIT` of a failed transaction with success.
//! Only a file that asks for it runs outside, statement by statement, and is recorded afterwards.

use std::time::Duration;

use futures_util::future::join_all;
use refinery::error::Kind;
use refinery::{Migration as Unit, Runner};
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::answer::failed;
use super::carry::{CarryError, carry};
use super::outside::{self, Outside, Watcher};
use super::refusal::{place, refused};
use crate::error::{Code, Error, Location};
use crate::model::ident::Ident;
use crate::model::layout::HISTORY_TABLE;
use crate::model::migration::{Applied, History, Migration, MigrationSet, Version};
use crate::sql;
use crate::sql::{Literal, Sql};

/// How long a migration may wait and work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `lock_timeout` of every statement.
    pub lock: Duration,
    /// `statement_timeout`; none leaves the server's own.
    pub statement: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lock: Duration::from_secs(5), statement: None }
    }
}

/// What is to be migrated, and how.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    /// The schema.
    pub(super) schema: &'a Ident,
    /// Who owns its objects; the session's own role without one.
    pub(super) role: Option<&'a Ident>,
    /// How long migrations may wait and work.
    pub(super) limits: Limits,
    /// The files.
    pub(super) set: &'a MigrationSet,
    /// Whether the history table is there.
    pub(super) history_exists: bool,
    /// Up to which version; the newest without one.
    pub(super) to: Option<Version>,
    /// Who is told what a long statement outside of a transaction is doing.
    pub(super) watcher: Option<&'a dyn Watcher>,
}

/// Applies pending migrations to one schema through refinery.
///
/// The caller holds the schema's lock, and has decided what is pending under it. Migrations that were
/// applied before a failure stay; the failed one leaves nothing.
///
/// # Errors
///
/// The failure, with the file's place and the server's words, and what was applied before it.
pub(super) async fn migrate(
    session: &Client,
    order: &Order<'_>,
    pending: &[&Migration],
) -> Result<Vec<Version>, (Vec<Version>, Error)> {
    let schema = order.schema;
    let units = units(order.set).map_err(|error| (Vec::new(), error))?;
    let mut target = SchemaTarget {
        session,
        begin: sql!("BEGIN; {}", setup(schema, order.role, order.limits, &sql!("LOCAL"))),
        session_setup: setup(schema, order.role, order.limits, &sql!("SESSION")),
        become_owner: become_owner(order.role, &sql!("LOCAL")),
        history_exists: order.history_exists,
        pending,
        done: 0,
        schema,
        role: order.role,
        limits: order.limits,
        watcher: order.watcher,
        outside: None,
    };
    let mut runner =
        Runner::new(&units).set_grouped(false).set_abort_divergent(true).set_abort_missing(true);
    if let Some(version) = order.to {
        runner = runner.set_target(refinery::Target::Version(version.0));
    }
    runner.set_migration_table_name(sql!("{}.refinery_schema_history", schema).as_str());
    match runner.run_async(&mut target).await {
        Ok(report) => {
            Ok(report.applied_migrations().iter().map(|unit| Version(unit.version())).collect())
        }
        Err(error) => {
            let applied =
                pending.iter().take(target.done).map(|migration| migration.version).collect();
            Err((applied, target.explain(schema, error)))
        }
    }
}

/// The set as refinery knows it; the names were checked when the set was read.
fn units(set: &MigrationSet) -> Result<Vec<Unit>, Error> {
    set.migrations()
        .iter()
        .map(|migration| {
            Unit::unapplied(&migration.stem(), &migration.sql).map_err(|error| {
                Error::new(Code::Migrations, format!("read {}", migration.path)).because(error)
            })
        })
        .collect()
}

/// What every transaction begins with; `scope` is LOCAL or SESSION.
fn setup(schema: &Ident, role: Option<&Ident>, limits: Limits, scope: &Sql) -> Sql {
    let statement = limits.statement.map_or_else(
        || sql!(""),
        |limit| sql!("; SET {} statement_timeout = {}", scope, Literal(&milliseconds(limit))),
    );
    sql!(
        "{}; SET {} search_path = {}; SET {} lock_timeout = {}{}",
        become_owner(role, scope),
        scope,
        schema,
        scope,
        Literal(&milliseconds(limits.lock)),
        statement
    )
}

fn become_owner(role: Option<&Ident>, scope: &Sql) -> Sql {
    role.map_or_else(|| sql!(""), |role| sql!("SET {} ROLE {}", scope, role))
}

pub(super) fn milliseconds(limit: Duration) -> String {
    // 0 would mean "no limit".
    format!("{}ms", limit.as_millis().max(1))
}

/// One schema, as refinery's traits want it.
struct SchemaTarget<'a> {
    session: &'a Client,
    begin: Sql,
    session_setup: Sql,
    become_owner: Sql,
    history_exists: bool,
    pending: &'a [&'a Migration],
    done: usize,
    schema: &'a Ident,
    role: Option<&'a Ident>,
    limits: Limits,
    watcher: Option<&'a dyn Watcher>,
    /// Why a file that runs outside of a transaction stopped.
    outside: Option<Error>,
}

impl AsyncTransaction for SchemaTarget<'_> {
    type Error = CarryError;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, CarryError> {
        let mut queries: Vec<&str> = queries.collect();
        let is_migration = queries.len() > 1;
        // `CREATE TABLE IF NOT EXISTS` needs CREATE on the schema even when the table exists, and
        // costs a round trip.
        if !is_migration && self.history_exists {
            return Ok(0);
        }
        let mut closing = None;
        if is_migration
            && let Some(migration) = self.next().filter(|next| next.runs_outside_a_transaction())
        {
            let order = Outside {
                session: self.session,
                setup: &self.session_setup,
                schema: self.schema,
                role: self.role,
                limits: self.limits,
                migration,
                watcher: self.watcher,
            };
            match outside::run(&order).await {
                Ok(last) => closing = Some(last),
                Err(error) => {
                    self.outside = Some(error);
                    return Err(CarryError::Outside);
                }
            }
            queries.remove(0);
        }
        let mut messages = vec![self.begin.as_str()];
        for (at, query) in queries.iter().enumerate() {
            if at > 0 {
                // The file may have become another role, which cannot write the history.
                messages.push(self.become_owner.as_str());
            }
            messages.push(query);
        }
        if let Some(last) = &closing {
            messages.push(last.as_str());
        }
        messages.push("COMMIT");
        let answers = join_all(messages.iter().map(|text| carry(self.session, text))).await;
        let failed =
            answers.into_iter().enumerate().find_map(|(at, answer)| Some((at, answer.err()?)));
        if let Some((at, (statements, error))) = failed {
            // Whatever failed, the transaction is over: an open one would leak into the next.
            let ended = self.session.batch_execute("ROLLBACK").await;
            log::debug!("rolled back: {ended:?}");
            return Err(if queries.len() > 1 && at == 1 {
                CarryError::File(statements, error)
            } else {
                CarryError::Ours(error)
            });
        }
        if is_migration {
            self.done += 1;
        }
        Ok(queries.len())
    }
}

impl AsyncQuery<Vec<Unit>> for SchemaTarget<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Unit>, CarryError> {
        let rows = self.session.query_typed(query, &[]).await.map_err(CarryError::Ours)?;
        rows.iter()
            .map(|row| {
                let applied = applied(row, 0).map_err(CarryError::History)?;
                let on = time::OffsetDateTime::parse(
                    &applied.applied_on,
                    &time::format_description::well_known::Rfc3339,
                )
                .map_err(|_| CarryError::History(format!("the time {:?}", applied.applied_on)))?;
                Ok(Unit::applied(applied.version.0, applied.name, on, applied.checksum))
            })
            .collect()
    }
}

impl AsyncMigrate for SchemaTarget<'_> {}

impl SchemaTarget<'_> {
    /// The migration that is refinery's next.
    fn next(&self) -> Option<&Migration> {
        self.pending.get(self.done).copied()
    }

    /// Turns refinery's failure into one that names the file, the place and the server's words.
    fn explain(&mut self, schema: &Ident, error: refinery::Error) -> Error {
        if let Some(told) = self.outside.take() {
            return told;
        }
        let carried = match error.kind() {
            Kind::Connection(_, source) => source.downcast_ref::<CarryError>(),
            _ => None,
        };
        let Some(migration) = self.next() else {
            return Error::new(Code::Server, format!("migrate {schema}")).because(error);
        };
        match carried {
            Some(CarryError::File(statements, server)) => {
                let attempt = format!("apply {} to {schema}", migration.path);
                let mut failure = refused(server, attempt);
                if server.code() == Some(&SqlState::ACTIVE_SQL_TRANSACTION) {
                    failure = failure.hint(format!(
                        "begin {} with the line: -- tenantctl:no-transaction",
                        migration.path
                    ));
                }
                match place(migration, server, *statements) {
                    Some(place) => failure.at(Location {
                        file: migration.path.clone(),
                        line: place.line,
                        column: place.column,
                    }),
                    None => failure,
                }
            }
            Some(CarryError::Ours(server)) => {
                refused(server, format!("record {} in the history of {schema}", migration.path))
            }
            _ => Error::new(Code::HistoryDiverged, format!("migrate {schema}")).because(error),
        }
    }
}

/// Reads a row of the history from column `at` on.
pub(super) fn applied(row: &tokio_postgres::Row, at: usize) -> Result<Applied, String> {
    let version: i64 = row
        .try_get::<_, i64>(at)
        .or_else(|_| row.try_get::<_, i32>(at).map(i64::from))
        .map_err(|_| "a version that is no integer".to_owned())?;
    let text =
        |column: usize| row.try_get::<_, Option<String>>(column).ok().flatten().unwrap_or_default();
    let checksum = text(at + 3);
    Ok(Applied {
        version: Version(version),
        name: text(at + 1),
        applied_on: text(at + 2),
        checksum: checksum
            .parse()
            .map_err(|_| format!("the checksum {checksum:?} of version {version}"))?,
    })
}

/// Reads refinery's history of one schema; none when the table is absent.
///
/// # Errors
///
/// [`Code::HistoryDiverged`] for a row that refinery never wrote.
pub(super) async fn history(session: &Client, schema: &Ident) -> Result<Option<History>, Error> {
    let query = sql!(
        "SELECT version, name, applied_on, checksum FROM {}.refinery_schema_history ORDER BY version",
        schema
    );
    match session.query_typed(query.as_str(), &[]).await {
        Ok(rows) => {
            let applied: Result<Vec<Applied>, String> =
                rows.iter().map(|row| applied(row, 0)).collect();
            applied.map(|rows| Some(History(rows))).map_err(|row| foreign_row(schema, &row))
        }
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

/// A row that refinery never wrote, and that its own reader would panic at.
pub(super) fn foreign_row(schema: &Ident, row: &str) -> Error {
    Error::new(
        Code::HistoryDiverged,
        format!("read the history of {schema}: {HISTORY_TABLE} holds {row}"),
    )
}
