//! Makes the tenant, fills it, and opens it: in this order, and again where a run was killed.

use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::FillOptions;
use super::fitting::{goal, refuse_early};
use crate::config::Request;
use crate::error::{Code, Error};
use crate::model::desired::{Copying, Desired};
use crate::model::manifest::Manifest;
use crate::model::observed::Observed;
use crate::model::tenant::{State, Tenant};
use crate::model::trail::LoggedEvent;
use crate::ops::Context;
use crate::ops::converge::{Patience, converge};
use crate::ops::create::{repeat, resolve};
use crate::ops::export::log_session;
use crate::ops::goods::{Filled, Goods, fill};
use crate::ops::trail::{self, Deed};
use crate::pg::trail::{Wanted, events};
use crate::pg::{self, LockKey, Session, registry};
use crate::report::{CopiedTable, Report, Transferred};

/// So many events of a tenant are looked through for the one that began to fill it.
const EVENTS: i64 = 50;

/// The commands that fill a tenant.
const VERBS: [&str; 3] = ["import", "clone", "restore"];

/// A tenant that is to be.
pub(super) struct Gift<'a> {
    /// The command.
    pub(super) verb: &'static str,
    /// What it is filled with.
    pub(super) goods: Goods<'a>,
    /// What tells these goods from others.
    pub(super) mark: String,
    /// What it should be.
    pub(super) request: Request,
    /// The tenant whose data they are.
    pub(super) from: Option<String>,
    /// The archive they are in.
    pub(super) place: Option<String>,
    /// When the command began.
    pub(super) started: Instant,
}

impl Gift<'_> {
    /// What is known of them without reading.
    pub(super) fn promised(&self) -> Promised<'_> {
        Promised { verb: self.verb, mark: &self.mark, uuid: self.request.uuid }
    }

    /// The same, with the goods at hand in another way.
    pub(super) fn with<'b>(&self, goods: Goods<'b>) -> Gift<'b> {
        Gift {
            verb: self.verb,
            goods,
            mark: self.mark.clone(),
            request: self.request.clone(),
            from: self.from.clone(),
            place: self.place.clone(),
            started: self.started,
        }
    }
}

/// Goods that are not at hand yet.
pub(super) struct Promised<'a> {
    /// The command.
    pub(super) verb: &'static str,
    /// What tells these goods from others.
    pub(super) mark: &'a str,
    /// The uuid that is asked for; none for a new one.
    pub(super) uuid: Option<Uuid>,
}

/// How a tenant stands that is to be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody knows it.
    New,
    /// A run like this one has begun to fill it.
    Begun,
    /// It was filled with these goods, and opened.
    Done,
    /// It was purged, and comes back.
    Returning,
}

/// Refuses what can be refused before anything is touched, and before the goods are read: a tenant
/// that exists, a version that the files do not know, tables that have no place. Answers whether the
/// tenant was made of these goods already.
///
/// # Errors
///
/// As [`import`](super::import).
pub(super) async fn foresee(
    cx: &Context<'_>,
    promised: &Promised<'_>,
    request: &Request,
    manifest: &Manifest,
) -> Result<bool, Error> {
    let mut desired = cx.fleet.desired(request, Uuid::new_v4())?;
    let control = log_session(cx).await?;
    if let Some(control) = &control
        && let Some(known) = registry::find(control, &request.id).await?
    {
        let begun = begun(control, &known).await?;
        match judge(promised, Some(&known), begun.as_ref())? {
            Standing::Done => return Ok(true),
            Standing::Begun => desired = resolve(cx, request.clone(), Some(&known))?,
            Standing::New | Standing::Returning => {}
        }
    }
    desired.version = goal(cx, manifest, &desired)?;
    if let Some(control) = &control {
        refuse_early(cx, control, manifest, &desired).await?;
    }
    Ok(false)
}

/// Makes a tenant of goods.
///
/// # Errors
///
/// As [`import`](super::import).
pub(super) async fn give(
    cx: &Context<'_>,
    gift: Gift<'_>,
    options: &FillOptions,
) -> anyhow::Result<Report> {
    let id = gift.request.id.clone();
    // Refuses what can be refused before anything is touched.
    cx.fleet.desired(&gift.request, Uuid::new_v4())?;
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    registry::ensure(&control, cx.sets.registry()).await?;
    let lock = pg::hold(&control, LockKey::tenant(&id), options.lock_wait).await?;
    let known = registry::find(&control, &id).await?;
    let begun = match &known {
        Some(known) => begun(&control, known).await?,
        None => None,
    };
    let standing = judge(&gift.promised(), known.as_ref(), begun.as_ref())?;
    let returns = standing == Standing::Returning;
    let mut desired = resolve(cx, gift.request.clone(), known.as_ref().filter(|_| !returns))?;
    if standing == Standing::Done {
        lock.release().await?;
        return Ok(answer(&gift, desired.tenant, Filled::default(), Vec::new(), true));
    }
    desired.version = goal(cx, gift.goods.manifest, &desired)?;
    desired.closed = true;
    if desired.version.is_some() {
        // A template has every migration.
        desired.copying = Copying::Never;
    }
    refuse_early(cx, &control, gift.goods.manifest, &desired).await?;
    let deed = Deed::new(cx, gift.verb, Some(&id))
        .before(known.as_ref().map_or(Value::Null, trail::standing))
        .about(json!({"goods": gift.mark, "from": gift.from, "archive": gift.place}));
    deed.start(&control).await?;
    let made = async {
        if returns {
            registry::readmit(&control, &desired.tenant).await?;
        }
        make(cx, &control, &gift, &mut desired, known.is_some(), options).await
    };
    let done = made
        .await
        .map_err(anyhow::Error::from)
        .map(|(filled, steps)| answer(&gift, desired.tenant.clone(), filled, steps, false));
    let now = Tenant { state: State::Active, ..desired.tenant.clone() };
    let done = deed
        .end(cx, &control, done, |report| match report {
            Report::Transferred(report) => {
                let mut now = trail::standing(&now);
                now["rows"] = report.rows().into();
                now
            }
            _ => Value::Null,
        })
        .await;
    lock.release().await?;
    done
}

