//! Migrates a selection of tenants, or says how they stand.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use uuid::Uuid;

use super::converge::{Patience, converge};
use super::list::histories;
use super::select::Selection;
use super::watching::Watching;
use super::{Context, fleet};
use crate::config::Request;
use crate::error::{Code, Error};
use crate::model::interrupt::Interrupt;
use crate::model::layout::Template;
use crate::model::migration::{History, Migration, Version};
use crate::model::tenant::{Isolation, Placement, State, Tenant};
use crate::pg::{self, LockKey};
use crate::plan::{self, pending::decide};
use crate::report::event::Event;
use crate::report::{Failure, MigrationRun, Report, Source, Status, TargetReport, Verb};

/// How `migrate status` looks.
#[derive(Clone, Debug, Default)]
pub struct StatusOptions {
    /// Whom it is about.
    pub selection: Selection,
    /// Up to which version; the newest without one.
    pub to: Option<Version>,
    /// Whether pending migrations are a "no".
    pub check: bool,
}

/// How `migrate up` goes about it.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Whom, and up to where.
    pub scope: StatusOptions,
    /// How many schemas at once on one cluster.
    pub jobs: Option<usize>,
    /// Whether to start no more targets after a failure.
    pub stop_on_error: bool,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// How long migrations may wait and work.
    pub limits: pg::Limits,
}

/// Says how the selected tenants stand. Takes no lock and writes nothing.
///
/// # Errors
///
/// When nobody knows the tenants, and for a selection that names one that does not exist.
pub async fn status(cx: &Context<'_>, options: &StatusOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let units = units(cx, options).await?;
    let targets = units.iter().flat_map(Unit::reports).collect();
    Ok(Report::Migration(run(Verb::Status, None, targets, options.check, false, started)))
}

/// Migrates the selected tenants. One tenant's failure is reported, and the others go on.
///
/// # Errors
///
/// As [`status`]. The failure of a target is not an error: it is part of the answer.
pub async fn up(cx: &Context<'_>, options: &UpOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let mut units = units(cx, &options.scope).await?;
    if options.scope.check {
        let targets = units.iter().flat_map(Unit::reports).collect();
        return Ok(Report::Migration(run(Verb::Up, None, targets, true, false, started)));
    }
    let id = Uuid::now_v7();
    let targets = units.iter().filter(|unit| unit.status == Status::Pending).count();
    let waiting: Vec<&mut Unit<'_>> = units
        .iter_mut()
        .filter(|unit| unit.status == Status::Pending || unit.may_lack_guard())
        .collect();
    cx.observer.on(&Event::RunStarted { what: "migrate", targets, clusters: &[] });
    let stop = Interrupt::default();
    let jobs = options.jobs.unwrap_or(DEFAULT_JOBS).max(1);
    stream::iter(waiting)
        .for_each_concurrent(jobs, |unit| {
            let stop = stop.clone();
            async move {
                if cx.interrupt.is_raised() || stop.is_raised() {
                    return;
                }
                unit.bring_up(cx, options).await;
                if options.stop_on_error && unit.status == Status::Failed {
                    stop.raise();
                }
            }
        })
        .await;
    cx.observer.on(&Event::RunDone);
    let targets = units.iter().flat_map(Unit::reports).collect();
    let interrupted = cx.interrupt.is_raised();
    Ok(Report::Migration(run(Verb::Up, Some(id), targets, false, interrupted, started)))
}

/// Beyond about twice the server's cores more sessions gain nothing; four suit the smallest.
const DEFAULT_JOBS: usize = 4;

fn run(
    verb: Verb,
    run: Option<Uuid>,
    mut targets: Vec<TargetReport>,
    check: bool,
    interrupted: bool,
    started: Instant,
) -> MigrationRun {
    targets.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    MigrationRun { verb, run, targets, check, interrupted, took: started.elapsed() }
}

/// One schema with the tenants that live in it: one, or all that share its tables.
struct Unit<'a> {
    placement: Placement,
    isolation: Isolation,
    tenants: Vec<Tenant>,
    /// Everybody who shares its tables, selected or not.
    neighbours: Vec<Tenant>,
    /// Whether tenantctl made it, and looks after its tables.
    registered: bool,
    set: &'a crate::model::migration::MigrationSet,
    from: Option<Version>,
    to: Option<Version>,
    applied: Vec<Version>,
    pending: Vec<Version>,
    status: Status,
    error: Option<Failure>,
    took: Duration,
}

