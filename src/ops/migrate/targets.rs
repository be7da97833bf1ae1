//! Who is to be migrated: schemas with the tenants in them, and what each still needs.
//!
//! Histories are read as a set: one query finds those that exist, and one message for every hundred or so
//! sums them up. Only a history that is not simply the beginning of the files is read row by row.
//! Nobody is locked and nothing is written; an up-to-date tenant costs no round trip.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};

use super::StatusOptions;
use super::lanes::has_no_room;
use crate::error::{Code, Error};
use crate::model::count;
use crate::model::ident::Ident;
use crate::model::migration::{Digest, History, Migration, MigrationSet, Repeatable, Version};
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};
use crate::ops::{Context, fleet};
use crate::pg::{self, Session, ledger};
use crate::plan::pending::{beginning, behind, decide, decide_repeatables};
use crate::report::event::Event;
use crate::report::{Failure, Source, Status, TargetReport};

/// So many databases are read at once,
const DATABASES: usize = 8;

/// and so many batches of one database.
const BATCHES: usize = 4;

/// A session that has read so many batches is ended: the server's process keeps what it knows of
/// every table that it has opened.
const RETIRE_AFTER: usize = 16;

/// What is known of a schema's history.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Nothing: a database of one tenant is asked when it is visited.
    Unread,
    /// What the ledger says: that it is behind.
    Told,
    /// The table is not there.
    Absent,
    /// It is the first so many migrations of the files.
    First(usize),
    /// It is anything else.
    Rows(History),
}

impl Known {
    /// What is known of a history that was read.
    pub(super) fn of(set: &MigrationSet, history: History) -> Self {
        beginning(set, &history.digest()).map_or(Self::Rows(history), Self::First)
    }

    /// The history; none where the table is not there.
    pub(super) fn history(&self, set: &MigrationSet) -> Option<History> {
        match self {
            Self::Unread | Self::Told | Self::Absent => None,
            Self::First(count) => Some(History::of_first(set, *count)),
            Self::Rows(history) => Some(history.clone()),
        }
    }
}

impl From<Option<History>> for Known {
    fn from(history: Option<History>) -> Self {
        history.map_or(Self::Absent, Self::Rows)
    }
}

/// When histories are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Now.
    Now,
    /// When their turn comes: that of a database of one tenant, for it costs a connection of its own,
    /// and one is enough; and those of schemas that are behind as far as the ledger knows, for the
    /// process that migrates a schema opens its history anyhow.
    OnVisit,
}

/// One schema with the tenants that live in it: one, or all that share its tables.
#[derive(Clone, Debug)]
pub(super) struct Unit<'a> {
    pub(super) placement: Placement,
    pub(super) isolation: Isolation,
    pub(super) tenants: Vec<Tenant>,
    /// Everybody who shares its tables, selected or not.
    pub(super) neighbours: Vec<Tenant>,
    /// Whether tenantctl made it, and looks after its tables.
    pub(super) registered: bool,
    pub(super) set: &'a MigrationSet,
    pub(super) known: Known,
    /// Which repeatable files it lacks, or was given.
    pub(super) repeatables: Vec<&'a Repeatable>,
    /// Whether any was recorded.
    pub(super) has_repeatables: bool,
    pub(super) from: Option<Version>,
    pub(super) to: Option<Version>,
    pub(super) applied: Vec<Version>,
    pub(super) pending: Vec<Version>,
    pub(super) status: Status,
    pub(super) error: Option<Failure>,
    /// Whether everybody was told that it is at work.
    pub(super) begun: bool,
    pub(super) attempts: u32,
    pub(super) waited: Option<String>,
    pub(super) took: Duration,
    /// Since when it could not begin: another tenantctl was at work on it, or no session was free.
    pub(super) held_up_since: Option<Instant>,
}

/// What an attempt works with.
pub(super) struct Brief {
    pub(super) placement: Placement,
    pub(super) isolation: Isolation,
    pub(super) owner: Ident,
}

