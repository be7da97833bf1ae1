//! refinery's own runner over our sessions: it decides, orders, checks and records; we carry.
//!
//! [`SchemaTarget`] implements refinery's three asynchronous traits for one schema. What refinery
//! hands over goes to the server as one message, which the server takes for one transaction: setup
//! for role, search path and limits, the files as their authors wrote them, the history rows.
//! Nothing outlives it. Only a file that asks for it runs outside, statement by statement, and is
//! recorded afterwards.

use refinery::error::Kind;
use refinery::{Migration as Unit, Runner};
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::carry::CarryError;
use super::decided::Decided;
use super::home::{Limits, setup};
use super::message::{Message, Unsent, Whose};
use super::outside::{self, Outside, Watcher};
use super::refusal::{place, refused};
use super::repeatables::{Piece, pieces};
use crate::error::{Code, Error, Location};
use crate::model::ident::Ident;
use crate::model::migration::{History, Migration, MigrationSet, Repeatable, Version};
use crate::sql;
use crate::sql::position::Position;
use crate::sql::{Literal, Sql};

/// A set as refinery knows it, made once for all schemas that get it.
#[derive(Debug)]
pub struct Prepared<'a> {
    set: &'a MigrationSet,
    units: Vec<Unit>,
}

impl<'a> Prepared<'a> {
    /// Hands the files to refinery.
    ///
    /// # Errors
    ///
    /// [`Code::Migrations`] for a name that refinery refuses; reading the set refused it before.
    pub fn new(set: &'a MigrationSet) -> Result<Self, Error> {
        let units: Result<Vec<Unit>, Error> = set
            .migrations()
            .iter()
            .map(|migration| {
                Unit::unapplied(&migration.stem(), &migration.sql).map_err(|error| {
                    Error::new(Code::Migrations, format!("read {}", migration.path)).because(error)
                })
            })
            .collect();
        Ok(Self { set, units: units? })
    }

    /// The files.
    pub fn set(&self) -> &'a MigrationSet {
        self.set
    }

    /// The files as refinery knows them.
    pub(super) fn units(&self) -> &[Unit] {
        &self.units
    }
}

/// Who sees to it that nobody else migrates the schema meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// The caller's session holds the schema's lock, and read the history under it.
    Held,
    /// So does it, with this key, and gives it back when the transaction ends.
    HandedOver(i64),
    /// The transaction itself takes the lock with this key, and then looks whether the history is
    /// still as it was read.
    Taken(i64),
}

/// When the server answers that a transaction is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commit {
    /// When it would survive a crash.
    #[default]
    Durable,
    /// At once. It survives a crash from the next durable commit of the same session on, because a
    /// crash ends the session, and the log is written in order (PostgreSQL, "Asynchronous Commit").
    Deferred,
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
    pub(super) files: &'a Prepared<'a>,
    /// What the history holds; none when the table is not there.
    pub(super) history: Option<&'a History>,
    /// Up to which version; the newest without one.
    pub(super) to: Option<Version>,
    /// Who keeps others away.
    pub(super) guard: Guard,
    /// Which repeatable files are applied behind the others, in the same transaction.
    pub(super) repeatables: Repeating<'a>,
    /// Who is told what a long statement outside of a transaction is doing.
    pub(super) watcher: Option<&'a dyn Watcher>,
    /// Whether what runs on the session may take any identity.
    pub(super) superuser: bool,
    /// When the transaction counts as committed, where it takes its lock itself.
    pub(super) commit: Commit,
    /// Whether somebody else may have left something in the session.
    pub(super) inherited: bool,
}

/// Repeatable files to apply to one schema.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repeating<'a> {
    /// The files, in their order.
    pub files: &'a [&'a Repeatable],
    /// Whether the table that records them is there.
    pub recorded: bool,
}

/// Why nothing was applied to a schema that has migrations to apply.
#[derive(Debug)]
pub enum NotApplied {
    /// Another session holds the schema's lock.
    Busy,
    /// The history is no longer as it was read.
    Moved,
    /// It failed, with what was applied before.
    Failed(Vec<Version>, Error),
}

