//! Rewrites the history of one schema: adopts what stands there, mends, takes back.
//!
//! Each is one transaction under the schema's lock, and is decided on the history as it is under
//! that lock.

use std::collections::BTreeSet;
use std::time::Duration;

use refinery::{Migration as Unit, Runner};
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use tokio_postgres::types::Type;

use super::answer::failed;
use super::history;
use super::home::{self, Limits};
use super::lock::{self, LockKey};
use super::refinery::Prepared;
use super::script::Script;
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::layout::{HISTORY_TABLE, REPEATABLES_TABLE};
use crate::model::migration::{History, MigrationSet, Undo, Version};
use crate::model::pooling::Operation;
use crate::model::tenant::Placement;
use crate::plan::rewrite::{self, Mending, RowChange};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// The SQLSTATE of our own refusal to go on without the lock.
const BUSY: &str = "TC001";

/// The SQLSTATE of our own refusal to take back something else than was decided.
const MOVED: &str = "TC002";

/// A schema whose history is rewritten.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    /// Where it is.
    pub placement: &'a Placement,
    /// Who owns its objects.
    pub owner: &'a Ident,
    /// The files.
    pub set: &'a MigrationSet,
    /// How long statements may wait and work.
    pub limits: Limits,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
}

impl Schema<'_> {
    fn name(&self) -> &Ident {
        &self.placement.schema
    }

    /// What a transaction in it begins with.
    pub(super) fn setup(&self) -> Sql {
        home::setup(Some(self.owner), self.name(), self.limits, &sql!("LOCAL"))
    }

    /// What every file and statement begins with: a file before may have gone elsewhere.
    pub(super) fn at_home(&self) -> Sql {
        home::at_home(Some(self.owner), self.name(), &sql!("LOCAL"))
    }
}

/// Which of the schemas hold tables, views or sequences beside what records migrations.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn occupied(session: &Session, schemas: &[&Ident]) -> Result<BTreeSet<Ident>, Error> {
    let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
    let records: Vec<&str> = vec![HISTORY_TABLE, REPEATABLES_TABLE];
    let rows = session
        .client()
        .query_typed(
            "SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1) \
             AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid \
                         AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relname <> ALL ($2))",
            &[(&names, Type::TEXT_ARRAY), (&records, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, format!("look for objects in {}", session.database())))?;
    rows.iter().map(|row| Ident::new(row.get::<_, String>(0))).collect()
}

/// Works under the schema's lock, on a history that nobody of us changes meanwhile.
pub(super) async fn locked<T>(
    session: &Session,
    schema: &Schema<'_>,
    work: impl AsyncFnOnce(Option<History>) -> Result<T, Error>,
) -> Result<T, Error> {
    let client = session.client();
    let key = LockKey::migrations(schema.placement);
    session.require(Operation::Session, &key.attempt()).await?;
    lock::acquire(client, &key, schema.lock_wait).await?;
    let done = match history::of(client, schema.name()).await {
        Ok(history) => work(history).await,
        Err(error) => Err(error),
    };
    // A failed session gives the lock back by ending; the failure that matters is the other one.
    if let Err(error) = lock::release(client, &key).await {
        log::debug!("{error}");
    }
    done
}

/// Records the migrations up to `to` as applied, through refinery's own runner. Returns the rows
/// that came; none when they were there.
///
/// # Errors
///
/// As [`rewrite::baseline`], and whatever the server refuses; nothing is recorded then.
pub async fn baseline(
    session: &Session,
    schema: &Schema<'_>,
    to: Version,
) -> Result<Vec<RowChange>, Error> {
    let client = session.client();
    locked(session, schema, async |history| {
        let none = History::default();
        let occupied = occupied(session, &[schema.name()]).await?;
        let known = history.as_ref().unwrap_or(&none);
        let changes = rewrite::baseline(schema.set, known, !occupied.is_empty(), to)?;
        if changes.is_empty() {
            return Ok(changes);
        }
        let attempt = format!("record V{to} as the beginning of {}", schema.name());
        let mut script = Script::default();
        script.ours(&*attempt, &sql!("BEGIN; {}", schema.setup()));
        let written = fake(schema, to).await?;
        // `CREATE TABLE IF NOT EXISTS` needs CREATE on the schema even when the table exists.
        for statement in written.iter().skip(usize::from(history.is_some())) {
            script.refinerys(&*attempt, statement);
        }
        script.ours(&*attempt, &sql!("COMMIT"));
        script.send(client).await.map_err(|refusal| refusal.error)?;
        Ok(changes)
    })
    .await
}

