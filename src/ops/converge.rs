//! Observe, plan, do, until a plan is empty: how every change to a tenant is made.

use std::time::Duration;

use super::Context;
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::migration::MigrationSet;
use crate::model::observed::{Observed, Registered};
use crate::model::tenant::{Isolation, State};
use crate::pg::{self, LockKey, Session, Sessions, Work};
use crate::plan::{self, Change, Plan};

/// So many plans in a row end with an empty one: shared tables take three, others two.
const ROUNDS: usize = 6;

/// What it took.
#[derive(Debug, Default)]
pub(super) struct Converged {
    /// The steps that were carried out, in words.
    pub(super) steps: Vec<String>,
    /// What was not done, and why.
    pub(super) notes: Vec<String>,
}

/// How long to wait for others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a lock of ours.
    pub(super) lock_wait: Duration,
    /// For migrations.
    pub(super) limits: pg::Limits,
}

/// Makes a tenant what it should be. The caller holds the tenant's lock on `control`, a session in
/// the registry's database. `prepare` completes what is desired before each plan; it is told whether
/// what tenants share is locked.
///
/// Nothing is reported that was not observed: the last observation finds nothing left to do.
///
/// # Errors
///
/// A plan that is refused, a step that fails, and `interrupted` between two steps.
pub(super) async fn converge(
    cx: &Context<'_>,
    control: &Session,
    desired: &mut Desired,
    prepare: impl AsyncFn(&mut Desired, &Observed, bool) -> Result<(), Error>,
    patience: Patience,
) -> Result<Converged, Error> {
    let set = cx.sets.of(desired.tenant.isolation);
    rounds(cx, control, desired, set, prepare, patience, false).await
}

/// As [`converge`], for a place in which the tenant does not live: the registry says another, and
/// goes on saying so. The place is made by the files of `set`.
///
/// # Errors
///
/// As [`converge`].
pub(super) async fn converge_beside(
    cx: &Context<'_>,
    control: &Session,
    desired: &mut Desired,
    set: &MigrationSet,
    patience: Patience,
) -> Result<Converged, Error> {
    let as_it_is = async |_: &mut Desired, _: &Observed, _: bool| Ok(());
    rounds(cx, control, desired, set, as_it_is, patience, true).await
}

async fn rounds(
    cx: &Context<'_>,
    control: &Session,
    desired: &mut Desired,
    set: &MigrationSet,
    prepare: impl AsyncFn(&mut Desired, &Observed, bool) -> Result<(), Error>,
    patience: Patience,
    beside: bool,
) -> Result<Converged, Error> {
    let mut converged = Converged::default();
    let mut layout_lock: Option<pg::Held<'_>> = None;
    for round in 1..=ROUNDS {
        cx.interrupt.check(&format!("making tenant {}", desired.tenant.id))?;
        let mut observed = pg::observe(cx.servers, Some(control), desired).await?;
        prepare(desired, &observed, layout_lock.is_some()).await?;
        if beside {
            observed.registered = Some(begun(desired));
        }
        let mut plan = plan::provision(desired, set, &observed)?;
        if beside {
            plan.steps.retain(|step| !matches!(step.change, Change::Record(_)));
        }
        if !plan.touches_layout()
            && let Some(held) = layout_lock.take()
        {
            held.release().await?;
        }
        if plan.is_empty() {
            converged.notes = plan.notes;
            return Ok(converged);
        }
        // What others use is planned under the lock that protects it, or planned again.
        if plan.touches_layout() && layout_lock.is_none() {
            let key = LockKey::layout(&desired.tenant.placement.cluster);
            layout_lock = Some(pg::hold(control, key, patience.lock_wait).await?);
            continue;
        }
        match carry_out(cx, control, desired, set, &plan, patience).await {
            // What a killed run has asked for, the server finishes after the run's lock is gone.
            Err(error) if round < ROUNDS && changed_meanwhile(&error) => {
                log::info!("planning again: {error}");
                continue;
            }
            done => done?,
        }
        converged.steps.extend(plan.steps.iter().map(|step| step.change.describe()));
    }
    Err(Error::new(
        Code::Bug,
        format!("tenant {} still differs from its plan after {ROUNDS} rounds", desired.tenant.id),
    )
    .hint("something else changes the same objects; see what with: tenantctl create --dry-run"))
}

/// What the registry would say of a tenant that is being made.
pub(super) fn begun(desired: &Desired) -> Registered {
    Registered { state: State::Provisioning, ..Registered::from(&desired.tenant) }
}

/// Whether a step failed because what it makes was not there when it was planned, and is now; or
/// because the template it copies was there, and is not.
fn changed_meanwhile(error: &Error) -> bool {
    matches!(error.code, Code::Server | Code::NotFound)
        && error.answer.as_ref().is_some_and(|answer| {
            // Objects, databases, schemas, tables, functions; and the catalogue's own indexes, where
            // two make one thing at the same moment. At the end, a database that is gone.
            ["42710", "42P04", "42P06", "42P07", "42723", "23505", "3D000"]
                .contains(&answer.sqlstate.as_str())
        })
}

async fn carry_out(
    cx: &Context<'_>,
    control: &Session,
    desired: &Desired,
    set: &MigrationSet,
    plan: &Plan,
    patience: Patience,
) -> Result<(), Error> {
    let placement = &desired.tenant.placement;
    let server = cx.servers.session(&placement.cluster, None).await?;
    let work = Work {
        tenant: &desired.tenant,
        set,
        limits: patience.limits,
        lock_wait: patience.lock_wait,
        interrupt: cx.interrupt,
    };
    let sessions = Sessions { registry: control, server: &server };
    let open = async |database: Ident| match desired.tenant.isolation {
        Isolation::Database => cx.servers.dedicated(&placement.cluster, Some(&database)).await,
        Isolation::Shared | Isolation::Schema => {
            cx.servers.lasting(&placement.cluster, Some(&database)).await
        }
    };
    pg::run(plan, &work, &sessions, open, cx.observer).await
}
