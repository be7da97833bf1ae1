//! What cannot be one message among others: files that run outside a transaction, files one by one,
//! shared tables with their guard, a database of its own.

use std::time::Instant;

use super::guard::guard;
use super::lanes::Ended;
use super::run::Run;
use super::targets::{Known, Unit};
use crate::error::{Code, Error};
use crate::model::migration::Version;
use crate::model::tenant::{Isolation, Placement};
use crate::ops::watching::Watching;
use crate::pg::{self, Commit, Lock, Repeating, Schema, Session, Target};
use crate::report::Status;

/// Reads a tenant's history in a database of its own. Who has something to do as far as the ledger
/// knows is locked in the same message: what follows then needs no lock, and nothing to look whether
/// the history still stands.
async fn read(session: &Session, unit: &Unit<'_>) -> Result<(Known, Lock), Error> {
    let (history, lock) = if unit.is_told() {
        pg::lock_and_read(session, &unit.placement).await?
    } else {
        (pg::history(session, &unit.placement.schema).await?, Lock::Open)
    };
    Ok((history.map_or(Known::Absent, |history| Known::of(unit.set, history)), lock))
}

impl Run<'_, '_> {
    /// What cannot be one message among others.
    pub(super) async fn attempt_alone(&self, at: usize) -> Ended {
        let started = Instant::now();
        let unit = self.units.borrow()[at].clone();
        let ended = if unit.status == Status::Pending {
            match unit.isolation {
                Isolation::Database => self.visit(at, &unit).await,
                Isolation::Shared | Isolation::Schema => self.migrate_alone(at, &unit).await,
            }
        } else {
            Ended::NothingToDo
        };
        let ended = self.then_guard(&unit, ended).await;
        self.took(at, started);
        ended
    }

    /// Shared tables are guarded after a migration, and where a run that was stopped may have left
    /// them without.
    async fn then_guard(&self, unit: &Unit<'_>, ended: Ended) -> Ended {
        let applied = match (unit.isolation, &ended) {
            (Isolation::Shared, Ended::Applied(applied)) => applied.clone(),
            (Isolation::Shared, Ended::NothingToDo) => Vec::new(),
            _ => return ended,
        };
        match guard(self.cx, unit, self.options.limits, self.options.lock_wait).await {
            Ok(()) => ended,
            Err(error) => Ended::Failed(applied, error),
        }
    }

    /// A database of one tenant: its history is read on the session that migrates it.
    async fn visit(&self, at: usize, unit: &Unit<'_>) -> Ended {
        let Placement { cluster, database, .. } = &unit.placement;
        let session = match self.cx.servers.dedicated(cluster, Some(database)).await {
            Ok(session) => session,
            Err(error) if error.code == Code::NotFound => {
                self.forget_told(at);
                return Ended::Gone(error);
            }
            Err(error) => return self.unreached(at, error),
        };
        // Whom it waits for is seen while it reads, and it can be cancelled.
        let work = async |seat| self.visit_on(at, unit, &session, seat).await;
        self.on_session(at, &session, work).await
    }

    async fn visit_on(&self, at: usize, unit: &Unit<'_>, session: &Session, seat: usize) -> Ended {
        let read = read(session, unit).await;
        self.forget_told(at);
        let (known, lock) = match read {
            Ok(read) => read,
            Err(error) if error.code == Code::NotFound => return Ended::Missing,
            Err(error) if self.cx.interrupt.is_cancelled() => {
                return self.failed(at, Vec::new(), error, seat);
            }
            Err(error) => return Ended::failed(error),
        };
        if unit.wants_repeatables(self.options.scope.to) {
            let recorded = match pg::repeatables(session, &[&unit.placement.schema]).await {
                Ok(mut found) => found.remove(&unit.placement.schema).transpose(),
                Err(error) => Err(error),
            };
            match recorded {
                Ok(recorded) => self.units.borrow_mut()[at].compare(&recorded.unwrap_or_default()),
                Err(error) => return Ended::failed(error),
            }
        }
        if let Some(ended) = self.decide_anew(at, known) {
            return ended;
        }
        if let Err(error) = self.judge(at) {
            return Ended::failed(error);
        }
        if let Err(error) = self.journal.begin(self).await {
            self.stop(&format!("the ledger cannot be written: {error}"));
            return Ended::failed(error);
        }
        let unit = self.units.borrow()[at].clone();
        self.at_seat(at, &unit, session, seat, lock).await
    }

    /// Forgets what the ledger said of a unit, if that is all that is known.
    fn forget_told(&self, at: usize) {
        let mut units = self.units.borrow_mut();
        if units[at].is_told() {
            units[at].unlearn();
        }
    }

