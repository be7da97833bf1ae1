//! The life of tenants: closed and opened again, deleted and brought back.

mod hold;
mod house;
mod purge;
mod rename;

pub use hold::{HoldChange, change_hold};
pub use purge::{PurgeOptions, TypedConsent, purge};
pub use rename::{RenameOptions, rename};

use std::time::{Duration, Instant};

use serde_json::json;

use super::select::Selection;
use super::trail::{Deed, standing, told};
use super::{Context, fleet};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::life::{Household, Life, OpenDoors};
use crate::model::tenant::{Isolation, State, Tenant};
use crate::model::trail::Outcome;
use crate::pg::registry::{self, Readiness};
use crate::pg::{self, LockKey, Session, life};
use crate::plan::life::{Wish, close, step, tasks};
use crate::plan::task::Task;
use crate::report::event::Event;
use crate::report::{Failure, Lived, LivedTarget, PlannedStep, Report, Source};
use house::house;

/// What is asked for of tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeVerb {
    /// Close them.
    Suspend,
    /// Open them again.
    Resume,
    /// Close them, and let them go after so long.
    Delete(Duration),
    /// Bring them back.
    Undelete,
}

impl LifeVerb {
    fn wish(self) -> Wish {
        match self {
            Self::Suspend => Wish::Suspend,
            Self::Resume => Wish::Resume,
            Self::Delete(_) => Wish::Delete,
            Self::Undelete => Wish::Undelete,
        }
    }
}

/// How a life is changed.
#[derive(Clone, Debug)]
pub struct LifeOptions {
    /// Whom it is about.
    pub selection: Selection,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
}

/// Changes the lives of the selected tenants, one after the other. One tenant's failure is reported,
/// and the others go on; of a single tenant it is the answer.
///
/// # Errors
///
/// When there is no registry, for a selection that nobody fits, and a single tenant's failure.
pub async fn change_life(
    cx: &Context<'_>,
    verb: LifeVerb,
    options: &LifeOptions,
) -> anyhow::Result<Report> {
    let wish = verb.wish();
    each(cx, wish.word(), options, async |control, tenant| {
        one(cx, control, tenant, verb, options).await
    })
    .await
}

/// Works on each selected tenant, and puts the answers together.
pub(super) async fn each(
    cx: &Context<'_>,
    verb: &'static str,
    options: &LifeOptions,
    work: impl AsyncFn(&Session, Tenant) -> anyhow::Result<LivedTarget>,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (tenants, control) = selected(cx, options).await?;
    let alone = tenants.len() == 1;
    let mut targets = Vec::new();
    let mut interrupted = false;
    if !alone {
        let what = verb;
        let count = tenants.len();
        cx.observer.on(&Event::RunStarted { what, run: None, targets: count, clusters: &[] });
    }
    for tenant in tenants {
        if cx.interrupt.is_raised() {
            interrupted = true;
            break;
        }
        let (id, cluster) = (tenant.id.clone(), tenant.placement.cluster.clone());
        let began = Instant::now();
        let cluster = Some(&cluster);
        if !alone {
            cx.observer.on(&Event::TargetStarted { cluster, target: id.as_str() });
        }
        let target = match work(&control, tenant.clone()).await {
            Ok(target) => target,
            Err(error) if alone => return Err(error),
            Err(error) => LivedTarget { error: Some(failure(&error)), ..LivedTarget::new(tenant) },
        };
        if !alone {
            cx.observer.on(&Event::TargetDone {
                cluster,
                target: id.as_str(),
                rows: &[],
                outcome: match &target.error {
                    Some(error) => error.message.clone(),
                    None => target.to.to_string(),
                },
                failed: target.error.is_some(),
                took: began.elapsed(),
            });
        }
        targets.push(target);
    }
    if !alone {
        cx.observer.on(&Event::RunDone);
    }
    let dry_run = options.dry_run;
    let took = started.elapsed();
    Ok(Report::Lived(Box::new(Lived { verb, dry_run, targets, interrupted, took })))
}

