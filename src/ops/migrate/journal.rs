//! What a run writes into its ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::run::{DEED, LOOK, Run, Writing};
use super::targets::Unit;
use super::{UpOptions, targets};
use crate::error::{Code, Error};
use crate::model::migration::Version;
use crate::model::pooling::Operation;
use crate::model::run::{
    NewRun, Run as Kept, RunError, RunKind, RunReference, RunState, RunTarget, TargetState,
};
use crate::model::tenant::{Tenant, TenantId};
use crate::ops::trail::Deed;
use crate::ops::{Context, fleet};
use crate::pg::{Ledger, Session, ledger, registry};
use crate::report::event::Event;
use crate::report::{Failure, Status};

/// How long a run that is resumed may seem to go on.
const GRACE: Duration = Duration::from_secs(1);

/// The ledger of a run. Nothing is written before something is to be done.
pub(super) struct Journal {
    id: Uuid,
    ledger: OnceCell<Option<Ledger>>,
    /// What a run that is resumed knew of its tenants before,
    before: BTreeMap<TenantId, RunTarget>,
    /// and how it was found.
    found: Option<RunState>,
}

impl Journal {
    /// A journal of a new run.
    pub(super) fn new() -> Self {
        Self { id: Uuid::now_v7(), ledger: OnceCell::new(), before: BTreeMap::new(), found: None }
    }

    /// Takes up a run that ended before its time. Also returns what it was to do.
    ///
    /// # Errors
    ///
    /// When there is no such run, it goes on elsewhere, or it took migrations back.
    pub(super) async fn resume(
        cx: &Context<'_>,
        reference: &RunReference,
    ) -> Result<(Self, Kept), Error> {
        let (cluster, database) = &cx.fleet.registry;
        let session = cx.servers.dedicated(cluster, Some(database)).await?;
        let found = ledger::find(&session, reference).await?.run;
        if found.kind != RunKind::Up {
            return Err(Error::new(
                Code::Refused,
                format!(
                    "resume run {}: it is no migrate up, but a migrate {}",
                    found.id, found.kind
                ),
            ));
        }
        registry::ensure(&session, cx.sets.registry()).await?;
        let (ledger, targets) = reopened(cx, session, found.id).await?;
        let before: BTreeMap<TenantId, RunTarget> =
            targets.into_iter().map(|target| (target.tenant.clone(), target)).collect();
        let (cluster, database) = &cx.fleet.registry;
        let session = cx.servers.session(cluster, Some(database)).await?;
        let about = json!({"tenants": before.len(), "resumed": true});
        Deed::new(cx, DEED, None).run(found.id).about(about).start(&session).await?;
        let journal = Self {
            id: found.id,
            ledger: OnceCell::new_with(Some(Some(ledger))),
            before,
            found: Some(found.state),
        };
        Ok((journal, found))
    }

    /// The tenants that a resumed run has still to look at, of those that there are; all that it
    /// began with when none is left. Who has gone since is noted as skipped, and told.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] when all have gone.
    pub(super) async fn left(&self, cx: &Context<'_>) -> Result<Vec<TenantId>, Error> {
        let (tenants, _) = fleet::tenants(cx).await?;
        let known: BTreeSet<&TenantId> = tenants.iter().map(|tenant| &tenant.id).collect();
        let (there, gone): (Vec<&RunTarget>, Vec<&RunTarget>) =
            self.before.values().partition(|target| known.contains(&target.tenant));
        for target in gone.into_iter().filter(|target| !target.state.is_done()) {
            self.let_go(cx, target);
        }
        let left: Vec<&RunTarget> =
            there.iter().copied().filter(|target| !target.state.is_done()).collect();
        let chosen = if left.is_empty() { there } else { left };
        if chosen.is_empty() {
            let what = format!("resume run {}: none of its tenants is there any more", self.id);
            return Err(
                Error::new(Code::NotFound, what).hint("begin a new run with: tenantctl migrate up")
            );
        }
        Ok(chosen.into_iter().map(|target| target.tenant.clone()).collect())
    }

