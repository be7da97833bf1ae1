//! Holds: what keeps a tenant from being purged, whatever its grace.

use serde_json::json;

use super::{LifeOptions, each};
use crate::error::{Code, Error};
use crate::model::tenant::Tenant;
use crate::model::trail::Outcome;
use crate::ops::Context;
use crate::ops::trail::{Deed, told};
use crate::pg::{self, LockKey, Session, life};
use crate::plan::life::{Wish, step};
use crate::report::{LivedTarget, PlannedStep, Report};

/// What is done with holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldChange {
    /// One is set, for this reason.
    Set(String),
    /// The one for this reason is taken away; without a reason the only one.
    Clear(Option<String>),
    /// All are taken away.
    ClearAll,
}

impl HoldChange {
    fn verb(&self) -> &'static str {
        match self {
            Self::Set(_) => "hold set",
            Self::Clear(_) | Self::ClearAll => "hold clear",
        }
    }
}

/// Sets or clears holds of the selected tenants.
///
/// # Errors
///
/// As [`super::change_life`]; `usage` when several holds could be meant.
pub async fn change_hold(
    cx: &Context<'_>,
    change: &HoldChange,
    options: &LifeOptions,
) -> anyhow::Result<Report> {
    each(cx, change.verb(), options, async |control, tenant| {
        one(cx, control, tenant, change, options).await
    })
    .await
}

async fn one(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
    change: &HoldChange,
    options: &LifeOptions,
) -> anyhow::Result<LivedTarget> {
    let id = tenant.id.clone();
    let lock = pg::hold(control, LockKey::tenant(&id), options.lock_wait).await?;
    let before = life::life(control, &id).await?;
    step(&id, &before, Wish::Hold)?;
    let chosen = match change {
        HoldChange::Set(_) | HoldChange::ClearAll => None,
        HoldChange::Clear(reason) => {
            let fits = |held: &&_| {
                let held: &crate::model::life::Hold = held;
                reason.as_ref().is_none_or(|reason| *reason == held.reason)
            };
            let fitting: Vec<_> = before.holds.iter().filter(fits).collect();
            match (fitting.as_slice(), reason) {
                ([one], _) => Some((*one).clone()),
                ([], None) => None,
                ([], Some(reason)) => {
                    let what = format!("clear the hold of tenant {id}: none is for {reason:?}");
                    let error = Error::new(Code::NotFound, what);
                    let error = if before.holds.is_empty() {
                        error.hint("nothing holds it")
                    } else {
                        told_holds(error, &before.holds)
                    };
                    return Err(error.into());
                }
                _ => {
                    let what =
                        format!("clear the hold of tenant {id}: it has {}", before.holds.len());
                    return Err(told_holds(Error::new(Code::Usage, what), &before.holds).into());
                }
            }
        }
    };
    let what = match (change, &chosen) {
        (HoldChange::Set(reason), _) if before.holds.iter().all(|held| held.reason != *reason) => {
            Some(format!("hold it for: {reason}"))
        }
        (HoldChange::Clear(_), Some(hold)) => Some(format!("hold it no more for: {}", hold.reason)),
        (HoldChange::ClearAll, _) if !before.holds.is_empty() => Some("hold it no more".to_owned()),
        _ => None,
    };
    let mut target = LivedTarget { holds: before.holds.clone(), ..LivedTarget::new(tenant) };
    target.to = before.state;
    if let Some(what) = what {
        let step = PlannedStep {
            what,
            site: "registry".to_owned(),
            hazards: Vec::new(),
            statements: Vec::new(),
        };
        target.steps.push(step);
        if !options.dry_run {
            let deed = Deed::new(cx, change.verb(), Some(&id))
                .before(json!({"state": before.state.word(), "holds": before.holds}))
                .about(json!({"reason": options.reason}));
            deed.start(control).await?;
            let done = match change {
                HoldChange::Set(reason) => life::hold(control, &id, reason).await.map(|_| ()),
                HoldChange::Clear(_) | HoldChange::ClearAll => {
                    life::release(control, &id, chosen.as_ref()).await
                }
            };
            let now = match done {
                Ok(()) => life::life(control, &id).await,
                Err(error) => Err(error),
            };
            let now = now.map_err(anyhow::Error::from);
            let (outcome, after, error) = match &now {
                Ok(now) => {
                    (Outcome::Done, json!({"state": now.state.word(), "holds": now.holds}), None)
                }
                Err(error) => (Outcome::Failed, serde_json::Value::Null, Some(told(error))),
            };
            deed.close(cx, control, outcome, after, error).await;
            target.holds = now?.holds;
        }
    }
    lock.release().await?;
    Ok(target)
}

fn told_holds(error: Error, holds: &[crate::model::life::Hold]) -> Error {
    holds.iter().fold(error, |error, held| {
        error.hint(format!("it is held for: --reason {:?}", held.reason))
    })
}