pub(super) fn failure(error: &anyhow::Error) -> Failure {
    match Error::find(error) {
        Some(error) => Failure::from(error),
        None => Failure::from(&Error::new(Code::Bug, error.to_string())),
    }
}

/// The selected tenants, whatever their state, and a session in the registry's database, which is up
/// to date.
async fn selected(
    cx: &Context<'_>,
    options: &LifeOptions,
) -> anyhow::Result<(Vec<Tenant>, Session)> {
    let control = control(cx, options.dry_run).await?;
    let (mut tenants, source) = fleet::everybody(cx).await?;
    if source == Source::Declared {
        return Err(no_registry().into());
    }
    if !options.selection.asks_for_state() {
        tenants.retain(|tenant| tenant.state != State::Purged);
    }
    Ok((options.selection.pick(tenants)?, control))
}

fn no_registry() -> Error {
    Error::new(Code::NotFound, "there is no registry, and only a registry knows tenants' lives")
        .hint("the first tenant makes the registry: tenantctl create acme")
}

/// A session of its own in the registry's database: locks live on it.
pub(super) async fn control(cx: &Context<'_>, dry_run: bool) -> Result<Session, Error> {
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    match registry::readiness(&control, cx.sets.registry()).await? {
        Readiness::Absent => Err(no_registry()),
        Readiness::Ready => Ok(control),
        Readiness::Behind if dry_run => Err(Error::new(
            Code::Refused,
            "an older tenantctl made the registry, which knows no lives yet",
        )
        .hint("the next command that changes something brings it up to date")),
        Readiness::Behind => {
            registry::ensure(&control, cx.sets.registry()).await?;
            Ok(control)
        }
    }
}

async fn one(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
    verb: LifeVerb,
    options: &LifeOptions,
) -> anyhow::Result<LivedTarget> {
    if options.dry_run {
        let (_, _, tasks, target) = planned(cx, control, tenant, verb).await?;
        let placement = target.tenant.placement.clone();
        return Ok(LivedTarget { steps: steps(&tasks, &placement), ..target });
    }
    let id = tenant.id.clone();
    let lock = pg::hold(control, LockKey::tenant(&id), options.lock_wait).await?;
    // Under the lock: another one may have moved on meanwhile.
    let tenant = registry::find(control, &id).await?.unwrap_or(tenant);
    let target = under_lock(cx, control, tenant, verb, options).await?;
    lock.release().await?;
    Ok(target)
}

/// Changes a life whose lock is held.
async fn under_lock(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
    verb: LifeVerb,
    options: &LifeOptions,
) -> anyhow::Result<LivedTarget> {
    let wish = verb.wish();
    let id = tenant.id.clone();
    let (house, was, tasks, target) = planned(cx, control, tenant, verb).await?;
    if tasks.is_empty() {
        return Ok(target);
    }
    let deed = Deed::new(cx, wish.word(), Some(&id))
        .before(standing(&target.tenant))
        .about(json!({"reason": options.reason}));
    deed.start(control).await?;
    let done = carry_out(cx, control, &house, verb, &tasks, target).await;
    let (outcome, after, error) = match &done {
        Ok(target) => {
            let now = Tenant { state: target.to, ..target.tenant.clone() };
            (Outcome::Done, standing(&now), None)
        }
        Err(error) => (Outcome::Failed, json!({"state": was.state.word()}), Some(told(error))),
    };
    deed.close(cx, control, outcome, after, error).await;
    done
}

/// What is to be done with a tenant, as it stands.
async fn planned(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
    verb: LifeVerb,
) -> anyhow::Result<(Household, Life, Vec<Task>, LivedTarget)> {
    let wish = verb.wish();
    let life = life::life(control, &tenant.id).await?;
    let step = step(&tenant.id, &life, wish)?;
    let house = house(cx, control, tenant.clone()).await?;
    let facts = facts(cx, &house, life.state).await?;
    let grace = match verb {
        LifeVerb::Delete(grace) => grace,
        _ => Duration::ZERO,
    };
    let tasks = tasks(wish, step, &house, &life, &facts, grace);
    let to = match step {
        crate::plan::life::Step::To(state) => state,
        crate::plan::life::Step::Already => life.state,
    };
    let delete_after = life.delete_after.clone().filter(|_| to == State::Deleting);
    let target = LivedTarget { to, delete_after, ..LivedTarget::new(tenant) };
    Ok((house, life, tasks, target))
}