/// Groups the selected tenants by schema, and decides for each what is pending.
async fn units<'a>(cx: &Context<'a>, options: &StatusOptions) -> anyhow::Result<Vec<Unit<'a>>> {
    let (tenants, source) = fleet::tenants(cx).await?;
    if tenants.is_empty() {
        return Err(fleet::none(source).into());
    }
    let everyone = tenants.clone();
    let tenants = options.selection.pick(tenants)?;
    check_target(cx, &tenants, options.to)?;
    let histories = histories(cx, &tenants).await;
    let mut schemas: BTreeMap<(Placement, Isolation), Vec<Tenant>> = BTreeMap::new();
    for tenant in tenants {
        schemas.entry((tenant.placement.clone(), tenant.isolation)).or_default().push(tenant);
    }
    Ok(schemas
        .into_iter()
        .map(|((placement, isolation), tenants)| {
            let database = (placement.cluster.clone(), placement.database.clone());
            let found = histories.get(&database);
            let mut unit = Unit::new(cx, placement, isolation, tenants);
            unit.registered = source == Source::Registry;
            if isolation == Isolation::Shared {
                let here = |tenant: &&Tenant| {
                    tenant.isolation == isolation && tenant.placement == unit.placement
                };
                unit.neighbours = everyone.iter().filter(here).cloned().collect();
            }
            unit.decide(found, options.to);
            unit
        })
        .collect())
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
            from: None,
            to: None,
            applied: Vec::new(),
            pending: Vec::new(),
            status: Status::UpToDate,
            error: None,
            took: Duration::ZERO,
        }
    }

    /// Finds out what is pending.
    fn decide(&mut self, found: Option<&Result<pg::Histories, Error>>, to: Option<Version>) {
        // A tenant that was never finished is `create`'s to finish: its roles may not be there.
        let half_made = self.tenants.iter().all(|tenant| tenant.state == State::Provisioning);
        if self.registered && half_made {
            let id = &self.tenants[0].id;
            let error = Error::new(Code::Refused, format!("tenant {id} is still being made"))
                .hint(format!("finish it with: tenantctl create {id}"));
            self.fail(&error);
            self.status = Status::Skipped;
            return;
        }
        let Some(history) = self.history(found) else {
            return;
        };
        self.from = history.version();
        self.to = self.from;
        match decide(self.set, history, to) {
            Ok(pending) if pending.is_empty() => {}
            Ok(pending) => {
                self.pending = pending.iter().map(|one: &&Migration| one.version).collect();
                self.status = Status::Pending;
            }
            Err(error) => self.fail(&error),
        }
    }

    /// The schema's own history among those of its database; without one, the unit says why.
    fn history<'h>(
        &mut self,
        found: Option<&'h Result<pg::Histories, Error>>,
    ) -> Option<&'h History> {
        let gone;
        let error = match found {
            Some(Err(error)) => error,
            Some(Ok(histories)) if let Some(history) = histories.get(&self.placement.schema) => {
                match history {
                    Ok(history) => return Some(history),
                    Err(error) => error,
                }
            }
            Some(Ok(_)) | None => {
                let Placement { database, schema, .. } = &self.placement;
                let what = format!("there is no schema {schema} in database {database}");
                gone = Error::new(Code::NotFound, what).hint(
                    "bring it back from a backup, or check that the URL names the right server",
                );
                &gone
            }
        };
        self.fail(error);
        if error.code == Code::NotFound {
            self.status = Status::Missing;
        }
        None
    }

    fn fail(&mut self, error: &Error) {
        self.status = match error.code {
            Code::HistoryDiverged => Status::Diverged,
            _ => Status::Failed,
        };
        self.error = Some(Failure::from(error));
    }

    /// Applies what is pending, and sees to it that shared tables are guarded; the outcome is in the
    /// unit afterwards.
    async fn bring_up(&mut self, cx: &Context<'_>, options: &UpOptions) {
        if self.status == Status::Pending {
            self.migrate(cx, options).await;
        } else if let Err(error) = self.guard(cx, options).await {
            self.fail(&error);
        }
    }

    async fn migrate(&mut self, cx: &Context<'_>, options: &UpOptions) {
        let started = Instant::now();
        let name = self.name();
        cx.observer
            .on(&Event::TargetStarted { cluster: Some(&self.placement.cluster), target: &name });
        match self.apply(cx, options).await {
            Ok((from, applied)) => {
                self.from = from;
                self.finish(applied);
                self.status = Status::Applied;
            }
            Err((applied, error)) => {
                self.finish(applied);
                self.fail(&error);
            }
        }
        self.took = started.elapsed();
        let rows: Vec<TargetReport> = self.reports().collect();
        cx.observer.on(&Event::TargetDone {
            cluster: Some(&self.placement.cluster),
            target: &name,
            rows: &rows,
            outcome: self.outcome(),
            failed: self.error.is_some(),
            took: self.took,
        });
    }

    fn finish(&mut self, applied: Vec<Version>) {
        self.pending.retain(|version| !applied.contains(version));
        self.to = applied.iter().max().copied().max(self.from);
        self.applied = applied;
    }

    async fn apply(
        &self,
        cx: &Context<'_>,
        options: &UpOptions,
    ) -> Result<(Option<Version>, Vec<Version>), (Vec<Version>, Error)> {
        let before = |error| (Vec::new(), error);
        let (cluster, database) = (&self.placement.cluster, &self.placement.database);
        let session = match self.isolation {
            Isolation::Database => cx.servers.dedicated(cluster, Some(database)).await,
            Isolation::Shared | Isolation::Schema => {
                cx.servers.lasting(cluster, Some(database)).await
            }
        }
        .map_err(before)?;
        let watching =
            Watching { servers: cx.servers, observer: cx.observer, placement: &self.placement };
        let target = pg::Target {
            placement: &self.placement,
            owner: &self.tenants[0].owner,
            set: self.set,
            to: options.scope.to,
            limits: options.limits,
            lock_wait: options.lock_wait,
            watcher: Some(&watching),
        };
        let (from, applied) = pg::migrate_target(&session, &target).await?;
        drop(session);
        if self.isolation == Isolation::Shared && !applied.is_empty() {
            self.guard(cx, options).await.map_err(|error| (applied.clone(), error))?;
        }
        Ok((from, applied))
    }

    /// Whether a run that was stopped between a migration and the guard may have been here.
    fn may_lack_guard(&self) -> bool {
        self.registered && self.isolation == Isolation::Shared && self.status == Status::UpToDate
    }

    /// Binds the tables that a migration of a shared schema made to the current tenant, and grants
    /// them: until then the application's roles cannot reach them. Only reads when that is done.
    async fn guard(&self, cx: &Context<'_>, options: &UpOptions) -> Result<(), Error> {
        if !self.registered {
            // Without a registry tenantctl did not make these tables, and guards none of them.
            return Ok(());
        }
        // What was migrated is guarded as well, whoever asks to stop: the two belong together.
        let calm = Interrupt::default();
        let cx = &Context { interrupt: &calm, ..*cx };
        let (cluster, database) = &cx.fleet.registry;
        let control = cx.servers.dedicated(cluster, Some(database)).await?;
        let layout = cx.fleet.layout(self.isolation);
        let own_roles = layout.roles.iter().chain(&layout.readonly).any(Template::per_tenant);
        let active = self.neighbours.iter().filter(|tenant| tenant.state == State::Active);
        // Whoever comes first sees to the roles that all use.
        for tenant in active.take(if own_roles { usize::MAX } else { 1 }) {
            let mut request = Request::new(tenant.id.clone());
            request.isolation = Some(tenant.isolation);
            request.cluster = Some(tenant.placement.cluster.clone());
            request.tier.clone_from(&tenant.tier);
            request.key = Some(tenant.key.clone());
            let mut desired = cx.fleet.desired(&request, tenant.uuid)?;
            let observed = pg::observe(cx.servers, Some(&control), &desired).await?;
            if plan::is_guarded(&desired, &observed) {
                continue;
            }
            let lock = pg::hold(&control, LockKey::tenant(&tenant.id), options.lock_wait).await?;
            let patience = Patience { lock_wait: options.lock_wait, limits: options.limits };
            let done = converge(cx, &control, &mut desired, async |_, _, _| Ok(()), patience).await;
            lock.release().await?;
            done?;
        }
        Ok(())
    }

    /// How a person calls it.
    fn name(&self) -> String {
        match (self.isolation, self.tenants.as_slice()) {
            (Isolation::Shared, tenants) => format!(
                "{} (shared by {})",
                self.placement.schema,
                crate::model::count(tenants.len(), "tenant")
            ),
            (_, [only, ..]) => only.id.to_string(),
            (_, []) => self.placement.to_string(),
        }
    }

    fn outcome(&self) -> String {
        if let Some(error) = &self.error {
            return error.message.clone();
        }
        let version = |version: Option<Version>| {
            version.map_or_else(|| "nothing".to_owned(), |version| format!("V{version}"))
        };
        format!(
            "{} → {} ({})",
            version(self.from),
            version(self.to),
            crate::model::count(self.applied.len(), "migration")
        )
    }

    /// One row per tenant: each asks about itself, also when it shares its tables.
    fn reports(&self) -> impl Iterator<Item = TargetReport> + '_ {
        self.tenants.iter().map(|tenant| TargetReport {
            tenant: tenant.id.clone(),
            isolation: self.isolation,
            placement: self.placement.clone(),
            from: self.from,
            to: self.to,
            applied: self.applied.clone(),
            pending: self.pending.clone(),
            status: self.status,
            error: self.error.clone(),
            took: self.took,
        })
    }
}
