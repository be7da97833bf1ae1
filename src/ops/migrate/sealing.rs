//! Committed is not yet safe: many tenants wait for the disk together.
//!
//! A commit that waits for the disk costs more than many a migration. So on a session of its own a
//! lane lets transactions commit without it, and says that a tenant is migrated no sooner than a
//! later commit of the same session has been waited for. A crash of the server in between ends the
//! session, and then the histories are asked what is left.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::lanes::{Ended, Queue, Seat};
use super::run::Run;
use crate::pg::{self, Commit};

/// So many tenants wait for the disk together at most,
const TOGETHER: usize = 64;

/// and after this the next one is waited for: who watches should see who is done.
const LONGEST: Duration = Duration::from_millis(200);

/// What a session has committed that a crash may still take back.
#[derive(Default)]
pub(super) struct Unsealed {
    units: RefCell<Vec<(usize, Ended)>>,
    since: Cell<Option<Instant>>,
}

impl Unsealed {
    /// Whether the next transaction is to be waited for, with so many on their way before it.
    pub(super) fn is_due(&self, on_their_way: usize) -> bool {
        self.units.borrow().len() + on_their_way + 1 >= TOGETHER
            || self.since.get().is_some_and(|since| since.elapsed() >= LONGEST)
    }

    fn add(&self, unit: usize, ended: Ended) {
        self.units.borrow_mut().push((unit, ended));
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
        }
    }

    fn take(&self) -> Vec<(usize, Ended)> {
        self.since.set(None);
        self.units.take()
    }
}

impl Run<'_, '_> {
    /// What came of an attempt on a seat that was not lost: told now, or when it is safe.
    pub(super) fn land_on(
        &self,
        queue: &Queue,
        seat: &Seat,
        (unit, ended): (usize, Ended),
        commit: Commit,
    ) {
        match (&ended, commit) {
            (Ended::Applied(_), Commit::Deferred) => seat.unsealed.add(unit, ended),
            (Ended::Applied(_), Commit::Durable) => {
                // What was committed before it is as safe as it is.
                for (unit, ended) in seat.unsealed.take() {
                    self.land(queue, unit, ended);
                }
                self.land(queue, unit, ended);
            }
            _ => self.land(queue, unit, ended),
        }
    }

    /// Waits until everything that was committed on a seat is safe, and tells.
    pub(super) async fn seal(&self, queue: &Queue, seat: &Seat) {
        let units = seat.unsealed.take();
        let Some((first, _)) = units.first() else {
            return;
        };
        // A standby that is waited for may be gone: whoever asks twice to stop is heard here as well.
        self.seats.works_on(seat.number, Some(*first));
        let mut sealed = pg::make_durable(&seat.session).await;
        if sealed.as_ref().is_err_and(|error| error.answer.is_some()) {
            // The user may have cancelled it instead of a migration.
            sealed = pg::make_durable(&seat.session).await;
        }
        self.seats.works_on(seat.number, None);
        match sealed {
            Ok(()) => {
                for (unit, ended) in units {
                    self.land(queue, unit, ended);
                }
            }
            Err(error) => {
                log::debug!("{error}");
                self.look_for(queue, seat, units).await;
            }
        }
    }

    /// A seat was lost, and with it the certainty about what was committed there.
    pub(super) async fn look_after(&self, queue: &Queue, seat: &Seat) {
        self.look_for(queue, seat, seat.unsealed.take()).await;
    }

    /// Asks the histories what has become of transactions that a crash may have taken back.
    async fn look_for(&self, queue: &Queue, seat: &Seat, units: Vec<(usize, Ended)>) {
        for (unit, ended) in units {
            let Ended::Applied(applied) = ended else {
                continue;
            };
            let placement = self.units.borrow()[unit].placement.clone();
            let process = self.seats.pid(seat.number);
            let ended = match self.history_in_the_end(&placement, process).await {
                Ok(history) => {
                    let history = history.unwrap_or_default();
                    if applied.iter().all(|version| history.get(*version).is_some()) {
                        Ended::Applied(applied)
                    } else {
                        let cause = "the server has crashed, and its commit is lost".to_owned();
                        Ended::Again { cause, after: Duration::ZERO }
                    }
                }
                Err(error) => Ended::failed(
                    error.hint("whether it was applied is unknown: see tenantctl migrate status"),
                ),
            };
            self.land(queue, unit, ended);
        }
    }
}