/// Makes a history say what the files say. Returns what was mended, and what was not.
///
/// # Errors
///
/// Whatever the server refuses; nothing is mended then.
pub async fn repair(
    session: &Session,
    schema: &Schema<'_>,
    accepted: &BTreeSet<Version>,
) -> Result<Mending, Error> {
    locked(session, schema, async |history| {
        let mending = rewrite::repair(schema.set, &history.unwrap_or_default(), accepted);
        if mending.changes.is_empty() {
            return Ok(mending);
        }
        let attempt = format!("mend the history of {}", schema.name());
        let mut script = Script::default();
        script.ours(&*attempt, &sql!("BEGIN; {}", schema.setup()));
        if mending.widens() {
            let widen = sql!(
                "ALTER TABLE {}.refinery_schema_history ALTER COLUMN version TYPE int8",
                schema.name()
            );
            script.ours(&*attempt, &widen);
        }
        for change in &mending.changes {
            script.ours(&*attempt, &row(schema.name(), change));
        }
        script.ours(&*attempt, &sql!("COMMIT"));
        script.send(session.client()).await.map_err(|refusal| refusal.error)?;
        Ok(mending)
    })
    .await
}

/// Runs ways back, newest first, and takes their rows out of the history: one message, one
/// transaction. Nothing happens when the history's newest rows are no longer those of `back`.
///
/// # Errors
///
/// * [`Code::LockBusy`] when another tenantctl works on the schema for too long.
/// * [`Code::Refused`] when the history changed since it was decided.
/// * Whatever the server refuses, with the file and the place in it.
pub async fn take_back(
    session: &Session,
    schema: &Schema<'_>,
    back: &[(&Undo, RowChange)],
) -> Result<(), Error> {
    let client = session.client();
    let key = LockKey::migrations(schema.placement);
    let script = way_back(schema, &key, back);
    let sent = match script.send(client).await {
        // Somebody has the lock: it is waited for, and then the session has it already.
        Err(refusal) if refusal.ours.as_deref() == Some(BUSY) => {
            session.require(Operation::Session, &key.attempt()).await?;
            lock::acquire(client, &key, schema.lock_wait).await?;
            let sent = script.send(client).await;
            if let Err(error) = lock::release(client, &key).await {
                log::debug!("{error}");
            }
            sent
        }
        sent => sent,
    };
    sent.map_err(|refusal| match refusal.ours.as_deref() {
        Some(MOVED) => Error::new(
            Code::Refused,
            format!("take migrations of {} back: its history has changed", schema.name()),
        )
        .hint("see what is there now with --dry-run, and run the command again"),
        _ => refusal.error,
    })
}