/// Groups the selected tenants by schema, and decides for each what is pending.
pub(super) async fn units<'a>(
    cx: &Context<'a>,
    options: &StatusOptions,
    reading: Reading,
) -> anyhow::Result<Vec<Unit<'a>>> {
    let (tenants, source) = fleet::tenants(cx).await?;
    if tenants.is_empty() {
        return Err(fleet::none(source).into());
    }
    let sharing: Vec<Tenant> =
        tenants.iter().filter(|tenant| tenant.isolation == Isolation::Shared).cloned().collect();
    let tenants = options.selection.pick(tenants)?;
    check_target(cx, &tenants, options.to)?;
    let mut schemas: BTreeMap<(Placement, Isolation), Vec<Tenant>> = BTreeMap::new();
    for tenant in tenants {
        schemas.entry((tenant.placement.clone(), tenant.isolation)).or_default().push(tenant);
    }
    let mut units: Vec<Unit<'a>> = schemas
        .into_iter()
        .map(|((placement, isolation), tenants)| {
            let mut unit = Unit::new(cx, placement, isolation, tenants);
            unit.registered = source == Source::Registry;
            if isolation == Isolation::Shared {
                let here = |tenant: &&Tenant| tenant.placement == unit.placement;
                unit.neighbours = sharing.iter().filter(here).cloned().collect();
            }
            unit
        })
        .collect();
    let what = format!("reading the histories of {}", count(units.len(), "schema"));
    cx.observer.on(&Event::Working { what: &what });
    read(cx, &mut units, options.to, reading).await;
    read_repeatables(cx, &mut units, options.to).await;
    Ok(units)
}

/// A target version that no selected tenant's files hold is a mistake, not a tenant's failure.
fn check_target(cx: &Context<'_>, tenants: &[Tenant], to: Option<Version>) -> Result<(), Error> {
    let Some(to) = to else {
        return Ok(());
    };
    let mut sets = tenants.iter().map(|tenant| cx.sets.of(tenant.isolation));
    match sets.next() {
        Some(first) if first.get(to).is_none() && sets.all(|set| set.get(to).is_none()) => {
            decide(first, &History::default(), Some(to)).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// A database, by its cluster and name.
type Database = (ClusterName, Ident);

/// What was found in one: a schema that is not there is absent.
pub(super) type Found = Result<Histories, Error>;

/// What is known of each schema's history, or why it cannot be read.
type Histories = BTreeMap<Ident, Result<Known, Error>>;

async fn read(cx: &Context<'_>, units: &mut [Unit<'_>], to: Option<Version>, reading: Reading) {
    let told = match reading {
        Reading::OnVisit => last_versions(cx, units).await,
        Reading::Now => BTreeMap::new(),
    };
    let mut databases: BTreeMap<Database, Vec<(Ident, &MigrationSet)>> = BTreeMap::new();
    for unit in units.iter_mut() {
        if unit.is_half_made() {
            continue;
        }
        if told.get(&unit.tenants[0].id).is_some_and(|version| unit.believe(*version, to)) {
            continue;
        }
        if reading == Reading::OnVisit && unit.isolation == Isolation::Database {
            unit.status = Status::Pending;
            continue;
        }
        let Placement { cluster, database, schema } = unit.placement.clone();
        databases.entry((cluster, database)).or_default().push((schema, unit.set));
    }
    let found: BTreeMap<Database, Found> = stream::iter(databases)
        .map(|(database, schemas)| async move {
            let found = read_database(cx, &database, &schemas).await;
            (database, found)
        })
        .buffer_unordered(DATABASES)
        .collect()
        .await;
    for unit in units.iter_mut().filter(|unit| unit.status == Status::UpToDate) {
        let database = (unit.placement.cluster.clone(), unit.placement.database.clone());
        match found.get(&database) {
            Some(Err(error)) => unit.unreadable(error),
            Some(Ok(found)) => match found.get(&unit.placement.schema) {
                Some(Ok(known)) => unit.decide(known.clone(), to),
                Some(Err(error)) => unit.unreadable(error),
                None => unit.miss(),
            },
            None => {}
        }
    }
}

/// Reads which repeatable files schemas have, where the files have any and all versions are asked
/// for: they come behind the last.
async fn read_repeatables(cx: &Context<'_>, units: &mut [Unit<'_>], to: Option<Version>) {
    let mut databases: BTreeMap<Database, Vec<(usize, Ident)>> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        let read = matches!(unit.status, Status::UpToDate | Status::Pending);
        let known = !matches!(unit.known, Known::Unread | Known::Told);
        if read && known && unit.wants_repeatables(to) {
            let Placement { cluster, database, schema } = unit.placement.clone();
            databases.entry((cluster, database)).or_default().push((at, schema));
        }
    }
    let read: Vec<_> = stream::iter(databases)
        .map(|((cluster, database), schemas)| async move {
            let names: Vec<&Ident> = schemas.iter().map(|(_, schema)| schema).collect();
            let recorded = async {
                // A database of one tenant is visited once: a pool would keep its connection open.
                let session = match names.as_slice() {
                    [_] => cx.servers.dedicated(&cluster, Some(&database)).await?,
                    _ => cx.servers.session(&cluster, Some(&database)).await?,
                };
                pg::repeatables(&session, &names).await
            };
            let recorded = recorded.await;
            (schemas, recorded)
        })
        .buffer_unordered(DATABASES)
        .collect()
        .await;
    for (schemas, mut recorded) in read {
        for (at, schema) in schemas {
            let unit = &mut units[at];
            match &mut recorded {
                Ok(recorded) => match recorded.remove(&schema) {
                    Some(Ok(recorded)) => unit.compare(&recorded),
                    Some(Err(error)) => unit.fail(&error),
                    None => unit.compare(&BTreeMap::new()),
                },
                Err(error) => unit.fail(error),
            }
        }
    }
}

