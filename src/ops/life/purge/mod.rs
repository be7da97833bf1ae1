//! The end of a tenant: everything that is its own is removed, nothing of anybody else's, and a
//! receipt proves it.
//!
//! How many rows there were is written into the audit log before the first one goes. Killed
//! anywhere, the next run takes up what is left, and its receipt tells of all of it.

mod found;
mod receipt;
mod removal;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::{LifeOptions, LifeVerb, control, each, steps};
use crate::error::{Code, Error};
use crate::model::life::Life;
use crate::model::tenant::{State, Tenant, TenantId};
use crate::model::trail::Outcome;
use crate::ops::Context;
use crate::ops::trail::{Deed, standing, told};
use crate::pg::{self, LockKey, Session, life, registry};
use crate::plan::life::{Step, Wish, step};
use crate::report::{Lived, LivedTarget, Report};
use found::{Found, find};

/// How tenants are purged.
#[derive(Clone, Debug)]
pub struct PurgeOptions {
    /// Whom it is about, and how.
    pub life: LifeOptions,
    /// Everybody whose grace is over.
    pub expired: bool,
    /// Whether tenants go that were not deleted before: `erase`.
    pub at_once: bool,
    /// The file of the receipt, or a directory for receipts; here, without one.
    pub receipt: Option<PathBuf>,
}

/// Somebody who is asked for a word before what cannot be taken back.
pub trait TypedConsent {
    /// Shows what would be done, and asks for a word.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] when the word is not given, or nobody can be asked.
    fn given(&self, what: &Report, word: &str) -> Result<(), Error>;
}

/// Purges tenants whose grace is over.
///
/// # Errors
///
/// As [`super::change_life`]; a tenant in its grace, a hold, and what of others would fall with it;
/// nobody's consent.
pub async fn purge(
    cx: &Context<'_>,
    options: &PurgeOptions,
    consent: &dyn TypedConsent,
) -> anyhow::Result<Report> {
    let verb = if options.at_once { "erase" } else { "purge" };
    let mut options = options.clone();
    if options.expired {
        let control = control(cx, options.life.dry_run).await?;
        options.life.selection.tenants = life::expired(&control).await?;
        if options.life.selection.tenants.is_empty() {
            return Ok(Report::Lived(Box::new(nobody(verb, options.life.dry_run))));
        }
    }
    let looking = LifeOptions { dry_run: true, ..options.life.clone() };
    let plan = each(cx, verb, &looking, async |control, tenant| {
        look(cx, control, tenant, &options).await.map(|seen| seen.target)
    })
    .await?;
    let pending: Vec<&LivedTarget> = match &plan {
        Report::Lived(plan) => plan.targets.iter().filter(|one| !one.steps.is_empty()).collect(),
        _ => Vec::new(),
    };
    if options.life.dry_run || pending.is_empty() {
        return Ok(plan);
    }
    if pending.len() > 1 && options.receipt.as_ref().is_some_and(|path| !path.is_dir()) {
        let what = format!("{verb} {} tenants: --receipt names one file", pending.len());
        return Err(Error::new(Code::Usage, what).hint("name a directory that is there").into());
    }
    let word = match pending.as_slice() {
        [only] => only.tenant.id.to_string(),
        all => format!("{verb} {}", all.len()),
    };
    consent.given(&plan, &word)?;
    each(cx, verb, &options.life, async |control, tenant| {
        one(cx, control, tenant, verb, &options).await
    })
    .await
}

fn nobody(verb: &'static str, dry_run: bool) -> Lived {
    Lived { verb, dry_run, targets: Vec::new(), interrupted: false, took: Duration::ZERO }
}

/// What was seen of a tenant before anything is done.
struct Seen {
    life: Life,
    found: Option<Found>,
    target: LivedTarget,
}

async fn look(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
    options: &PurgeOptions,
) -> anyhow::Result<Seen> {
    let life = life::life(control, &tenant.id).await?;
    let mut target = LivedTarget { holds: life.holds.clone(), ..LivedTarget::new(tenant.clone()) };
    target.to = life.state;
    if options.expired && !life.holds.is_empty() {
        target.notes.push(format!("it is held: {}", life.holds[0].reason));
        return Ok(Seen { life, found: None, target });
    }
    let wish = if options.at_once { Wish::Erase } else { Wish::Purge };
    let Step::To(_) = step(&tenant.id, &life, wish)? else {
        return Ok(Seen { life, found: None, target });
    };
    if !options.life.dry_run {
        receipt::refuse_lost(&receipt::path(options.receipt.as_ref(), &tenant), &tenant)?;
    }
    let found = find(cx, control, tenant).await?;
    target.to = State::Purged;
    target.steps = found.steps();
    Ok(Seen { life, found: Some(found), target })
}

async fn one(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
    verb: &'static str,
    options: &PurgeOptions,
) -> anyhow::Result<LivedTarget> {
    let id = tenant.id.clone();
    let lock = pg::hold(control, LockKey::tenant(&id), options.life.lock_wait).await?;
    let tenant = registry::find(control, &id).await?.unwrap_or(tenant);
    let Seen { life, found, target } = look(cx, control, tenant, options).await?;
    let Some(found) = found else {
        lock.release().await?;
        return Ok(target);
    };
    if !matches!(life.state, State::Deleting | State::Deleted) {
        // The lock is ours already; the same steps as `delete --grace 0s`.
        let verb = LifeVerb::Delete(Duration::ZERO);
        let options = LifeOptions { dry_run: false, ..options.life.clone() };
        super::under_lock(cx, control, found.house.tenant.clone(), verb, &options).await?;
    }
    let resumed = life.state == State::Deleted;
    let earlier = if resumed { life::purge_begun(control, &id).await? } else { None };
    let before = earlier.clone().unwrap_or_else(|| json!(found.rows_by_name()));
    let deed = Deed::new(cx, verb, Some(&id)).before(standing(&found.house.tenant)).about(json!({
        "reason": options.life.reason,
        "tables": if earlier.is_some() { Value::Null } else { before.clone() },
        "resumed": resumed,
    }));
    deed.start(control).await?;
    let done = end(cx, control, &found, &deed, &before, options, target).await;
    let (outcome, after, error) = match &done {
        Ok(target) => (Outcome::Done, after(target), None),
        Err(error) => (Outcome::Failed, Value::Null, Some(told(error))),
    };
    deed.close(cx, control, outcome, after, error).await;
    let target = done?;
    lock.release().await?;
    Ok(target)
}

fn after(target: &LivedTarget) -> Value {
    json!({
        "state": target.to.word(),
        "receipt": target.receipt.as_ref().map(|receipt| json!({
            "sha256": receipt.sha256,
            "file": receipt.file.display().to_string(),
            "document": receipt.receipt,
        })),
    })
}

async fn end(
    cx: &Context<'_>,
    control: &Session,
    found: &Found,
    deed: &Deed,
    before: &Value,
    options: &PurgeOptions,
    target: LivedTarget,
) -> anyhow::Result<LivedTarget> {
    let id: &TenantId = &found.house.tenant.id;
    life::enter_state(control, id, State::Deleted).await?;
    let removed = removal::remove(cx, control, found).await?;
    let receipt =
        receipt::write(control, found, deed, before, removed, options.receipt.as_ref()).await?;
    life::enter_state(control, id, State::Purged).await?;
    Ok(LivedTarget {
        steps: steps(&[], &found.house.tenant.placement).into_iter().chain(found.steps()).collect(),
        receipt: Some(Box::new(receipt)),
        to: State::Purged,
        ..target
    })
}