fn way_back<'a>(schema: &Schema<'_>, key: &LockKey, back: &[(&'a Undo, RowChange)]) -> Script<'a> {
    let name = schema.name();
    let mut script = Script::default();
    script.ours(format!("begin to take migrations of {name} back"), &sql!("BEGIN"));
    script.ours(format!("lock the migrations of {name}"), &try_lock(key));
    script.ours(format!("become the owner of {name}"), &schema.setup());
    script.ours(format!("read the history of {name}"), &expect_newest(name, back));
    for (undo, change) in back {
        let attempt = format!("take V{} of {name} back with {}", undo.version, undo.path);
        script.file(attempt, &undo.path, &undo.sql);
        script.ours(format!("become the owner of {name} again"), &schema.at_home());
        script.ours(
            format!("take V{} out of the history of {name}", undo.version),
            &row(name, change),
        );
    }
    if !schema.set.repeatables().is_empty() {
        script.ours(format!("forget the repeatable files of {name}"), &forget_repeatables(name));
    }
    script.ours(format!("commit what was taken back in {name}"), &sql!("COMMIT"));
    script
}

/// Takes the lock for the transaction, or ends it.
fn try_lock(key: &LockKey) -> Sql {
    let block = sql!(
        "BEGIN IF NOT pg_catalog.pg_try_advisory_xact_lock({}) THEN \
         RAISE EXCEPTION 'another session migrates this schema' USING ERRCODE = {}; END IF; END",
        key.number(),
        Literal(BUSY)
    );
    sql!("DO {}", Literal(block.as_str()))
}

/// Ends the transaction unless the newest rows of the history are those that are to go.
fn expect_newest(schema: &Ident, back: &[(&Undo, RowChange)]) -> Sql {
    let versions: Vec<i64> = back.iter().map(|(undo, _)| undo.version.0).collect();
    let oldest = versions.last().copied().unwrap_or_default();
    let block = sql!(
        "BEGIN IF ARRAY(SELECT version::int8 FROM {}.refinery_schema_history WHERE version >= {} \
         ORDER BY version DESC) <> ARRAY[{}]::int8[] THEN \
         RAISE EXCEPTION 'the history has changed' USING ERRCODE = {}; END IF; END",
        schema,
        oldest,
        List(&versions),
        Literal(MOVED)
    );
    sql!("DO {}", Literal(block.as_str()))
}

/// What an undo dropped, a repeatable file may have made: all of them run again with the next
/// migration.
fn forget_repeatables(schema: &Ident) -> Sql {
    let table = sql!("{}.tenantctl_repeatables", schema);
    let delete = sql!("DELETE FROM {}", table);
    let block = sql!(
        "BEGIN IF pg_catalog.to_regclass({}) IS NOT NULL THEN EXECUTE {}; END IF; END",
        Literal(table.as_str()),
        Literal(delete.as_str())
    );
    sql!("DO {}", Literal(block.as_str()))
}

/// Changes one row, or takes it out.
fn row(schema: &Ident, change: &RowChange) -> Sql {
    let version = change.version.0;
    match &change.now {
        Some(now) => sql!(
            "UPDATE {}.refinery_schema_history SET name = {}, checksum = {} WHERE version = {}",
            schema,
            Literal(&now.name),
            Literal(&now.checksum.to_string()),
            version
        ),
        None => {
            sql!("DELETE FROM {}.refinery_schema_history WHERE version = {}", schema, version)
        }
    }
}

/// What refinery would send to record the versions up to `to` in a schema without a history: the
/// table first, then one row for each.
async fn fake(schema: &Schema<'_>, to: Version) -> Result<Vec<String>, Error> {
    let attempt = || format!("record V{to} as the beginning of {}", schema.name());
    let files = Prepared::new(schema.set)?;
    let mut runner = Runner::new(files.units()).set_target(refinery::Target::FakeVersion(to.0));
    runner.set_migration_table_name(sql!("{}.refinery_schema_history", schema.name()).as_str());
    let mut pen = Pen::default();
    runner
        .run_async(&mut pen)
        .await
        .map_err(|error| Error::new(Code::Migrations, attempt()).because(error))?;
    Ok(pen.0)
}

/// Writes down what refinery would send to a schema that knows nothing.
#[derive(Default)]
struct Pen(Vec<String>);

impl AsyncTransaction for Pen {
    type Error = std::convert::Infallible;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let before = self.0.len();
        self.0.extend(queries.map(str::to_owned));
        Ok(self.0.len() - before)
    }
}

impl AsyncQuery<Vec<Unit>> for Pen {
    async fn query<'a>(&'a mut self, _: &'a str) -> Result<Vec<Unit>, Self::Error> {
        Ok(Vec::new())
    }
}

impl AsyncMigrate for Pen {}
