//! Migrates a selection of tenants, or says how they stand.

mod ahead;
mod alone;
mod attend;
mod beginnings;
mod guard;
mod journal;
mod lanes;
mod run;
mod sealing;
mod seats;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Context;
use super::migrate_plan::{read_plan, refuse_stale};
use super::select::Selection;
use crate::error::Error;
use crate::model::migration::Version;
use crate::model::run::RunReference;
use crate::model::tenant::{Isolation, TenantId};
use crate::pg::{self, Prepared, ledger};
use crate::plan::health::Gate;
use crate::plan::waves::{Share, Wave};
use crate::report::{MigrationRun, PastFailure, Report, Status, Verb};
use journal::{Journal, resumed};
use run::Run;
use targets::{Reading, Unit, units};

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
#[derive(Clone, Debug, Default)]
pub struct UpOptions {
    /// Whom, and up to where.
    pub scope: StatusOptions,
    /// How many schemas at once on each cluster; derived from budget and cores without one.
    pub jobs: Option<usize>,
    /// Whether each file is a transaction of its own.
    pub per_file: bool,
    /// In which order: without waves, all at once.
    pub waves: Vec<Wave>,
    /// How long to watch a wave before the next begins.
    pub soak: Duration,
    /// What must be well before a wave begins that is not the first.
    pub gate: Gate,
    /// How long to wait for it.
    pub gate_wait: Duration,
    /// How many failures are too many.
    pub max_failures: Option<Share>,
    /// Whether to start no more targets after a failure.
    pub stop_on_error: bool,
    /// After how long no more targets are started.
    pub max_duration: Option<Duration>,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// How long migrations may wait and work.
    pub limits: pg::Limits,
    /// Whether files may break the standards that `migrate lint` judges by.
    pub allow_lint: bool,
    /// Which plan is followed: nothing is done when anything has moved since it was made.
    pub plan: Option<PathBuf>,
    /// Which run is gone on with.
    pub resume: Option<RunReference>,
    /// What was asked for, as it may be typed again: for the ledger.
    pub asked: String,
}

/// Says how the selected tenants stand. Takes no lock and writes nothing.
///
/// # Errors
///
/// When nobody knows the tenants, and for a selection that names one that does not exist.
pub async fn status(cx: &Context<'_>, options: &StatusOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let units = units(cx, options, Reading::Now).await?;
    let mut answer = answer(cx, Verb::Status, &units, options.check, started);
    note_past_failures(cx, &units, &mut answer).await?;
    Ok(Report::Migration(answer))
}

/// Migrates the selected tenants. One tenant's failure is reported, and the others go on.
///
/// # Errors
///
/// As [`status`], and when the ledger cannot be written. The failure of a target is not an error:
/// it is part of the answer.
pub async fn up(cx: &Context<'_>, options: &UpOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let planned;
    let options = match &options.plan {
        None => options,
        Some(file) => {
            planned = following(cx, options, file).await?;
            &planned
        }
    };
    if options.scope.check {
        let units = units(cx, &options.scope, Reading::Now).await?;
        return Ok(Report::Migration(answer(cx, Verb::Up, &units, true, started)));
    }
    let files = prepared(cx)?;
    let (journal, options, units) = match &options.resume {
        None => {
            let units = units(cx, &options.scope, Reading::OnVisit).await?;
            (Journal::new(), options.clone(), units)
        }
        Some(reference) => {
            let (journal, kept) = Journal::resume(cx, reference).await?;
            let read = async {
                let options = resumed(cx, options, &journal, &kept).await?;
                let units = units(cx, &options.scope, Reading::OnVisit).await?;
                anyhow::Ok((options, units))
            };
            match read.await {
                Ok((options, units)) => (journal, options, units),
                Err(error) => {
                    journal.leave().await;
                    return Err(error);
                }
            }
        }
    };
    let run = Run::new(cx, &options, &files, units, journal, started);
    cx.interrupt.set_cancels(true);
    let done = run.carry_out().await;
    cx.interrupt.set_cancels(false);
    Ok(Report::Migration(done?))
}

/// The options that a plan was made with, when it still holds.
///
/// # Errors
///
/// As [`read_plan`] and [`refuse_stale`].
async fn following(
    cx: &Context<'_>,
    options: &UpOptions,
    file: &Path,
) -> anyhow::Result<UpOptions> {
    let planned = read_plan(file)?;
    refuse_stale(cx, &planned).await?;
    let asked = planned.asked;
    let selector = asked.selector.map(|selector| selector.parse()).transpose()?;
    let selection = Selection { tenants: asked.tenants, exclude: asked.exclude, selector };
    let scope = StatusOptions { selection, to: asked.to.map(Version), check: options.scope.check };
    Ok(UpOptions { scope, ..options.clone() })
}

/// Says of tenants that lag why the last run that tried them failed.
async fn note_past_failures(
    cx: &Context<'_>,
    units: &[Unit<'_>],
    answer: &mut MigrationRun,
) -> Result<(), Error> {
    let lag = |unit: &&Unit<'_>| unit.registered && unit.status == Status::Pending;
    let lagging: Vec<TenantId> = units
        .iter()
        .filter(lag)
        .flat_map(|unit| unit.tenants.iter().map(|tenant| tenant.id.clone()))
        .collect();
    if lagging.is_empty() {
        return Ok(());
    }
    let (cluster, database) = &cx.fleet.registry;
    let session = cx.servers.session(cluster, Some(database)).await?;
    if !ledger::exists(&session).await? {
        return Ok(());
    }
    let failures = ledger::last_failures(&session, &lagging).await?;
    for target in &mut answer.targets {
        if let Some((run, error)) = failures.get(&target.tenant) {
            target.last_failure = Some(PastFailure { run: *run, message: error.message.clone() });
        }
    }
    Ok(())
}

/// The files of every model as refinery knows them.
fn prepared<'a>(cx: &Context<'a>) -> Result<BTreeMap<Isolation, Prepared<'a>>, Error> {
    Isolation::ALL
        .into_iter()
        .map(|isolation| Ok((isolation, Prepared::new(cx.sets.of(isolation))?)))
        .collect()
}

fn answer(
    cx: &Context<'_>,
    verb: Verb,
    units: &[Unit<'_>],
    check: bool,
    started: Instant,
) -> MigrationRun {
    MigrationRun {
        check,
        heads: cx.sets.heads(),
        took: started.elapsed(),
        ..MigrationRun::new(verb, units.iter().flat_map(Unit::reports).collect())
    }
}