impl NotApplied {
    /// The failure, for a caller that holds the lock: the rest cannot be.
    pub(super) fn failure(self, schema: &Ident) -> (Vec<Version>, Error) {
        match self {
            Self::Failed(applied, error) => (applied, error),
            Self::Busy | Self::Moved => {
                let what = format!("migrate {schema}: somebody else migrates it at the same time");
                (Vec::new(), Error::new(Code::LockBusy, what))
            }
        }
    }
}

/// What a part of a schema's message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Statements of our own.
    Ours,
    /// Takes the schema's lock, and checks that what the history was read to end with is there.
    Lock,
    /// Records files: it fails where one is recorded by now.
    Record,
    /// A file, by its place among those pending.
    File(usize),
    /// A repeatable file, by its place among those pending.
    Repeatable(usize),
}

/// Applies what refinery decided in one transaction, which is one message, and returns it.
///
/// # Errors
///
/// [`NotApplied`]: nothing is left of the transaction. A failure has the file's place and the
/// server's words.
pub(super) async fn migrate_at_once(
    session: &Client,
    order: &Order<'_>,
    decided: &Decided,
) -> Result<Vec<Version>, NotApplied> {
    let set = order.files.set();
    let pending: Vec<&Migration> =
        decided.versions().filter_map(|version| set.get(version)).collect();
    let mut target = SchemaTarget::new(session, order, &pending);
    target.at_once = true;
    if !pending.is_empty() && order.history.is_none() {
        target.create_history = Some(decided.create(order.schema));
    }
    let records: Vec<String> = decided.records(order.schema).collect();
    let pairs = decided.files().zip(records.iter().map(String::as_str));
    match target.send(&target.message(pairs)).await {
        Ok(()) => Ok(decided.versions().collect()),
        Err(error) => Err(target.told(&error)),
    }
}

/// Applies pending migrations to one schema through refinery, each file in a transaction of its own,
/// and returns what was applied.
///
/// The failed transaction leaves nothing; what was applied in transactions before it stays.
///
/// # Errors
///
/// [`NotApplied`]; a failure has the file's place and the server's words.
pub(super) async fn migrate(
    session: &Client,
    order: &Order<'_>,
    pending: &[&Migration],
) -> Result<Vec<Version>, NotApplied> {
    let mut target = SchemaTarget::new(session, order, pending);
    let mut runner =
        Runner::new(order.files.units()).set_abort_divergent(true).set_abort_missing(true);
    if let Some(version) = order.to {
        runner = runner.set_target(refinery::Target::Version(version.0));
    }
    runner.set_migration_table_name(sql!("{}.refinery_schema_history", order.schema).as_str());
    match runner.run_async(&mut target).await {
        Ok(report) => {
            Ok(report.applied_migrations().iter().map(|unit| Version(unit.version())).collect())
        }
        Err(error) => Err(target.explain(&error)),
    }
}

/// One schema, as refinery's traits want it.
struct SchemaTarget<'a> {
    session: &'a Client,
    order: &'a Order<'a>,
    setup: Sql,
    /// refinery's statement that makes the history, to go with the first migration.
    create_history: Option<String>,
    pending: &'a [&'a Migration],
    /// Whether they are one transaction.
    at_once: bool,
    done: usize,
    /// Why a file that runs outside of a transaction stopped.
    outside: Option<Error>,
}

impl AsyncTransaction for SchemaTarget<'_> {
    type Error = CarryError;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, CarryError> {
        let queries: Vec<&str> = queries.collect();
        match queries.as_slice() {
            [] => Ok(0),
            // `CREATE TABLE IF NOT EXISTS` needs CREATE on the schema even when the table exists, and
            // costs a round trip.
            [create] => {
                if self.order.history.is_none() {
                    self.create_history = Some((*create).to_owned());
                }
                Ok(0)
            }
            // A file and its history row.
            [file, record, ..] => {
                let next = self.next().filter(|next| next.runs_outside_a_transaction());
                let message = match next {
                    Some(migration) => {
                        let closing = match self.run_outside(migration).await {
                            Ok(closing) => closing,
                            Err(error) => {
                                self.outside = Some(error);
                                return Err(CarryError::Outside);
                            }
                        };
                        let mut message = self.message([("", *record)]);
                        message.add(Part::Ours, closing.as_str());
                        message
                    }
                    None => self.message([(*file, *record)]),
                };
                self.send(&message).await?;
                self.create_history = None;
                self.done += 1;
                Ok(2)
            }
        }
    }
}

