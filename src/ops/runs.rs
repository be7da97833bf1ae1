//! What the ledger remembers of runs.

use super::Context;
use crate::error::{Code, Error};
use crate::model::run::{RunReference, TargetState};
use crate::pg::registry::{self, Readiness};
use crate::pg::{Session, ledger};
use crate::report::{Report, Runs, ShownRun};

/// Lists the newest runs. Where there is no registry there was no run.
///
/// # Errors
///
/// When the registry cannot be read.
pub async fn runs(cx: &Context<'_>, limit: u32) -> anyhow::Result<Report> {
    let Some(session) = remembering(cx).await? else {
        return Ok(Report::Runs(Runs { runs: Vec::new(), remembered: false, more: false }));
    };
    // One more than is shown says whether there are older ones.
    let mut runs = ledger::runs(&session, limit.saturating_add(1)).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = runs.len() > shown;
    runs.truncate(shown);
    Ok(Report::Runs(Runs { runs, remembered: true, more }))
}

/// Shows one run, and of its tenants those in the states that were asked for; all without any.
///
/// # Errors
///
/// `not-found` when there is no such run, `usage` when several are meant, and as [`runs`].
pub async fn show_run(
    cx: &Context<'_>,
    run: &RunReference,
    states: &[TargetState],
) -> anyhow::Result<Report> {
    let Some(session) = remembering(cx).await? else {
        return Err(Error::new(
            Code::NotFound,
            format!("show run {run}: there is no registry, so there was no run"),
        )
        .hint("the first tenant makes the registry: tenantctl create acme")
        .into());
    };
    let overview = ledger::find(&session, run).await?;
    let mut targets = ledger::targets(&session, overview.run.id).await?;
    targets.retain(|target| states.is_empty() || states.contains(&target.state));
    Ok(Report::Run(Box::new(ShownRun { overview, targets })))
}

/// A session to the registry, when there is one that keeps ledgers.
pub(super) async fn remembering(cx: &Context<'_>) -> Result<Option<Session>, Error> {
    let (cluster, database) = &cx.fleet.registry;
    let session = cx.servers.session(cluster, Some(database)).await?;
    let kept = match registry::readiness(&session, cx.sets.registry()).await? {
        Readiness::Absent => false,
        Readiness::Ready => true,
        Readiness::Behind => ledger::exists(&session).await?,
    };
    Ok(kept.then_some(session))
}
