//! Who is at work on which session: to see whom they wait for, and to cancel them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::tenant::ClusterName;
use crate::pg::{Backend, Canceller, Session};

/// The sessions at work, each under a number of its own.
#[derive(Default)]
pub(super) struct Seats {
    taken: RefCell<BTreeMap<usize, Seat>>,
    next: Cell<usize>,
}

struct Seat {
    cluster: ClusterName,
    /// None when it could not be asked.
    backend: Option<Backend>,
    canceller: Canceller,
    /// Since when the unit that is its turn has been at work; none while nothing is.
    since: Option<Instant>,
    unit: usize,
    /// Who was seen in its way.
    blocker: Option<String>,
}

impl Seats {
    /// Takes a seat for a session. Returns its number.
    pub(super) fn take(&self, session: &Session, backend: Option<Backend>) -> usize {
        let number = self.next.get();
        self.next.set(number + 1);
        let seat = Seat {
            cluster: session.cluster().clone(),
            backend,
            canceller: session.canceller(),
            since: None,
            unit: 0,
            blocker: None,
        };
        self.taken.borrow_mut().insert(number, seat);
        number
    }

    /// Gives a seat up.
    pub(super) fn leave(&self, number: usize) {
        self.taken.borrow_mut().remove(&number);
    }

    /// The unit that is at work there now, or none.
    pub(super) fn works_on(&self, number: usize, unit: Option<usize>) {
        if let Some(seat) = self.taken.borrow_mut().get_mut(&number) {
            seat.since = unit.map(|_| Instant::now());
            seat.unit = unit.unwrap_or_default();
            seat.blocker = None;
        }
    }

    /// The server's process behind a seat.
    pub(super) fn pid(&self, number: usize) -> Option<i32> {
        let taken = self.taken.borrow();
        taken.get(&number).and_then(|seat| seat.backend).map(|backend| backend.pid)
    }

    /// Whether what runs on a seat may take any identity, as far as is known.
    pub(super) fn is_superuser(&self, number: usize) -> bool {
        let taken = self.taken.borrow();
        taken.get(&number).and_then(|seat| seat.backend).is_none_or(|backend| backend.superuser)
    }

    /// Who was seen in the way of a seat's unit.
    pub(super) fn blocker(&self, number: usize) -> Option<String> {
        self.taken.borrow().get(&number).and_then(|seat| seat.blocker.clone())
    }

    /// The seats of a cluster whose units have been at work for so long: number, process, unit.
    pub(super) fn slow(
        &self,
        cluster: &ClusterName,
        for_long: Duration,
    ) -> Vec<(usize, i32, usize)> {
        self.taken
            .borrow()
            .iter()
            .filter(|(_, seat)| seat.cluster == *cluster)
            .filter(|(_, seat)| seat.since.is_some_and(|since| since.elapsed() >= for_long))
            .filter_map(|(number, seat)| Some((*number, seat.backend?.pid, seat.unit)))
            .collect()
    }

    /// Notes who is in the way. Returns whether that is new.
    pub(super) fn blocked_by(&self, number: usize, blocker: &str) -> bool {
        match self.taken.borrow_mut().get_mut(&number) {
            Some(seat) if seat.blocker.as_deref() != Some(blocker) => {
                seat.blocker = Some(blocker.to_owned());
                true
            }
            _ => false,
        }
    }

    /// What can stop every session that is at work.
    pub(super) fn at_work(&self) -> Vec<Canceller> {
        let taken = self.taken.borrow();
        taken
            .values()
            .filter(|seat| seat.since.is_some())
            .map(|seat| seat.canceller.clone())
            .collect()
    }
}