/// Which doors are open; none of a tenant that was only begun and has no database yet.
async fn facts(cx: &Context<'_>, house: &Household, state: State) -> Result<OpenDoors, Error> {
    let placement = &house.tenant.placement;
    let session = match inside(cx, house, placement.database.clone()).await {
        Err(error) if error.code == Code::NotFound && state != State::Active => {
            return Ok(OpenDoors::default());
        }
        session => session?,
    };
    life::doors(&session, house).await
}

/// A session in a database of the tenant's cluster.
pub(super) async fn inside(
    cx: &Context<'_>,
    house: &Household,
    database: Ident,
) -> Result<Session, Error> {
    let cluster = &house.tenant.placement.cluster;
    match house.tenant.isolation {
        Isolation::Database => cx.servers.dedicated(cluster, Some(&database)).await,
        Isolation::Shared | Isolation::Schema => cx.servers.session(cluster, Some(&database)).await,
    }
}

async fn carry_out(
    cx: &Context<'_>,
    control: &Session,
    house: &Household,
    verb: LifeVerb,
    tasks: &[Task],
    target: LivedTarget,
) -> anyhow::Result<LivedTarget> {
    let placement = &house.tenant.placement;
    let server = cx.servers.session(&placement.cluster, None).await?;
    let bench = life::Bench {
        tenant: &house.tenant.id,
        registry: control,
        server: &server,
        observer: cx.observer,
    };
    // Shared tables are prepared by one at a time.
    let layout = match house.tenant.isolation {
        Isolation::Shared => {
            let key = LockKey::layout(&placement.cluster);
            Some(pg::hold(control, key, Duration::from_secs(30)).await?)
        }
        Isolation::Schema | Isolation::Database => None,
    };
    let open = async |database: Ident| inside(cx, house, database).await;
    let done = life::carry_out(tasks, &bench, open).await;
    if let Some(layout) = layout {
        layout.release().await?;
    }
    let done = done?;
    // Nothing is reported that was not observed.
    let facts = facts(cx, house, target.to).await?;
    if matches!(verb, LifeVerb::Suspend | LifeVerb::Delete(_)) {
        refuse_open(house, &facts)?;
    }
    let life = life::life(control, &house.tenant.id).await?;
    let mut notes = Vec::new();
    for role in &done.left {
        let operator = server.user_ident();
        notes.push(format!(
            "sessions of role {role} go on, and reach nothing of the tenant; so that they can be ended, \
             as a superuser: GRANT pg_signal_backend TO {operator};"
        ));
    }
    Ok(LivedTarget {
        steps: steps(tasks, placement),
        ended: done.ended,
        notes,
        delete_after: life.delete_after,
        ..target
    })
}

/// Refuses to call a tenant closed that is not.
fn refuse_open(house: &Household, facts: &OpenDoors) -> Result<(), Error> {
    let open = close(house, facts);
    if open.is_empty() {
        return Ok(());
    }
    let left: Vec<&str> = open.iter().map(|task| task.what.as_str()).collect();
    let what = format!("close tenant {}: still to do: {}", house.tenant.id, left.join("; "));
    Err(Error::new(Code::Refused, what).hint(
        "somebody else granted it, or grants it meanwhile: have them revoke it, and run it again",
    ))
}

pub(super) fn steps(
    tasks: &[Task],
    placement: &crate::model::tenant::Placement,
) -> Vec<PlannedStep> {
    tasks
        .iter()
        .map(|task| PlannedStep {
            what: task.what.clone(),
            site: task.place.told(placement),
            hazards: Vec::new(),
            statements: task.act.statements(),
        })
        .collect()
}
