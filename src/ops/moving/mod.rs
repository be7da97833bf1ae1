//! Moves a tenant to another isolation model, database or cluster, and back.

mod journey;
mod sites;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use self::journey::Journey;
pub(super) use self::sites::{Site, here};
use super::converge::begun;
use super::rewrite::Consent;
use super::trail::{Deed, standing};
use super::{Context, fleet, select};
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::moving::{Home, Method, Move, Phase};
use crate::model::observed::Observed;
use crate::model::tenant::{ClusterName, Isolation, Tenant, TenantId};
use crate::pg::{self, LockKey, Session, life, moving, registry};
use crate::plan;
use crate::plan::life::{Wish, step};
use crate::plan::moving::Goal;
use crate::plan::moving::estimate::{self, Load};
use crate::plan::moving::mapping::{Side, map};
use crate::report::event::Event;
use crate::report::{Announced, Moved, MovedHow, Moves, Report};

/// How a tenant is moved.
#[derive(Clone, Debug)]
pub struct MoveOptions {
    /// Another isolation model.
    pub to_isolation: Option<Isolation>,
    /// Another cluster.
    pub to_cluster: Option<ClusterName>,
    /// Another database than the layout says.
    pub to_database: Option<Ident>,
    /// How rows get there; by itself the best that the servers allow.
    pub method: Option<Method>,
    /// How long the tenant may be unable to write.
    pub max_freeze: Option<Duration>,
    /// How long writers, and others who use a table, are waited for.
    pub writer_wait: Duration,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// How long migrations of the new place may wait and work.
    pub limits: pg::Limits,
    /// Say what would be done.
    pub dry_run: bool,
    /// Lose what was written in the new place.
    pub lose_writes: bool,
}

/// Moves a tenant, or goes on with a move that was interrupted. Its old place is kept, closed.
///
/// # Errors
///
/// What does not fit into the new place, or takes longer than allowed, is refused before anything of
/// the tenant is touched. After any failure the tenant writes where it did before, and the same
/// command goes on.
pub async fn relocate(
    cx: &Context<'_>,
    id: &TenantId,
    options: &MoveOptions,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let control = control(cx).await?;
    let lock = pg::hold(&control, LockKey::tenant(id), options.lock_wait).await?;
    let tenant = known(&control, id).await?;
    let (moved, announced) = match moving::find(&control, id).await? {
        Some(moved) => {
            refuse_another_goal(&moved, options)?;
            (moved, None)
        }
        None => {
            let target = target(cx, &tenant, options)?;
            let Some(target) = target else {
                let answer = Moved::nothing(tenant, started.elapsed());
                return Ok(Report::Moved(Box::new(answer)));
            };
            let (moved, announced) =
                Box::pin(prepare(cx, &control, &tenant, &target, options)).await?;
            if options.dry_run {
                let answer = Moved::planned(tenant, moved, announced, started.elapsed());
                return Ok(Report::Moved(Box::new(answer)));
            }
            (moved, Some(announced))
        }
    };
    let was = moved.phase;
    let new = announced.is_some();
    let mut journey = Journey::new(cx, &control, options, &tenant, moved)?;
    if !new && Box::pin(journey.left(Goal::Move)).await?.is_empty() {
        let answer = answer(&control, journey, MovedHow::Unchanged, None, started).await?;
        return Ok(Report::Moved(Box::new(answer)));
    }
    let deed = deed(cx, "move", &tenant, &journey.moved);
    deed.start(&control).await?;
    let done = async {
        if new {
            moving::begin(&control, &journey.moved).await?;
        }
        if let Err(error) = Box::pin(journey.travel(Goal::Move)).await {
            return Err(give_up(&mut journey, error).await.into());
        }
        log::debug!("the move went on from {was}");
        let answer = answer(&control, journey, MovedHow::Moved, announced, started).await?;
        Ok(Report::Moved(Box::new(answer)))
    };
    let answer = deed.end(cx, &control, done.await, after).await;
    lock.release().await?;
    answer
}

/// Who answers for it, and for what.
fn deed(cx: &Context<'_>, event: &'static str, tenant: &Tenant, moved: &Move) -> Deed {
    let about = json!({
        "from": moved.source.to_string(),
        "to": moved.target.to_string(),
        "method": moved.method.word(),
    });
    Deed::new(cx, event, Some(&tenant.id)).run(moved.id).before(standing(tenant)).about(about)
}

/// How it stands afterwards; of rows, how many.
fn after(answer: &Report) -> Value {
    let Report::Moved(moved) = answer else {
        return Value::Null;
    };
    let mut after = standing(&moved.tenant);
    if let Some(moved) = &moved.moved {
        after["phase"] = moved.phase.word().into();
        after["could_not_write_ms"] =
            u64::try_from(moved.could_not_write().as_millis()).unwrap_or(u64::MAX).into();
        let rows = moved.sums.as_ref().map(|sums| sums.iter().map(|sum| sum.rows).sum::<i64>());
        after["rows"] = rows.into();
    }
    after
}

