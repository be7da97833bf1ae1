//! Reads ahead: histories of tenants that are behind as far as the ledger knows.
//!
//! They are read a few at a time on the session that migrates them next, while it is at work on
//! others: opening a history is most of what reading one costs, and the process that writes to it
//! must open it anyhow. What the ledger said decides nothing.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::lanes::{Ended, Flown, Queue, Seat};
use super::run::Run;
use super::targets::{Found, Known, read_there};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::migration::MigrationSet;
use crate::model::tenant::Isolation;
use crate::plan::endurance::ATTEMPTS;

/// So many histories are read at once at most.
const AHEAD: usize = 32;

/// With fewer than so many at hand, more are read.
const LOW: usize = 3;

/// Units of one lane whose histories are being read, or were.
#[derive(Default)]
pub(super) struct Ahead {
    /// Those that were: they need something, and wait for their turn.
    pub(super) ready: VecDeque<usize>,
    /// Whether others are being read.
    pub(super) is_reading: bool,
}

impl Ahead {
    /// Whether more should be read, so that the session never waits for it.
    pub(super) fn is_low(&self) -> bool {
        !self.is_reading && self.ready.len() < LOW
    }
}

impl Run<'_, '_> {
    /// Whether only the ledger was asked about a schema: its history is read with those of others.
    pub(super) fn is_read_ahead(&self, at: usize) -> bool {
        let units = self.units.borrow();
        units[at].is_told() && units[at].isolation == Isolation::Schema
    }

    /// Takes units whose histories a lane can read together: few when few are left, so that no lane
    /// waits while another has a store.
    pub(super) fn take_told(
        &self,
        queue: &Queue,
        database: &Ident,
        lanes: usize,
        room: usize,
    ) -> Vec<usize> {
        let share = (queue.len() / (2 * lanes.max(1))).max(1);
        queue.take_first(AHEAD.min(share).min(room), |unit| {
            self.is_read_ahead(unit) && self.units.borrow()[unit].placement.database == *database
        })
    }

    /// Reads the histories of units on a seat.
    pub(super) async fn read_ahead(&self, units: Vec<usize>, seat: Rc<Seat>) -> Flown {
        let schemas: Vec<(Ident, &MigrationSet)> = {
            let all = self.units.borrow();
            let schema = |at: &usize| (all[*at].placement.schema.clone(), all[*at].set);
            units.iter().map(schema).collect()
        };
        let found = read_there(&seat.session, &schemas).await;
        Flown::Read(units, found)
    }

    /// Takes note of what was read: who needs something gets ready. Returns whether the session was
    /// lost.
    pub(super) fn learn(
        &self,
        queue: &Queue,
        units: Vec<usize>,
        found: Found,
        ready: &mut VecDeque<usize>,
        seat: usize,
    ) -> bool {
        let mut found = match found {
            Ok(found) => found,
            Err(error) => {
                let error = Arc::new(error);
                for at in units {
                    self.land(queue, at, self.unread(at, &error));
                }
                return error.code == Code::Unreachable;
            }
        };
        for at in units {
            let known = {
                let units = self.units.borrow();
                found.remove(&units[at].placement.schema)
            };
            match self.learned(at, known, seat) {
                None => ready.push_back(at),
                Some(ended) => {
                    // It was counted among those that need something.
                    self.units.borrow_mut()[at].begun = true;
                    self.land(queue, at, ended);
                }
            }
        }
        false
    }

    /// What comes of a unit's history; none when there is something to do.
    fn learned(
        &self,
        at: usize,
        known: Option<Result<Known, Error>>,
        seat: usize,
    ) -> Option<Ended> {
        match known {
            None => {
                self.units.borrow_mut()[at].unlearn();
                Some(Ended::Missing)
            }
            Some(Err(error)) => {
                self.units.borrow_mut()[at].attempts += 1;
                Some(self.failed(at, Vec::new(), error, seat))
            }
            Some(Ok(known)) => {
                self.units.borrow_mut()[at].unlearn();
                self.decide_anew(at, known).or_else(|| self.judge(at).err().map(Ended::failed))
            }
        }
    }

    /// What comes of a unit whose history could not be read, with those of others: another time it
    /// may.
    fn unread(&self, at: usize, error: &Arc<Error>) -> Ended {
        let mut units = self.units.borrow_mut();
        let unit = &mut units[at];
        unit.attempts += 1;
        if unit.attempts < ATTEMPTS {
            return Ended::Again { cause: error.message.clone(), after: Duration::ZERO };
        }
        Ended::failed(Error::again(error))
    }
}