    /// A shared schema, or files that cannot be one transaction.
    async fn migrate_alone(&self, at: usize, unit: &Unit<'_>) -> Ended {
        let Placement { cluster, database, .. } = &unit.placement;
        // What runs outside a transaction sets what the session keeps: the session is ended with it.
        let session = if unit.runs_outside_a_transaction() {
            self.cx.servers.dedicated(cluster, Some(database)).await
        } else {
            self.cx.servers.lasting(cluster, Some(database)).await
        };
        let session = match session {
            Ok(session) => session,
            Err(error) => return self.unreached(at, error),
        };
        let work = async |seat| self.at_seat(at, unit, &session, seat, Lock::Open).await;
        self.on_session(at, &session, work).await
    }

    /// Gives a unit a seat on a session of its own for as long as it is at work.
    async fn on_session(
        &self,
        at: usize,
        session: &Session,
        work: impl AsyncFnOnce(usize) -> Ended,
    ) -> Ended {
        let backend = session.backend().await.ok();
        let seat = self.seats.take(session, backend);
        self.seats.works_on(seat, Some(at));
        let ended = work(seat).await;
        self.seats.leave(seat);
        ended
    }

    async fn at_seat(
        &self,
        at: usize,
        unit: &Unit<'_>,
        session: &Session,
        seat: usize,
        lock: Lock,
    ) -> Ended {
        if self.options.per_file || unit.runs_outside_a_transaction() {
            self.one_by_one(at, unit, session, seat).await
        } else {
            self.attempt(at, session, seat, Commit::Durable, lock).await.0
        }
    }

    /// Applies repeatable files behind files that were applied one by one.
    async fn then_repeat(
        &self,
        unit: &Unit<'_>,
        session: &Session,
        applied: Vec<Version>,
    ) -> Ended {
        if unit.repeatables.is_empty() {
            return Ended::Applied(applied);
        }
        let brief = unit.brief();
        let schema = Schema {
            placement: &brief.placement,
            owner: &brief.owner,
            set: unit.set,
            limits: self.options.limits,
            lock_wait: self.options.lock_wait,
        };
        match pg::reapply(session, &schema).await {
            Ok(_) => Ended::Applied(applied),
            Err(error) => Ended::Failed(applied, error),
        }
    }

    /// Each file for itself, under a lock that the session holds.
    async fn one_by_one(
        &self,
        at: usize,
        unit: &Unit<'_>,
        session: &Session,
        seat: usize,
    ) -> Ended {
        let Some(files) = self.files.get(&unit.isolation) else {
            return Ended::NothingToDo;
        };
        let brief = unit.brief();
        let watching = Watching {
            servers: self.cx.servers,
            observer: self.cx.observer,
            placement: &brief.placement,
        };
        let target = Target {
            placement: &brief.placement,
            owner: &brief.owner,
            files,
            to: self.options.scope.to,
            limits: self.options.limits,
            lock_wait: self.options.lock_wait,
            watcher: Some(&watching),
            superuser: self.seats.is_superuser(seat),
            commit: Commit::Durable,
            repeatables: Repeating::default(),
        };
        self.units.borrow_mut()[at].attempts += 1;
        match pg::migrate_target(session, &target).await {
            Ok((_, applied)) if applied.is_empty() && unit.repeatables.is_empty() => {
                Ended::NothingToDo
            }
            Ok((from, applied)) => {
                {
                    let unit = &mut self.units.borrow_mut()[at];
                    // It began further back when an attempt before this one did some of it.
                    if unit.applied.is_empty() {
                        unit.from = from;
                    }
                }
                self.then_repeat(unit, session, applied).await
            }
            Err((applied, error)) if error.code == Code::Unreachable => {
                match self.find_out(at, &brief.placement, error, seat).await {
                    Ended::Failed(found, error) if found.is_empty() => {
                        Ended::Failed(applied, error)
                    }
                    ended => ended,
                }
            }
            // Files that were applied stay: the next attempt goes on behind them.
            Err((applied, error)) => match self.failed(at, applied.clone(), error, seat) {
                Ended::Again { cause, after } => {
                    self.units.borrow_mut()[at].finish(applied);
                    let history = pg::history(session, &brief.placement.schema).await;
                    if let Ok(history) = history {
                        let from = self.units.borrow()[at].from;
                        if let Some(ended) = self.decide_anew(at, history.into()) {
                            return ended;
                        }
                        self.units.borrow_mut()[at].from = from;
                    }
                    Ended::Again { cause, after }
                }
                ended => ended,
            },
        }
    }
}