/// What would not have fitted leaves no trace: nothing was copied yet.
async fn give_up(journey: &mut Journey<'_>, error: Error) -> Error {
    if let Err(lost) = journey.begin_anew().await {
        log::warn!("{lost}");
        return error;
    }
    let untouched = !journey.moved.loaded && journey.moved.phase == Phase::Moving;
    if error.code != Code::Refused || !untouched {
        return error;
    }
    match Box::pin(journey.travel(Goal::Abort)).await {
        Ok(()) => error.hint("nothing was moved, and what was made for it is gone again"),
        Err(left) => {
            log::warn!("{left}");
            let id = &journey.moved.tenant;
            error.hint(format!("take away what was made for it with: tenantctl move abort {id}"))
        }
    }
}

/// Removes the old place of a tenant that has moved.
///
/// # Errors
///
/// [`Code::Refused`] when it has not arrived, or nobody agrees.
pub async fn finish_move(
    cx: &Context<'_>,
    id: &TenantId,
    options: &MoveOptions,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    end(cx, id, options, Goal::Finish, Some(consent)).await
}

/// Brings a tenant back to its old place, and removes the new one.
///
/// # Errors
///
/// [`Code::Refused`] when the old place is being removed, and when something was written in the new
/// one that would be lost.
pub async fn abort_move(
    cx: &Context<'_>,
    id: &TenantId,
    options: &MoveOptions,
) -> anyhow::Result<Report> {
    end(cx, id, options, Goal::Abort, None).await
}

async fn end(
    cx: &Context<'_>,
    id: &TenantId,
    options: &MoveOptions,
    goal: Goal,
    consent: Option<&dyn Consent>,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let control = control(cx).await?;
    let lock = pg::hold(&control, LockKey::tenant(id), options.lock_wait).await?;
    let tenant = known(&control, id).await?;
    let Some(moved) = moving::find(&control, id).await? else {
        let answer = Moved::nothing(tenant, started.elapsed());
        return Ok(Report::Moved(Box::new(answer)));
    };
    let mut journey = Journey::new(cx, &control, options, &tenant, moved)?;
    if let Some(consent) = consent
        && journey.moved.phase == Phase::Kept
    {
        let kept = Moved::to_be_finished(tenant.clone(), journey.moved.clone());
        let kept = Report::Moved(Box::new(kept));
        if options.dry_run {
            return Ok(kept);
        }
        consent.given(&kept)?;
    }
    // Refused before anybody has to answer for it.
    Box::pin(journey.left(goal)).await?;
    if options.dry_run {
        return Ok(Report::Moved(Box::new(Moved::to_be_finished(tenant, journey.moved))));
    }
    let (event, how) = match goal {
        Goal::Finish => ("move finish", MovedHow::Finished),
        Goal::Abort | Goal::Move => ("move abort", MovedHow::Aborted),
    };
    let deed = deed(cx, event, &tenant, &journey.moved);
    deed.start(&control).await?;
    let done = async {
        Box::pin(journey.travel(goal)).await?;
        let answer = answer(&control, journey, how, None, started).await?;
        Ok(Report::Moved(Box::new(answer)))
    };
    let answer = deed.end(cx, &control, done.await, after).await;
    lock.release().await?;
    answer
}

/// Says where moves are: of one tenant all of them, otherwise those that are not over.
///
/// # Errors
///
/// When there is no registry, or it cannot be read.
pub async fn move_status(cx: &Context<'_>, id: Option<&TenantId>) -> anyhow::Result<Report> {
    let (cluster, database) = &cx.fleet.registry;
    let session = cx.servers.session(cluster, Some(database)).await?;
    let moves = match registry::readiness(&session, cx.sets.registry()).await? {
        registry::Readiness::Ready => moving::history(&session, id, id.is_none()).await?,
        // A registry from before there were moves has none.
        registry::Readiness::Absent | registry::Readiness::Behind => Vec::new(),
    };
    if let Some(id) = id
        && moves.is_empty()
    {
        let (tenants, _) = fleet::tenants(cx).await?;
        if !tenants.iter().any(|tenant| tenant.id == *id) {
            return Err(select::unknown(id, &tenants).into());
        }
    }
    Ok(Report::Moves(Moves { moves }))
}

async fn control(cx: &Context<'_>) -> Result<Session, Error> {
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    registry::ensure(&control, cx.sets.registry()).await?;
    Ok(control)
}