impl<'t> SchemaTarget<'t> {
    fn new(session: &'t Client, order: &'t Order<'t>, pending: &'t [&'t Migration]) -> Self {
        Self {
            session,
            order,
            setup: setup(order.role, order.schema, order.limits, &sql!("LOCAL")),
            create_history: None,
            pending,
            at_once: false,
            done: 0,
            outside: None,
        }
    }

    /// Everything that one transaction does with files and their records.
    ///
    /// What is applied is recorded before it is done: both are one transaction, and a file that
    /// somebody else has applied meanwhile is then found out by the history's key, before any of it
    /// is done again.
    fn message<'m>(&self, pairs: impl IntoIterator<Item = (&'m str, &'m str)>) -> Message<Part> {
        let (files, records): (Vec<&str>, Vec<&str>) = pairs.into_iter().unzip();
        let mut message = Message::default();
        if let Guard::Taken(_) = self.order.guard {
            if self.order.inherited {
                message.add(Part::Ours, forget(self.order.superuser));
            }
            if self.order.commit == Commit::Deferred {
                message.add(Part::Ours, "SET LOCAL synchronous_commit = off");
            }
        }
        message.add(Part::Ours, self.setup.as_str());
        match self.order.guard {
            Guard::Held => {}
            Guard::HandedOver(key) => message.add(Part::Ours, hand_over(key).as_str()),
            Guard::Taken(key) => {
                let taken = taken(key, self.order.inherited);
                let lock = match self.newest() {
                    Some(newest) => self.lock_at(&taken, newest),
                    None => lock(&taken),
                };
                message.add(Part::Lock, lock.as_str());
            }
        }
        if let Some(create) = &self.create_history {
            message.add(Part::Ours, create);
        }
        for record in records {
            message.add(Part::Record, record);
        }
        for (at, file) in files.into_iter().enumerate() {
            if at > 0 {
                // The file before may have become another role, or gone elsewhere.
                message.add(Part::Ours, self.setup.as_str());
            }
            message.add(Part::File(self.done + at), file);
        }
        self.repeat(&mut message);
        message
    }

    /// Adds the repeatable files, behind all others.
    fn repeat(&self, message: &mut Message<Part>) {
        let Repeating { files, recorded } = self.order.repeatables;
        let mut at = 0;
        for piece in pieces(self.order.schema, self.order.role, files, recorded) {
            match piece {
                Piece::Ours(statements) => message.add(Part::Ours, statements.as_str()),
                Piece::File(file) => {
                    message.add(Part::Repeatable(at), &file.sql);
                    at += 1;
                }
            }
        }
    }

    /// Carries out a file statement by statement. Returns what its record must do as well.
    async fn run_outside(&self, migration: &Migration) -> Result<Sql, Error> {
        let Order { role, schema, limits, .. } = *self.order;
        let order = Outside {
            session: self.session,
            setup: &setup(role, schema, limits, &sql!("SESSION")),
            schema,
            role,
            limits,
            migration,
            watcher: self.order.watcher,
        };
        outside::run(&order).await
    }

    async fn send(&self, message: &Message<Part>) -> Result<(), CarryError> {
        message.send(self.session).await.map_err(|Unsent { whose, error }| {
            let code = error.code().cloned();
            let is = |state| code == Some(state);
            let Some(Whose { part, done, before }) = whose else {
                return CarryError::Ours(error);
            };
            match part {
                Part::Lock if is(SqlState::INVALID_TEXT_REPRESENTATION) => CarryError::Busy,
                Part::Lock if is(SqlState::DIVISION_BY_ZERO) => CarryError::Moved,
                Part::Record if is(SqlState::UNIQUE_VIOLATION) => CarryError::Moved,
                Part::File(at) => CarryError::File { at, done, before, error },
                Part::Repeatable(at) => CarryError::Repeatable { at, done, before, error },
                Part::Lock | Part::Record | Part::Ours => CarryError::Ours(error),
            }
        })
    }