async fn read_database(
    cx: &Context<'_>,
    (cluster, database): &Database,
    schemas: &[(Ident, &MigrationSet)],
) -> Found {
    let names: Vec<&Ident> = schemas.iter().map(|(schema, _)| schema).collect();
    if let [(schema, _)] = schemas {
        // A database of one tenant is visited once: a pool would keep its connection open.
        let session = cx.servers.dedicated(cluster, Some(database)).await?;
        return Ok(match pg::history(&session, schema).await {
            Ok(history) => BTreeMap::from([(schema.clone(), Ok(history.into()))]),
            Err(error) if error.code == Code::NotFound => BTreeMap::new(),
            Err(error) => BTreeMap::from([(schema.clone(), Err(error))]),
        });
    }
    let there = {
        let session = cx.servers.session(cluster, Some(database)).await?;
        pg::written(&session, &names).await?
    };
    let (written, mut found) = apart(schemas, there);
    let batches = BATCHES.min(cx.servers.limit(cluster).saturating_sub(1)).max(1);
    let mut read = stream::iter(written.chunks(pg::BATCH))
        .map(|batch| async move { (batch, read_batch(cx, cluster, database, batch).await) })
        .buffer_unordered(batches);
    let mut turned_away = Vec::new();
    while let Some((batch, histories)) = read.next().await {
        match histories {
            Ok(histories) => found.extend(histories),
            Err(error) if has_no_room(&error) => turned_away.push(batch),
            Err(error) => return Err(error),
        }
    }
    drop(read);
    // Whoever got a session is done with it by now.
    for batch in turned_away {
        found.extend(read_batch(cx, cluster, database, batch).await?);
    }
    Ok(found)
}