pub(super) async fn known(control: &Session, id: &TenantId) -> Result<Tenant, Error> {
    if let Some(tenant) = registry::find(control, id).await? {
        return Ok(tenant);
    }
    Err(select::unknown(id, &registry::tenants(control).await?))
}

/// Where a tenant goes; nowhere when it is there already.
fn target(
    cx: &Context<'_>,
    tenant: &Tenant,
    options: &MoveOptions,
) -> Result<Option<Desired>, Error> {
    let MoveOptions { to_isolation, to_cluster, to_database, .. } = options;
    if to_isolation.is_none() && to_cluster.is_none() && to_database.is_none() {
        return Err(Error::new(Code::Usage, format!("move tenant {}: say where to", tenant.id))
            .hint("with --to-isolation MODEL, --to-cluster NAME, --to-database NAME, or several"));
    }
    let isolation = to_isolation.unwrap_or(tenant.isolation);
    let cluster = to_cluster.as_ref().unwrap_or(&tenant.placement.cluster);
    let mut home = Home::from(tenant);
    home.isolation = isolation;
    home.placement.cluster = cluster.clone();
    let request = crate::config::Request {
        isolation: Some(isolation),
        cluster: Some(cluster.clone()),
        region: tenant.region.clone(),
        tier: tenant.tier.clone(),
        uuid: Some(tenant.uuid),
        key: Some(tenant.key.clone()),
        labels: tenant.labels.clone(),
        ..crate::config::Request::new(tenant.id.clone())
    };
    let mut desired = cx.fleet.desired(&request, tenant.uuid)?;
    desired.tenant.labels.clone_from(&tenant.labels);
    desired.tenant.state = tenant.state;
    if let Some(database) = to_database {
        desired.tenant.placement.database = database.clone();
    }
    let stays = desired.tenant.isolation == tenant.isolation
        && desired.tenant.placement == tenant.placement;
    Ok((!stays).then_some(desired))
}

fn refuse_another_goal(moved: &Move, options: &MoveOptions) -> Result<(), Error> {
    let target = &moved.target;
    let other = options.to_isolation.is_some_and(|wanted| wanted != target.isolation)
        || options.to_cluster.as_ref().is_some_and(|wanted| *wanted != target.placement.cluster)
        || options.to_database.as_ref().is_some_and(|wanted| *wanted != target.placement.database);
    if !other {
        return Ok(());
    }
    let id = &moved.tenant;
    let (state, hint) = match moved.phase {
        Phase::Moving => (
            "is on its way to",
            format!("first: tenantctl move {id}, or tenantctl move abort {id}"),
        ),
        _ => (
            "has moved to",
            format!("first: tenantctl move finish {id}, or tenantctl move abort {id}"),
        ),
    };
    Err(Error::new(Code::Refused, format!("move tenant {id}: it {state} {target}")).hint(hint))
}