    /// The version that the history ends with by now; none when it is empty.
    fn newest(&self) -> Option<Version> {
        let known = self.order.history.and_then(History::version);
        let applied = self.pending.iter().take(self.done).map(|migration| migration.version).max();
        known.max(applied)
    }

    /// Takes the schema's lock, and fails when the version that the history was read to end with is
    /// not there any more: under the lock, so it stays.
    ///
    /// The value is worked out, and with it the lock taken, before its key is looked up, which sees
    /// whatever is committed by then and costs a third of what any query of the table would. Nothing
    /// is written, and what is returned for a row that were is no number.
    fn lock_at(&self, taken: &Sql, newest: Version) -> Sql {
        sql!(
            "INSERT INTO {}.refinery_schema_history (version) VALUES \
             ((CASE WHEN {} THEN {} ELSE 'busy' END)::pg_catalog.int8) \
             ON CONFLICT (version) DO NOTHING \
             RETURNING 1 OPERATOR(pg_catalog./) (version OPERATOR(pg_catalog.-) version)",
            self.order.schema,
            taken,
            Literal(&newest.0.to_string())
        )
    }

    /// The migration that is refinery's next.
    fn next(&self) -> Option<&Migration> {
        self.pending.get(self.done).copied()
    }

    /// Turns refinery's failure into one that names the file, the place and the server's words.
    fn explain(&mut self, error: &refinery::Error) -> NotApplied {
        let schema = self.order.schema;
        if let Some(told) = self.outside.take() {
            return NotApplied::Failed(self.applied(), told);
        }
        let carried = match error.kind() {
            Kind::Connection(_, source) => source.downcast_ref::<CarryError>(),
            _ => None,
        };
        match carried {
            Some(carried) => self.told(carried),
            None => {
                let what = format!("migrate {schema}: {error}");
                NotApplied::Failed(self.applied(), Error::new(Code::HistoryDiverged, what))
            }
        }
    }

    /// What was applied in transactions before the one that failed.
    fn applied(&self) -> Vec<Version> {
        self.pending.iter().take(self.done).map(|migration| migration.version).collect()
    }

    /// Says what the server refused, and where that stands.
    fn told(&self, carried: &CarryError) -> NotApplied {
        let schema = self.order.schema;
        let failure = match carried {
            CarryError::Busy => return NotApplied::Busy,
            CarryError::Moved => return NotApplied::Moved,
            CarryError::File { at, done, before, error } => match self.pending.get(*at) {
                Some(migration) => self.refused_file(migration, *done, *before, error),
                None => refused(error, format!("migrate {schema}")),
            },
            CarryError::Repeatable { at, done, before, error } => {
                let Some(file) = self.order.repeatables.files.get(*at) else {
                    let failure = refused(error, format!("migrate {schema}"));
                    return NotApplied::Failed(self.applied(), failure);
                };
                let failure = refused(error, format!("apply {} to {schema}", file.path));
                match place(&file.sql, error, *done, *before) {
                    Some(Position { line, column }) => {
                        failure.at(Location { file: file.path.clone(), line, column })
                    }
                    None => failure,
                }
            }
            CarryError::Ours(server) => {
                let files: Vec<&str> = self.pending[self.done.min(self.pending.len())..]
                    .iter()
                    .map(|migration| migration.path.as_str())
                    .take(if self.at_once { usize::MAX } else { 1 })
                    .collect();
                let what = match files.as_slice() {
                    [] => format!("migrate {schema}"),
                    [one] => format!("record {one} in the history of {schema}"),
                    [first, .., last] => {
                        format!("record {first} to {last} in the history of {schema}")
                    }
                };
                refused(server, what)
            }
            CarryError::Outside | CarryError::History(_) => {
                Error::new(Code::HistoryDiverged, format!("migrate {schema}: {carried}"))
            }
        };
        NotApplied::Failed(self.applied(), failure)
    }

