//! Forgets runs that nobody needs any more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::rewrite::Consent;
use super::trail::Deed;
use super::{Context, fleet, runs};
use crate::model::run::{Run, RunOverview};
use crate::model::tenant::TenantId;
use crate::pg::{self, LockKey, Session, ledger, registry};
use crate::plan::retention::{Fate, Remembered, Retention, Stay, decide};
use crate::report::{KeptRun, Pruned, Report};

/// How long another process is waited for that forgets runs as well.
const WAIT: Duration = Duration::from_secs(30);

/// So many runs go at once: of each, all its tenants do.
const AT_ONCE: usize = 50;

/// How `runs prune` goes about it.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// Which runs may go.
    pub retention: Retention,
    /// Say what would be done.
    pub dry_run: bool,
}

/// Removes runs and what is noted of their tenants. A run that goes on stays, and so does the last
/// one that tried a tenant of the fleet.
///
/// # Errors
///
/// When nobody agrees, when the registry cannot be read or written, and `lock-busy` while somebody
/// else is at it.
pub async fn prune_runs(
    cx: &Context<'_>,
    options: &PruneOptions,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let Some(session) = runs::remembering(cx).await? else {
        return Ok(Report::Pruned(Pruned::default()));
    };
    let (meant, kept, all) = look(cx, &session, options.retention).await?;
    let left = all - if options.dry_run { 0 } else { meant.len() };
    let mut answer =
        Pruned { dry_run: options.dry_run, runs: meant, kept, left, ..Pruned::default() };
    if options.dry_run || answer.runs.is_empty() {
        answer.took = started.elapsed();
        return Ok(Report::Pruned(answer));
    }
    let agreed: BTreeSet<Uuid> = answer.runs.iter().map(|one| one.run.id).collect();
    consent.given(&Report::Pruned(Pruned { dry_run: true, left: all, ..answer }))?;

    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    registry::ensure(&control, cx.sets.registry()).await?;
    let held = pg::hold(&control, LockKey::ledger(), WAIT).await?;
    let done = forget(cx, &control, options.retention, &agreed, started).await;
    let released = held.release().await;
    let answer = done?;
    released?;
    Ok(answer)
}

/// The runs that may go, those that only look so, and how many there are.
async fn look(
    cx: &Context<'_>,
    session: &Session,
    retention: Retention,
) -> anyhow::Result<(Vec<RunOverview>, Vec<KeptRun>, usize)> {
    let (tenants, _) = fleet::tenants(cx).await?;
    let tenants: Vec<TenantId> = tenants.into_iter().map(|tenant| tenant.id).collect();
    let known = ledger::runs(session, u32::MAX).await?;
    let quiet = ledger::quiet(session).await?;
    let last = ledger::last_tries(session, &tenants).await?;
    let remembered = |one: &RunOverview| Remembered {
        id: one.run.id,
        goes_on: one.process.is_some(),
        quiet: quiet.get(&one.run.id).copied().unwrap_or_default(),
        last_of: last.get(&one.run.id).copied().unwrap_or_default(),
    };
    let facts: Vec<Remembered> = known.iter().map(remembered).collect();
    let all = known.len();
    let (mut meant, mut kept) = (Vec::new(), Vec::new());
    for (one, fate) in known.into_iter().zip(decide(&facts, retention)) {
        match fate {
            Fate::Goes => meant.push(one),
            Fate::Stays(why) => kept.push(KeptRun { run: one.run.id, why }),
            Fate::IsNew => {}
        }
    }
    Ok((meant, kept, all))
}

/// Removes what was agreed to and still may go: it is looked at again, under the lock.
async fn forget(
    cx: &Context<'_>,
    control: &Session,
    retention: Retention,
    agreed: &BTreeSet<Uuid>,
    started: Instant,
) -> anyhow::Result<Report> {
    let (mut meant, mut kept, all) = look(cx, control, retention).await?;
    meant.retain(|one| agreed.contains(&one.run.id));
    if meant.is_empty() {
        let took = started.elapsed();
        return Ok(Report::Pruned(Pruned { kept, left: all, took, ..Pruned::default() }));
    }
    let deed = Deed::new(cx, "runs prune", None).before(told(&meant)).about(json!({
        "older_than_s": retention.older_than.map(|age| age.as_secs()),
        "keep": retention.keep,
    }));
    deed.start(control).await?;
    let mut gone = BTreeSet::new();
    let mut failure = None;
    for some in meant.chunks(AT_ONCE) {
        if cx.interrupt.is_raised() {
            break;
        }
        let some: Vec<&Run> = some.iter().map(|one| &one.run).collect();
        match ledger::forget(control, &some).await {
            Ok(forgotten) => {
                kept.extend(some.iter().filter(|run| !forgotten.contains(&run.id)).map(|run| {
                    // Somebody has taken it up meanwhile.
                    KeptRun { run: run.id, why: Stay::GoesOn }
                }));
                gone.extend(forgotten);
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    meant.retain(|one| gone.contains(&one.run.id));
    let after = told(&meant);
    let answer = match failure {
        Some(error) => Err(error.into()),
        None => Ok(Report::Pruned(Pruned {
            dry_run: false,
            interrupted: cx.interrupt.is_raised(),
            left: all - meant.len(),
            runs: meant,
            kept,
            took: started.elapsed(),
        })),
    };
    deed.end(cx, control, answer, |_| after).await
}

/// Runs as the audit log keeps them: how many, and from when to when.
fn told(runs: &[RunOverview]) -> Value {
    let one =
        |one: &RunOverview| json!({"run": one.run.id.to_string(), "started": one.run.started});
    json!({
        "runs": runs.len(),
        "tenants": runs.iter().map(RunOverview::tenants).sum::<usize>(),
        "oldest": runs.last().map(one),
        "newest": runs.first().map(one),
    })
}