/// Everything that can be refused before anything is made, and what it will cost.
async fn prepare(
    cx: &Context<'_>,
    control: &Session,
    tenant: &Tenant,
    target: &Desired,
    options: &MoveOptions,
) -> Result<(Move, Announced), Error> {
    step(&tenant.id, &life::life(control, &tenant.id).await?, Wish::Move)?;
    let id = moving::new_id();
    let source = sites::desired(cx, tenant, &Home::from(tenant))?;
    let missing = || fleet::no_schema(&tenant.placement);
    let here = Site::open(cx, &source, id, options.lock_wait).await?.ok_or_else(missing)?;
    let held = here.holdings().await?.ok_or_else(missing)?;
    let version = here.history().await?.version();
    let set = sites::up_to(cx.sets.of(target.tenant.isolation), version)?;
    fits(cx, control, tenant, target, &set).await?;
    // What tenants share already can be compared beforehand.
    let mut notes = Vec::new();
    let mut there_already = None;
    if let Some(there) = beforehand(cx, target, id, options).await?
        && let Some(new) = there.holdings().await?.filter(|new| !new.tables.is_empty())
    {
        let arrived = there.history().await?.version();
        if arrived == version {
            let mapping = map(
                Side { tenant, holdings: &held },
                Side { tenant: &target.tenant, holdings: &new },
            )?;
            notes = mapping.notes;
        }
        refuse_rows(&there, &new).await?;
        there_already = Some(new);
    }
    let obstacle = match options.method {
        Some(Method::Freeze) => Some(None),
        wanted => {
            let shared = target.tenant.isolation == Isolation::Shared;
            let found =
                moving::obstacle(&here.place(), &held, shared, there_already.as_ref()).await?;
            if let (Some(Method::Replication), Some(why)) = (wanted, &found) {
                return Err(Error::new(
                    Code::Refused,
                    format!("move tenant {}: its changes cannot be followed: {why}", tenant.id),
                )
                .hint("leave --method away to copy it while it cannot write"));
            }
            found.map(Some)
        }
    };
    let method = if obstacle.is_some() { Method::Freeze } else { Method::Replication };
    if let Some(Some(why)) = obstacle {
        notes.push(format!("it is copied while it cannot write: {why}"));
    }
    let load = moving::measure(&here.place(), &held).await?;
    let estimate = estimate::frozen(method, &load);
    let announced = Announced { method, load, estimate, notes };
    announce(cx, tenant, &announced);
    if let Some(most) = options.max_freeze
        && estimate > most
    {
        return Err(Error::new(
            Code::Refused,
            format!(
                "move tenant {}: it could not write for about {:.1} s, and --max-freeze allows {:.1} s",
                tenant.id,
                estimate.as_secs_f32(),
                most.as_secs_f32()
            ),
        )
        .hint("allow more with --max-freeze, or move it in a quieter hour"));
    }
    let moved = Move {
        id,
        tenant: tenant.id.clone(),
        source: Home::from(tenant),
        target: Home::from(&target.tenant),
        method,
        phase: Phase::Moving,
        version,
        loaded: false,
        snapshot: None,
        sums: None,
        sealed: None,
        frozen_for: None,
        unwritable: Duration::ZERO,
        age: Duration::ZERO,
    };
    Ok((moved, announced))
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn announce(cx: &Context<'_>, tenant: &Tenant, announced: &Announced) {
    let Announced { load: Load { rows, bytes, .. }, estimate, .. } = announced;
    let what = format!(
        "tenant {} will be unable to write for about {:.1} s: {rows} rows, {:.1} MB",
        tenant.id,
        estimate.as_secs_f32(),
        *bytes as f64 / 1e6
    );
    cx.observer.on(&Event::Announced { what: &what });
}

/// A shared place that is there; others are only looked for by `create`'s plan.
async fn beforehand(
    cx: &Context<'_>,
    target: &Desired,
    id: Uuid,
    options: &MoveOptions,
) -> Result<Option<Site>, Error> {
    if target.tenant.isolation != Isolation::Shared {
        return Ok(None);
    }
    Site::open(cx, target, id, options.lock_wait).await
}

/// Refuses a key that somebody's rows carry already: they would become the tenant's.
async fn refuse_rows(there: &Site, new: &crate::model::holdings::Holdings) -> Result<(), Error> {
    let load = moving::measure(&there.place(), new).await?;
    if load.rows == 0 {
        return Ok(());
    }
    let tenant = there.place().tenant;
    Err(Error::new(
        Code::NameTaken,
        format!(
            "move tenant {}: {} rows in {} carry its key {} already",
            tenant.id, load.rows, tenant.placement, tenant.key
        ),
    )
    .hint("they are another tenant's, or were left behind: remove them first"))
}

/// What `create` would refuse there. What the tenant has on that cluster already is its own.
async fn fits(
    cx: &Context<'_>,
    control: &Session,
    tenant: &Tenant,
    target: &Desired,
    set: &crate::model::migration::MigrationSet,
) -> Result<(), Error> {
    let mut observed: Observed = pg::observe(cx.servers, Some(control), target).await?;
    let own = |role: &Ident| {
        target.tenant.placement.cluster == tenant.placement.cluster
            && (tenant.owner == *role || tenant.roles.contains(role))
    };
    // A readonly role is the layout's, and named like the others.
    let source = sites::desired(cx, tenant, &Home::from(tenant))?;
    let reader =
        source.readonly.filter(|_| target.tenant.placement.cluster == tenant.placement.cluster);
    observed.registered = None;
    let mut strange = observed.clone();
    strange.roles.retain(|role, _| !own(role) && reader.as_ref() != Some(role));
    plan::provision(target, set, &strange)?;
    observed.registered = Some(begun(target));
    plan::provision(target, set, &observed)?;
    Ok(())
}

async fn answer(
    control: &Session,
    journey: Journey<'_>,
    how: MovedHow,
    announced: Option<Announced>,
    started: Instant,
) -> Result<Moved, Error> {
    let id = journey.moved.tenant.clone();
    let tenant = known(control, &id).await?;
    let moved = moving::history(control, Some(&id), false)
        .await?
        .into_iter()
        .find(|moved| moved.id == journey.moved.id)
        .unwrap_or(journey.moved);
    let login = journey.target.login_role.clone();
    let mut notes = announced.map(|announced| announced.notes).unwrap_or_default();
    for note in journey.notes {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    Ok(Moved {
        tenant,
        moved: Some(moved),
        how,
        announced: None,
        login,
        steps: journey.done,
        notes,
        took: started.elapsed(),
    })
}
