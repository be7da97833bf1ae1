//! What a run writes into its ledger.

use std::collections::BTreeMap;

use tokio::sync::OnceCell;
use uuid::Uuid;

use super::run::Run;
use super::targets::Unit;
use super::{UpOptions, targets};
use crate::error::{Code, Error};
use crate::model::migration::Version;
use crate::model::run::{
    NewRun, Run as Kept, RunError, RunKind, RunReference, RunState, RunTarget, TargetState,
};
use crate::model::tenant::{Tenant, TenantId};
use crate::ops::Context;
use crate::pg::{Ledger, ledger, registry};
use crate::report::{Failure, Status};

/// The ledger of a run. Nothing is written before something is to be done.
pub(super) struct Journal {
    id: Uuid,
    ledger: OnceCell<Option<Ledger>>,
    /// What a run that is resumed knew of its tenants before.
    before: BTreeMap<TenantId, RunTarget>,
}

impl Journal {
    /// A journal of a new run.
    pub(super) fn new() -> Self {
        Self { id: Uuid::now_v7(), ledger: OnceCell::new(), before: BTreeMap::new() }
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
        let again = ledger::reconnect(cx.servers, cluster, database);
        let (ledger, kept, targets) = Ledger::reopen(session, Some(again), found.id).await?;
        let before = targets.into_iter().map(|target| (target.tenant.clone(), target)).collect();
        let journal = Self { id: kept.id, ledger: OnceCell::new_with(Some(Some(ledger))), before };
        Ok((journal, kept))
    }

    /// The tenants that a resumed run has still to look at; all that it began with when none is left.
    pub(super) fn left(&self) -> Vec<TenantId> {
        let all = || self.before.values();
        let left: Vec<TenantId> = all()
            .filter(|target| !target.state.is_done())
            .map(|target| target.tenant.clone())
            .collect();
        if left.is_empty() { all().map(|target| target.tenant.clone()).collect() } else { left }
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
        Ledger::begin(session, Some(again), &new, &targets).await.map(Some)
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
pub(super) fn resumed(options: &UpOptions, journal: &Journal, kept: &Kept) -> UpOptions {
    let mut options = options.clone();
    options.scope.selection.tenants = journal.left();
    options.scope.to = options.scope.to.or(kept.to);
    options
}
