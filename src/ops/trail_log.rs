//! Reads the audit log, and checks that nobody has changed it.

use std::time::Duration;

use super::Context;
use crate::error::{Code, Error};
use crate::model::tenant::TenantId;
use crate::model::trail::EventHash;
use crate::pg::registry::{self, Readiness};
use crate::pg::{Session, trail};
use crate::report::{Log, LogVerified, Report};

/// Shows the newest events, newest first. Where there is no registry nothing was done.
///
/// # Errors
///
/// When the registry cannot be read, or keeps no audit log yet.
pub async fn audit_log(
    cx: &Context<'_>,
    tenant: Option<TenantId>,
    since: Option<Duration>,
    limit: u32,
) -> anyhow::Result<Report> {
    let Some(session) = kept(cx).await? else {
        return Ok(Report::Log(Log { events: Vec::new(), kept: false, more: false }));
    };
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let wanted = trail::Wanted {
        tenant,
        seconds: since.map(|since| since.as_secs_f64()),
        // One more than is shown says whether there are older ones.
        limit: i64::from(limit) + 1,
    };
    let mut events = trail::events(&session, &wanted).await?;
    let more = events.len() > shown;
    events.truncate(shown);
    Ok(Report::Log(Log { events, kept: true, more }))
}

/// Follows the chain of the whole log. `expected` is a hash that was kept elsewhere.
///
/// # Errors
///
/// When the registry cannot be read, and when there is none: a check of nothing must not pass.
pub async fn audit_verify(cx: &Context<'_>, expected: Option<EventHash>) -> anyhow::Result<Report> {
    let Some(session) = kept(cx).await? else {
        return Err(Error::new(Code::NotFound, "verify the audit log: there is no registry")
            .hint("the first tenant makes the registry: tenantctl create acme")
            .into());
    };
    let followed = trail::follow(&session, expected).await?;
    Ok(Report::LogVerified(LogVerified {
        events: followed.events,
        head: followed.head,
        expected,
        tampered: followed.tampered,
    }))
}

/// A session to the registry, when there is one.
async fn kept(cx: &Context<'_>) -> Result<Option<Session>, Error> {
    let (cluster, database) = &cx.fleet.registry;
    let session = cx.servers.session(cluster, Some(database)).await?;
    match registry::readiness(&session, cx.sets.registry()).await? {
        Readiness::Absent => Ok(None),
        Readiness::Ready => Ok(Some(session)),
        Readiness::Behind if trail::exists(&session).await? => Ok(Some(session)),
        Readiness::Behind => Err(Error::new(
            Code::Refused,
            "read the audit log: an older tenantctl made the registry, and chained no events",
        )
        .hint("the next command that changes something chains them: tenantctl create ID")),
    }
}