/// Schemas that have a history, and of those that are there that they have none until it is read.
fn apart<'s>(
    schemas: &[(Ident, &'s MigrationSet)],
    there: BTreeMap<Ident, bool>,
) -> (Vec<(Ident, &'s MigrationSet)>, Histories) {
    let written = schemas.iter().filter(|(schema, _)| there.get(schema) == Some(&true));
    let written = written.cloned().collect();
    (written, there.into_keys().map(|schema| (schema, Ok(Known::Absent))).collect())
}

async fn read_batch(
    cx: &Context<'_>,
    cluster: &ClusterName,
    database: &Ident,
    batch: &[(Ident, &MigrationSet)],
) -> Found {
    let session = cx.servers.session(cluster, Some(database)).await?;
    // One that cannot be summed up fails the message for all: then each is read for itself.
    let digests = match digests(&session, batch).await {
        Ok(digests) => digests,
        Err(error) if error.answer.is_some() => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let found = read_unclear(&session, batch, digests).await?;
    session.retire_after(RETIRE_AFTER);
    Ok(found)
}

/// Reads histories on a session, of schemas that may be gone by now.
pub(super) async fn read_there(session: &Session, batch: &[(Ident, &MigrationSet)]) -> Found {
    match digests(session, batch).await {
        Ok(digests) => read_unclear(session, batch, digests).await,
        Err(error) if error.answer.is_some() => {
            let names: Vec<&Ident> = batch.iter().map(|(schema, _)| schema).collect();
            let there = pg::written(session, &names).await?;
            let (written, mut found) = apart(batch, there);
            found.extend(read_unclear(session, &written, BTreeMap::new()).await?);
            Ok(found)
        }
        Err(error) => Err(error),
    }
}

async fn digests(
    session: &Session,
    batch: &[(Ident, &MigrationSet)],
) -> Result<BTreeMap<Ident, Digest>, Error> {
    let names: Vec<Ident> = batch.iter().map(|(schema, _)| schema.clone()).collect();
    pg::digests(session, &names).await
}

/// Reads what is not clear from a history's digest row by row.
async fn read_unclear(
    session: &Session,
    batch: &[(Ident, &MigrationSet)],
    digests: BTreeMap<Ident, Digest>,
) -> Found {
    let mut found = BTreeMap::new();
    let mut unclear = Vec::new();
    for (schema, set) in batch {
        match digests.get(schema).and_then(|digest| beginning(set, digest)) {
            Some(count) => {
                found.insert(schema.clone(), Ok(Known::First(count)));
            }
            None => unclear.push(schema),
        }
    }
    if !unclear.is_empty() {
        for (schema, history) in pg::histories(session, &unclear).await? {
            found.insert(schema, history.map(Known::Rows));
        }
    }
    Ok(found)
}

/// The versions of tenants as the ledger knows them. Nobody needs to be told: without a ledger
/// every history is read now.
async fn last_versions(cx: &Context<'_>, units: &[Unit<'_>]) -> BTreeMap<TenantId, Version> {
    if !units.iter().any(|unit| unit.registered && unit.isolation != Isolation::Shared) {
        return BTreeMap::new();
    }
    let (cluster, database) = &cx.fleet.registry;
    let told = async {
        let session = cx.servers.session(cluster, Some(database)).await?;
        if !ledger::exists(&session).await? {
            return Ok(BTreeMap::new());
        }
        ledger::last_versions(&session).await
    };
    told.await.unwrap_or_else(|error: Error| {
        log::debug!("{error}");
        BTreeMap::new()
    })
}

fn versions(migrations: &[&Migration]) -> Vec<Version> {
    migrations.iter().map(|migration| migration.version).collect()
}

/// The version that a run brings a unit to.
pub(super) fn goal(unit: &Unit<'_>) -> Option<Version> {
    unit.pending.last().copied().max(unit.to).or_else(|| unit.set.head())
}

impl<'a> Unit<'a> {
    fn new(
        cx: &Context<'a>,
        placement: Placement,
        isolation: Isolation,
        tenants: Vec<Tenant>,
    ) -> Self {
        Self {
            placement,
            isolation,
            tenants,
            neighbours: Vec::new(),
            registered: false,
            set: cx.sets.of(isolation),
            known: Known::Unread,
            repeatables: Vec::new(),
            has_repeatables: false,
            from: None,
            to: None,
            applied: Vec::new(),
            pending: Vec::new(),
            status: Status::UpToDate,
            error: None,
            begun: false,
            attempts: 0,
            waited: None,
            took: Duration::ZERO,
            held_up_since: None,
        }
    }

    /// A tenant that was never finished is `create`'s to finish: its roles may not be there.
    fn is_half_made(&mut self) -> bool {
        let half_made = self.tenants.iter().all(|tenant| tenant.state == State::Provisioning);
        if self.registered && half_made {
            let id = &self.tenants[0].id;
            let error = Error::new(Code::Refused, format!("tenant {id} is still being made"))
                .hint(format!("finish it with: tenantctl create {id}"));
            self.fail(&error);
            self.status = Status::Skipped;
            return true;
        }
        false
    }

    pub(super) fn brief(&self) -> Brief {
        Brief {
            placement: self.placement.clone(),
            isolation: self.isolation,
            owner: self.tenants[0].owner.clone(),
        }
    }

    /// Takes the ledger's word for the version that it had, if it is behind then. Returns whether.
    fn believe(&mut self, version: Version, to: Option<Version>) -> bool {
        let is_shared = self.isolation == Isolation::Shared;
        if !self.registered || is_shared || self.wants_repeatables(to) {
            return false;
        }
        let migrations = self.set.migrations();
        let Ok(at) = migrations.binary_search_by_key(&version, |migration| migration.version)
        else {
            return false;
        };
        let pending = behind(self.set, at + 1, to);
        if pending.is_empty() {
            return false;
        }
        self.known = Known::Told;
        self.from = Some(version);
        self.to = self.from;
        self.pending = pending;
        self.status = Status::Pending;
        true
    }

    /// Whether only the ledger was asked about it.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.known, Known::Told)
    }

    /// Forgets what the ledger said.
    pub(super) fn unlearn(&mut self) {
        self.known = Known::Unread;
        self.from = None;
        self.to = None;
        self.pending.clear();
    }

    /// Takes note of the history, and finds out what is pending.
    pub(super) fn decide(&mut self, known: Known, to: Option<Version>) {
        let decided = match known {
            // The target was found among the files of somebody; it may not be among these.
            Known::First(count) if to.is_none_or(|to| self.set.get(to).is_some()) => {
                self.from = count.checked_sub(1).map(|last| self.set.migrations()[last].version);
                Ok(behind(self.set, count, to))
            }
            _ => {
                let history = known.history(self.set).unwrap_or_default();
                self.from = history.version();
                decide(self.set, &history, to).map(|pending| versions(&pending))
            }
        };
        self.known = known;
        self.to = self.from;
        match decided {
            Ok(pending) => {
                self.pending = pending;
                let has_all = self.pending.is_empty() && self.repeatables.is_empty();
                self.status = if has_all { Status::UpToDate } else { Status::Pending };
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Whether it is known to lack something.
    pub(super) fn lacks_something(&self) -> bool {
        !self.pending.is_empty() || !self.repeatables.is_empty()
    }

    /// Whether repeatable files are to be looked at: they come behind the last version.
    pub(super) fn wants_repeatables(&self, to: Option<Version>) -> bool {
        !self.set.repeatables().is_empty() && (to.is_none() || to >= self.set.head())
    }

    /// Finds out which repeatable files are to be applied, by the checksums of those that were.
    pub(super) fn compare(&mut self, recorded: &BTreeMap<String, String>) {
        self.has_repeatables = !recorded.is_empty();
        self.repeatables = decide_repeatables(self.set, recorded);
        if !self.repeatables.is_empty() && self.status == Status::UpToDate {
            self.status = Status::Pending;
        }
    }

    /// Takes note that the schema is not there.
    pub(super) fn miss(&mut self) {
        let gone = fleet::no_schema(&self.placement);
        self.fail(&gone);
        self.status = Status::Missing;
    }

    /// Takes note of why its place cannot be read: it may not be there at all.
    pub(super) fn unreadable(&mut self, error: &Error) {
        self.fail(error);
        if error.code == Code::NotFound {
            self.status = Status::Missing;
        }
    }

    /// Takes note of a failure.
    pub(super) fn fail(&mut self, error: &Error) {
        self.status = match error.code {
            Code::HistoryDiverged => Status::Diverged,
            _ => Status::Failed,
        };
        self.error = Some(Failure::from(error));
    }

    /// Takes note of what an attempt has applied, though it may not be all.
    pub(super) fn finish(&mut self, applied: Vec<Version>) {
        self.applied.extend(applied);
        self.applied.sort_unstable();
        self.applied.dedup();
        self.pending.retain(|version| !self.applied.contains(version));
        self.to = self.applied.last().copied().max(self.from);
    }

    /// Whether its files must be applied one by one, on a session that is nobody else's.
    pub(super) fn runs_outside_a_transaction(&self) -> bool {
        self.pending
            .iter()
            .filter_map(|version| self.set.get(*version))
            .any(Migration::runs_outside_a_transaction)
    }

    /// Whether a run that was stopped between a migration and the guard may have been here.
    pub(super) fn may_lack_guard(&self) -> bool {
        self.registered && self.isolation == Isolation::Shared && self.status == Status::UpToDate
    }

    /// How a person calls it.
    pub(super) fn name(&self) -> String {
        match (self.isolation, self.tenants.as_slice()) {
            (Isolation::Shared, tenants) => {
                format!("{} (shared by {})", self.placement.schema, count(tenants.len(), "tenant"))
            }
            (_, [only, ..]) => only.id.to_string(),
            (_, []) => self.placement.to_string(),
        }
    }

    /// What came of it, in words.
    pub(super) fn outcome(&self) -> String {
        if let Some(error) = &self.error {
            return error.message.clone();
        }
        let version = |version: Option<Version>| {
            version.map_or_else(|| "nothing".to_owned(), |version| format!("V{version}"))
        };
        if self.applied.is_empty() {
            return format!("{}, nothing was missing", version(self.to));
        }
        format!(
            "{} → {} ({})",
            version(self.from),
            version(self.to),
            count(self.applied.len(), "migration")
        ) + &match self.repeatables.len() {
            0 => String::new(),
            number => format!(" and {}", count(number, "repeatable file")),
        }
    }

    /// One row per tenant: each asks about itself, also when it shares its tables.
    pub(super) fn reports(&self) -> impl Iterator<Item = TargetReport> + '_ {
        self.tenants.iter().map(|tenant| TargetReport {
            from: self.from,
            to: self.to,
            applied: self.applied.clone(),
            pending: self.pending.clone(),
            repeatables: self.repeatables.iter().map(|file| file.name.clone()).collect(),
            status: self.status,
            error: self.error.clone(),
            attempts: self.attempts,
            waited: self.waited.clone(),
            took: self.took,
            ..TargetReport::new(tenant.id.clone(), self.isolation, self.placement.clone())
        })
    }
}
