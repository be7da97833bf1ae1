//! Attends to a cluster's lanes while they work: sees whom they wait for, and cancels them.

use std::time::Duration;

use super::run::{LOOK, Run};
use crate::model::tenant::ClusterName;
use crate::pg;
use crate::report::event::Event;

impl Run<'_, '_> {
    /// Looks, now and then, whom slow units wait for; until it is dropped.
    pub(super) async fn look_for_blockers(&self, cluster: &ClusterName) {
        let limit = self.options.limits.lock;
        let pause = (limit / 3).clamp(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            self.pause(pause).await;
            let slow = self.seats.slow(cluster, pause);
            if slow.is_empty() {
                continue;
            }
            let pids: Vec<i32> = slow.iter().map(|(_, pid, _)| *pid).collect();
            let found = async {
                let session = self.cx.servers.session(cluster, None).await?;
                pg::blockers(&session, &pids).await
            };
            let found = match found.await {
                Ok(found) => found,
                Err(error) => {
                    log::debug!("{error}");
                    continue;
                }
            };
            let still = self.seats.slow(cluster, pause);
            for (seat, pid, unit) in slow {
                // Whoever was done meanwhile waits for nobody: the session is at another unit.
                if !still.iter().any(|(other, _, now)| (*other, *now) == (seat, unit)) {
                    continue;
                }
                let Some(blocker) = found.get(&pid) else {
                    continue;
                };
                if self.seats.blocked_by(seat, blocker) {
                    let units = self.units.borrow();
                    self.cx.observer.on(&Event::TargetWaiting {
                        cluster,
                        target: &units[unit].name(),
                        cause: &format!("held by {blocker}"),
                        attempts: units[unit].attempts,
                    });
                }
            }
        }
    }

    /// Cancels what is at work as soon as the user asks for it; until it is dropped.
    pub(super) async fn cancel_on_demand(&self) {
        loop {
            self.pause(LOOK).await;
            if self.cx.interrupt.is_cancelled() {
                for canceller in self.seats.at_work() {
                    if let Err(error) = canceller.cancel().await {
                        log::debug!("{error}");
                    }
                }
            }
        }
    }
}