    /// Notes of a tenant that it has gone since the run began.
    fn let_go(&self, cx: &Context<'_>, target: &RunTarget) {
        let message = format!("tenant {} is no longer in the registry", target.tenant);
        cx.observer.on(&Event::TargetDone {
            cluster: Some(&target.placement.cluster),
            target: target.tenant.as_str(),
            rows: &[],
            outcome: message.clone(),
            failed: false,
            took: Duration::ZERO,
        });
        if let Some(ledger) = self.ledger() {
            let error = RunError {
                code: Code::NotFound.id().to_owned(),
                sqlstate: None,
                message,
                location: None,
            };
            ledger.note(RunTarget {
                state: TargetState::Skipped,
                cause: None,
                error: Some(error),
                ..target.clone()
            });
        }
    }

    /// Leaves a run that could not be resumed as it was found. A new one was never there.
    pub(super) async fn leave(self) {
        // One that was killed looks killed again as soon as its lock is gone.
        if let Some(found) = self.found
            && found != RunState::Running
            && let Err(error) = self.close(found).await
        {
            log::debug!("{error}");
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Writes down what the run is about to do, the first time.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be written: nothing has been done then.
    pub(super) async fn begin(&self, run: &Run<'_, '_>) -> Result<(), Error> {
        self.ledger.get_or_try_init(|| self.open(run)).await?;
        Ok(())
    }

    async fn open(&self, run: &Run<'_, '_>) -> Result<Option<Ledger>, Error> {
        if !run.units.borrow().iter().any(|unit| unit.registered) {
            // Without a registry there is nobody to keep a ledger.
            return Ok(None);
        }
        let (cluster, database) = &run.cx.fleet.registry;
        let session = run.cx.servers.dedicated(cluster, Some(database)).await?;
        run.writes(Writing::HasSession);
        session.require(Operation::Session, "keep the ledger of the run").await?;
        registry::ensure(&session, run.cx.sets.registry()).await?;
        let new = NewRun {
            id: self.id,
            kind: RunKind::Up,
            asked: run.options.asked.clone(),
            to: run.options.scope.to,
        };
        let targets: Vec<RunTarget> = {
            let units = run.units.borrow();
            units.iter().flat_map(|unit| self.rows(unit, state(unit))).collect()
        };
        let again = ledger::reconnect(run.cx.servers, cluster, database);
        let about = json!({"tenants": targets.len()});
        Deed::new(run.cx, DEED, None).run(self.id).about(about).start(&session).await?;
        let ledger = Ledger::begin(session, Some(again), &new, &targets).await?;
        // Other lanes went on meanwhile, and had nowhere to note it.
        let units = run.units.borrow();
        let now = units.iter().flat_map(|unit| self.rows(unit, state(unit)));
        for (_, row) in targets.iter().zip(now).filter(|(before, now)| before.state != now.state) {
            ledger.note(row);
        }
        Ok(Some(ledger))
    }

    /// Why the ledger cannot be written any more.
    pub(super) fn failed(&self) -> Option<Error> {
        self.ledger()?.failed()
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.ledger.get().and_then(Option::as_ref)
    }

    /// Notes how a unit stands.
    pub(super) fn note(&self, unit: &Unit<'_>) {
        self.note_as(unit, state(unit));
    }

    /// Notes that a unit was begun.
    pub(super) fn note_running(&self, unit: &Unit<'_>) {
        self.note_as(unit, TargetState::Running);
    }

    /// Notes that a unit waits.
    pub(super) fn note_waiting(&self, unit: &Unit<'_>) {
        self.note_as(unit, TargetState::Waiting);
    }

    fn note_as(&self, unit: &Unit<'_>, state: TargetState) {
        if let Some(ledger) = self.ledger() {
            for row in self.rows(unit, state) {
                ledger.note(row);
            }
        }
    }

    /// Notes of a resumed run what its histories tell: a tenant that was under way when the run was
    /// killed may have got everything.
    pub(super) fn note_found(&self, units: &[Unit<'_>]) {
        for unit in units.iter().filter(|unit| unit.status != Status::Pending) {
            self.note(unit);
        }
    }

    fn rows(&self, unit: &Unit<'_>, state: TargetState) -> Vec<RunTarget> {
        unit.tenants.iter().map(|tenant| self.row(unit, tenant, state)).collect()
    }

    fn row(&self, unit: &Unit<'_>, tenant: &Tenant, state: TargetState) -> RunTarget {
        let before = self.before.get(&tenant.id);
        let from = before.map_or(unit.from, |before| before.from);
        let mut applied = before.map(|before| before.applied.clone()).unwrap_or_default();
        let mut state = state;
        if before.is_some() && state == TargetState::UpToDate && unit.to > from {
            // The run itself has brought it there, before it was killed.
            applied = between(unit, from);
            state = TargetState::Applied;
        }
        applied.extend(&unit.applied);
        applied.sort_unstable();
        applied.dedup();
        RunTarget {
            tenant: tenant.id.clone(),
            placement: unit.placement.clone(),
            from,
            goal: before.map_or_else(|| targets::goal(unit), |before| before.goal),
            applied,
            state,
            cause: unit.waited.clone(),
            attempts: unit.attempts + before.map_or(0, |before| before.attempts),
            took: unit.took,
            error: unit.error.as_ref().map(kept),
        }
    }

    /// Writes how the run ended. Returns its id, unless nothing was written at all.
    ///
    /// # Errors
    ///
    /// When the ledger could not be written: the run then looks killed, and can be resumed.
    pub(super) async fn close(self, state: RunState) -> Result<Option<Uuid>, Error> {
        match self.ledger.into_inner().flatten() {
            Some(ledger) => ledger.close(state).await.map(|()| Some(self.id)),
            None => Ok(None),
        }
    }
}

/// Takes up the ledger of a run. The server may take a moment to see that the process that was
/// killed is gone.
async fn reopened(
    cx: &Context<'_>,
    mut session: Session,
    id: Uuid,
) -> Result<(Ledger, Vec<RunTarget>), Error> {
    let (cluster, database) = &cx.fleet.registry;
    let until = Instant::now() + GRACE;
    loop {
        let again = ledger::reconnect(cx.servers, cluster, database);
        match Ledger::reopen(session, Some(again), id).await {
            Err(error) if error.code == Code::LockBusy && Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
                session = cx.servers.dedicated(cluster, Some(database)).await?;
            }
            taken_up => return taken_up.map(|(ledger, _, targets)| (ledger, targets)),
        }
    }
}

fn between(unit: &Unit<'_>, from: Option<Version>) -> Vec<Version> {
    let versions = unit.set.migrations().iter().map(|migration| migration.version);
    versions.filter(|version| Some(*version) > from && Some(*version) <= unit.to).collect()
}

fn state(unit: &Unit<'_>) -> TargetState {
    match unit.status {
        Status::Applied => TargetState::Applied,
        Status::UpToDate => TargetState::UpToDate,
        Status::Pending => TargetState::Pending,
        Status::Skipped => TargetState::Skipped,
        Status::Diverged | Status::Missing | Status::Failed => TargetState::Failed,
    }
}

fn kept(failure: &Failure) -> RunError {
    let location = failure.file.as_ref().map(|file| match (failure.line, failure.column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => file.clone(),
    });
    RunError {
        code: failure.code.id().to_owned(),
        sqlstate: failure.sqlstate.clone(),
        message: failure.message.clone(),
        location,
    }
}

/// The options of a run that is resumed: whom it has still to look at, and up to where.
///
/// # Errors
///
/// As [`Journal::left`].
pub(super) async fn resumed(
    cx: &Context<'_>,
    options: &UpOptions,
    journal: &Journal,
    kept: &Kept,
) -> Result<UpOptions, Error> {
    let mut options = options.clone();
    options.scope.selection.tenants = journal.left(cx).await?;
    options.scope.to = options.scope.to.or(kept.to);
    Ok(options)
}
