//! Looks at many databases, those of each cluster a few at a time.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::OnceCell;

use super::targets::Target;
use crate::error::{Code, Error};
use crate::model::cluster::ClusterFacts;
use crate::model::tenant::ClusterName;
use crate::ops::{Context, list};
use crate::pg::{self, Session};
use crate::report::event::Event;
use crate::report::{AuditedDatabase, Failure};

/// So many databases of a cluster are looked at at once, unless it is said otherwise: reading
/// catalogues is work for one core of the server each.
const JOBS: usize = 4;

/// How often a wait looks whether somebody asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What was seen in one database, and how many findings that is.
pub(super) struct Seen<T> {
    pub(super) findings: usize,
    pub(super) outcome: String,
    pub(super) value: T,
}

/// What came of looking at databases.
pub(super) struct Looked {
    /// The databases that were begun, by cluster and name.
    pub(super) databases: Vec<AuditedDatabase>,
    /// How many were not.
    pub(super) untouched: usize,
    /// Whether somebody asked to stop before the end.
    pub(super) interrupted: bool,
}

/// Looks at each database in a session of its own, and takes what was seen as it comes: nothing is
/// kept for longer than `take` keeps it. A database that cannot be looked at hides no other.
pub(super) async fn each<T>(
    cx: &Context<'_>,
    targets: Vec<Target<'_>>,
    jobs: Option<usize>,
    look: impl AsyncFn(&Session, &ClusterFacts, &Target<'_>) -> Result<Seen<T>, Error>,
    mut take: impl FnMut(T),
) -> Looked {
    let clusters: Vec<(ClusterName, usize)> = targets
        .chunk_by(|a, b| a.cluster == b.cluster)
        .filter_map(|those| Some((those.first()?.cluster.clone(), those.len())))
        .collect();
    let number = targets.len();
    cx.observer.on(&Event::RunStarted {
        what: "verify",
        run: None,
        targets: number,
        clusters: &clusters,
    });
    let look = &look;
    // What belongs to a cluster is read by whoever comes first, and the others wait for it.
    let facts: Vec<OnceCell<ClusterFacts>> = clusters.iter().map(|_| OnceCell::new()).collect();
    let mut lanes = Vec::new();
    let mut rest = targets.into_iter();
    for ((cluster, number), facts) in clusters.iter().zip(&facts) {
        let lane: Vec<Target<'_>> = rest.by_ref().take(*number).collect();
        // No database waits for a connection that another one holds.
        let seats = cx.servers.limit(cluster) / pg::SESSIONS;
        let jobs = jobs.unwrap_or(JOBS).min(seats).max(1);
        let begun = lane.into_iter().take_while(|_| !cx.interrupt.is_raised());
        let seen = stream::iter(begun).map(move |target| one(cx, target, facts, look));
        lanes.push(seen.buffer_unordered(jobs).boxed_local());
    }
    let mut databases = Vec::with_capacity(number);
    cx.interrupt.set_cancels(true);
    let mut all = stream::select_all(lanes);
    while let Some((database, seen)) = all.next().await {
        databases.push(database);
        seen.into_iter().for_each(&mut take);
    }
    drop(all);
    cx.interrupt.set_cancels(false);
    cx.observer.on(&Event::RunDone);
    databases.sort_by(|a, b| (&a.cluster, &a.database).cmp(&(&b.cluster, &b.database)));
    let untouched = number - databases.len();
    let interrupted = untouched > 0 || databases.iter().any(AuditedDatabase::was_interrupted);
    Looked { databases, untouched, interrupted }
}

/// Looks at one database, and tells what comes of it.
async fn one<T>(
    cx: &Context<'_>,
    target: Target<'_>,
    facts: &OnceCell<ClusterFacts>,
    look: &impl AsyncFn(&Session, &ClusterFacts, &Target<'_>) -> Result<Seen<T>, Error>,
) -> (AuditedDatabase, Option<T>) {
    let began = Instant::now();
    let name = target.name();
    let cluster = Some(target.cluster);
    cx.observer.on(&Event::TargetStarted { cluster, target: &name });
    let seen = attended(cx, &target, facts, look).await;
    let (outcome, failed) = match &seen {
        Ok(seen) => (seen.outcome.clone(), false),
        Err(error) => (list::short(error), true),
    };
    cx.observer.on(&Event::TargetDone {
        cluster,
        target: &name,
        rows: &[],
        outcome,
        failed,
        took: began.elapsed(),
    });
    let database = AuditedDatabase {
        cluster: target.cluster.clone(),
        database: target.database.clone(),
        tenants: target.selected,
        findings: seen.as_ref().map_or(0, |seen| seen.findings),
        error: seen.as_ref().err().map(Failure::from),
    };
    (database, seen.ok().map(|seen| seen.value))
}

/// Looks until it is done, or until somebody asks to cancel.
async fn attended<T>(
    cx: &Context<'_>,
    target: &Target<'_>,
    facts: &OnceCell<ClusterFacts>,
    look: &impl AsyncFn(&Session, &ClusterFacts, &Target<'_>) -> Result<Seen<T>, Error>,
) -> Result<Seen<T>, Error> {
    let session = cx.servers.dedicated(target.cluster, Some(target.database)).await?;
    let canceller = session.canceller();
    let looking = async {
        let facts = facts.get_or_try_init(|| pg::read_cluster(&session)).await?;
        look(&session, facts, target).await
    };
    tokio::pin!(looking);
    loop {
        if let Ok(seen) = tokio::time::timeout(LOOK, &mut looking).await {
            return seen;
        }
        if cx.interrupt.is_cancelled() {
            // The session is closed with its transaction open, which the server rolls back.
            if let Err(error) = canceller.cancel().await {
                log::debug!("cancel the audit of {}: {error}", target.name());
            }
            let message = format!("audit {}: it was interrupted", target.name());
            return Err(Error::new(Code::Interrupted, message));
        }
    }
}