    fn refused_file(
        &self,
        migration: &Migration,
        done: usize,
        before: usize,
        server: &tokio_postgres::Error,
    ) -> Error {
        let attempt = format!("apply {} to {}", migration.path, self.order.schema);
        let mut failure = refused(server, attempt);
        if server.code() == Some(&SqlState::ACTIVE_SQL_TRANSACTION) {
            failure = failure.hint(format!(
                "begin {} with the line: -- tenantctl:no-transaction",
                migration.path
            ));
        }
        if server.code() == Some(&SqlState::OUT_OF_MEMORY) && self.at_once {
            failure = failure.hint(
                "apply one file per transaction, which holds fewer locks at once: --per-file",
            );
        }
        match place(&migration.sql, server, done, before) {
            Some(place) => failure.at(Location {
                file: migration.path.clone(),
                line: place.line,
                column: place.column,
            }),
            None => failure,
        }
    }
}

/// Forgets what the tenant before left in the session, but for its locks: [`taken`] gives those back.
/// What a file calls cannot be seen in its text, so this is said every time: it costs a few
/// hundredths of a millisecond. At the beginning, because deferred triggers run at the end, and with
/// the settings of their own tenant.
///
/// Who is no superuser can take no other identity, and need not give one back: that would be half of
/// the cost.
fn forget(superuser: bool) -> &'static str {
    if superuser {
        "SET SESSION AUTHORIZATION DEFAULT; CLOSE ALL; RESET ALL; DISCARD TEMP"
    } else {
        "CLOSE ALL; RESET ALL; DISCARD TEMP"
    }
}

/// Takes the schema's lock for the transaction, or fails at once: a session that waits for it inside
/// a statement holds a snapshot, which CREATE INDEX CONCURRENTLY waits for.
fn lock(taken: &Sql) -> Sql {
    sql!("SELECT CASE WHEN {} THEN '1' ELSE 'busy' END::pg_catalog.int4", taken)
}

/// Whether the lock with this key was to be had for the transaction. What an `inherited` session
/// holds beyond transactions is given back before.
fn taken(key: i64, inherited: bool) -> Sql {
    let take = sql!("pg_catalog.pg_try_advisory_xact_lock({})", key);
    if inherited {
        // It returns nothing, which is not NULL.
        sql!("pg_catalog.pg_advisory_unlock_all() IS NOT NULL AND {}", take)
    } else {
        take
    }
}

/// Makes a lock that the session holds one that ends with the transaction, and not only with the
/// server's process.
fn hand_over(key: i64) -> Sql {
    sql!(
        "SELECT pg_catalog.pg_try_advisory_xact_lock({}), pg_catalog.pg_advisory_unlock({})",
        key,
        key
    )
}

impl AsyncQuery<Vec<Unit>> for SchemaTarget<'_> {
    /// The history that the caller has read; refinery asks for nothing else.
    async fn query<'a>(&'a mut self, _: &'a str) -> Result<Vec<Unit>, CarryError> {
        units_of(self.order.history)
    }
}

impl AsyncMigrate for SchemaTarget<'_> {}

/// A history that was read, as refinery knows it.
pub(super) fn units_of(history: Option<&History>) -> Result<Vec<Unit>, CarryError> {
    let rows = history.map(|history| history.0.as_slice()).unwrap_or_default();
    rows.iter()
        .map(|applied| {
            let on = time::OffsetDateTime::parse(
                &applied.applied_on,
                &time::format_description::well_known::Rfc3339,
            )
            .map_err(|_| CarryError::History(format!("the time {:?}", applied.applied_on)))?;
            Ok(Unit::applied(applied.version.0, applied.name.clone(), on, applied.checksum))
        })
        .collect()
}

/// Why refinery does not go on with a history.
pub(super) fn told_apart(error: &refinery::Error) -> Error {
    let carried = match error.kind() {
        Kind::Connection(_, source) => source.downcast_ref::<CarryError>(),
        _ => None,
    };
    let why = carried.map_or_else(|| error.to_string(), ToString::to_string);
    Error::new(Code::HistoryDiverged, format!("decide what is to be applied: {why}"))
}
