//! Binds shared tables that a migration made to the current tenant, and grants them.

use std::time::Duration;

use super::targets::Unit;
use crate::config::Request;
use crate::error::Error;
use crate::model::interrupt::Interrupt;
use crate::model::layout::Template;
use crate::model::tenant::State;
use crate::ops::Context;
use crate::ops::converge::{Patience, converge};
use crate::pg::{self, LockKey};
use crate::plan;

/// Guards the tables of a shared schema: until then the application's roles cannot reach new ones.
/// Only reads when that is done.
pub(super) async fn guard(
    cx: &Context<'_>,
    unit: &Unit<'_>,
    limits: pg::Limits,
    lock_wait: Duration,
) -> Result<(), Error> {
    if !unit.registered {
        // Without a registry tenantctl did not make these tables, and guards none of them.
        return Ok(());
    }
    // What was migrated is guarded as well, whoever asks to stop: the two belong together.
    let calm = Interrupt::default();
    let cx = &Context { interrupt: &calm, ..*cx };
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    let layout = cx.fleet.layout(unit.isolation);
    let own_roles = layout.roles.iter().chain(&layout.readonly).any(Template::per_tenant);
    let active = unit.neighbours.iter().filter(|tenant| tenant.state == State::Active);
    // Whoever comes first sees to the roles that all use.
    for tenant in active.take(if own_roles { usize::MAX } else { 1 }) {
        let mut request = Request::new(tenant.id.clone());
        request.isolation = Some(tenant.isolation);
        request.cluster = Some(tenant.placement.cluster.clone());
        request.tier.clone_from(&tenant.tier);
        request.key = Some(tenant.key.clone());
        let mut desired = cx.fleet.desired(&request, tenant.uuid)?;
        let observed = pg::observe(cx.servers, Some(&control), &desired).await?;
        if plan::is_guarded(&desired, &observed) {
            continue;
        }
        let lock = pg::hold(&control, LockKey::tenant(&tenant.id), lock_wait).await?;
        let patience = Patience { lock_wait, limits };
        let done = converge(cx, &control, &mut desired, async |_, _, _| Ok(()), patience).await;
        lock.release().await?;
        done?;
    }
    Ok(())
}