async fn make(
    cx: &Context<'_>,
    control: &Session,
    gift: &Gift<'_>,
    desired: &mut Desired,
    again: bool,
    options: &FillOptions,
) -> Result<(Filled, Vec<String>), Error> {
    let patience = Patience { lock_wait: options.lock_wait, limits: options.limits };
    let prepare = async |_: &mut Desired, _: &Observed, _: bool| Ok(());
    let made = converge(cx, control, desired, prepare, patience).await?;
    let mut filled = fill(cx, &gift.goods, desired, again).await?;
    desired.closed = false;
    let head = cx.sets.of(desired.tenant.isolation).head();
    if options.up {
        desired.version = None;
    }
    let opened = converge(cx, control, desired, prepare, patience).await?;
    if desired.version.is_none() || desired.version == head {
        repeat(cx, desired, patience).await?;
    }
    filled.notes.extend(opened.notes);
    if desired.login_role.is_none() && desired.roles_are_its_own {
        filled.notes.push(format!(
            "role {} logs in and has no password: tenantctl credentials issue {}",
            desired.tenant.role(),
            desired.tenant.id
        ));
    }
    let mut steps = made.steps;
    steps.extend(opened.steps);
    Ok((filled, steps))
}

fn answer(
    gift: &Gift<'_>,
    tenant: Tenant,
    filled: Filled,
    steps: Vec<String>,
    unchanged: bool,
) -> Report {
    let home = &tenant.placement.schema;
    let tables = filled
        .tables
        .into_iter()
        .map(|(name, content)| CopiedTable {
            table: if name.schema == *home { name.name.to_string() } else { name.to_string() },
            rows: content.rows,
            bytes: content.bytes,
        })
        .collect();
    let manifest = gift.goods.manifest;
    Report::Transferred(Box::new(Transferred {
        verb: gift.verb,
        version: manifest.version(),
        from: gift.from.clone(),
        place: gift.place.clone(),
        fingerprint: gift.place.as_ref().map(|_| gift.mark.clone()),
        size: None,
        unchanged,
        tables,
        steps,
        notes: filled.notes,
        took: gift.started.elapsed(),
        tenant,
    }))
}

/// The newest event that tells of filling this tenant, as it was called then.
async fn begun(control: &Session, known: &Tenant) -> Result<Option<LoggedEvent>, Error> {
    let wanted = Wanted { tenant: Some(known.id.clone()), seconds: None, limit: EVENTS };
    let found = events(control, &wanted).await?;
    Ok(found.into_iter().find(|event| VERBS.contains(&event.event.as_str())))
}

/// Refuses to fill a tenant that something else has made.
fn judge(
    gift: &Promised<'_>,
    known: Option<&Tenant>,
    begun: Option<&LoggedEvent>,
) -> Result<Standing, Error> {
    let Some(known) = known else { return Ok(Standing::New) };
    let Promised { verb, mark, uuid } = gift;
    let same = begun.is_some_and(|event| event.detail["goods"] == *mark);
    match (known.state, begun) {
        (State::Provisioning, Some(_)) => Ok(Standing::Begun),
        // Only who fills a tenant opens it: it was killed between that and saying so, or was not.
        (State::Active, Some(_)) if same => Ok(Standing::Done),
        // Its id stayed its own.
        (State::Purged, _) if *uuid == Some(known.uuid) => Ok(Standing::Returning),
        (State::Provisioning, None) => Err(Error::new(
            Code::Refused,
            format!("{verb} tenant {}: something else has begun to make it", known.id),
        )
        .hint(format!("finish it with: tenantctl create {}", known.id))
        .hint("or choose another id")),
        (state, _) => {
            let what = format!("{verb} tenant {}: it exists already, and is {state}", known.id);
            let error = Error::new(Code::NameTaken, what);
            let error = match state {
                State::Deleting => {
                    error.hint(format!("bring it back with: tenantctl undelete {}", known.id))
                }
                State::Deleted => error
                    .hint(format!("it is half removed; finish that: tenantctl purge {}", known.id)),
                _ => error,
            };
            Err(error.hint(match *verb {
                "clone" => "choose another id for the clone",
                _ => "give it another id with --as; what is there is never overwritten",
            }))
        }
    }
}

/// Refuses to finish by other means a tenant that waits for its rows: it would be open, and empty.
///
/// # Errors
///
/// [`Code::Refused`] with the command that began to fill it.
pub(in crate::ops) async fn refuse_half_filled(
    control: &Session,
    known: &Tenant,
) -> Result<(), Error> {
    if known.state != State::Provisioning {
        return Ok(());
    }
    let Some(event) = begun(control, known).await? else { return Ok(()) };
    let what = format!(
        "finish tenant {}: {} has begun to make it, and its rows are missing",
        known.id, event.event
    );
    let again = event.asked.as_deref().unwrap_or(event.event.as_str());
    Err(Error::new(Code::Refused, what).hint(format!("run it again: tenantctl {again}")))
}
