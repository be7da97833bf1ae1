//! Lanes: sessions that work off a cluster's queue, one transaction in one message per target.
//!
//! A lane keeps the next message on its way while the server works on the last one, so that the
//! server never waits for the network. What cannot be one message is done alone: files that run
//! outside a transaction, files one by one, shared tables with their guard, a database of its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, join, join_all, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::ahead::Ahead;
use super::run::{LOOK, Run, Writing};
use super::sealing::Unsealed;
use super::targets::{Found, Known};
use crate::error::{Code, Error};
use crate::model::count;
use crate::model::ident::Ident;
use crate::model::migration::{History, Version};
use crate::model::pooling::{Operation, Pooling};
use crate::model::tenant::{ClusterName, Isolation, Placement};
use crate::pg::{
    self, Commit, Lock, LockKey, NotApplied, RETIRE_AFTER, Repeating, Session, Target,
};
use crate::plan::endurance::{ATTEMPTS, is_passing, is_unready, pause};
use crate::report::Status;
use crate::report::event::Event;

/// So many messages are on their way on one session: the one that the server works on, and the
/// next,
const IN_FLIGHT: usize = 2;

/// when the last took no longer than this. Nobody is sent behind a slow one: it could neither be
/// left undone when the user wants to stop, nor be taken over by another lane.
const QUICK: Duration = Duration::from_millis(250);

/// Connections of a cluster's budget that lanes leave to others: the ledger, and who looks for
/// blockers.
const RESERVED: usize = 2;

/// Beyond about twice the server's cores more sessions gain nothing; of a server elsewhere the cores
/// are unknown.
const JOBS_ELSEWHERE: usize = 8;

/// How long to leave a unit to another tenantctl that is at work on it.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// How long to leave a server alone that gives no session now.
const UNREADY_PAUSE: Duration = Duration::from_millis(250);

/// What came of an attempt.
pub(super) enum Ended {
    /// These were applied.
    Applied(Vec<Version>),
    /// Somebody else has applied everything, or nothing was missing.
    NothingToDo,
    /// The schema is not there.
    Missing,
    /// The database is not there.
    Gone(Error),
    /// It failed, after these were applied.
    Failed(Vec<Version>, Error),
    /// The user had it cancelled, after these were applied.
    Cancelled(Vec<Version>),
    /// Somebody is in the way; nothing was done.
    Again {
        /// Who, in words.
        cause: String,
        /// When to try again.
        after: Duration,
    },
}

impl Ended {
    pub(super) fn failed(error: Error) -> Self {
        Self::Failed(Vec::new(), error)
    }
}

/// Whether a server says that it gives no session now.
pub(super) fn has_no_room(error: &Error) -> bool {
    error.answer.as_ref().is_some_and(|answer| is_unready(&answer.sqlstate))
}

/// Units that wait for a lane.
pub(super) struct Queue(RefCell<VecDeque<(usize, Instant)>>);

impl Queue {
    pub(super) fn new(units: Vec<usize>) -> Self {
        let now = Instant::now();
        Self(RefCell::new(units.into_iter().map(|unit| (unit, now)).collect()))
    }

    /// The first that may begin now and fits.
    fn take(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let mut waiting = self.0.borrow_mut();
        let now = Instant::now();
        let at = waiting.iter().position(|(_, ready)| *ready <= now)?;
        if !fits(waiting[at].0) {
            return None;
        }
        waiting.remove(at).map(|(unit, _)| unit)
    }

    /// The first of those that may begin now, as long as they fit, and so many at most.
    pub(super) fn take_first(&self, most: usize, fits: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut waiting = self.0.borrow_mut();
        let now = Instant::now();
        let number = waiting
            .iter()
            .take(most)
            .take_while(|(unit, ready)| *ready <= now && fits(*unit))
            .count();
        waiting.drain(..number).map(|(unit, _)| unit).collect()
    }

    /// Gives back what was taken and not begun, for whoever comes first.
    fn give_back(&self, units: VecDeque<usize>) {
        let now = Instant::now();
        let mut waiting = self.0.borrow_mut();
        for unit in units.into_iter().rev() {
            waiting.push_front((unit, now));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn put_back(&self, unit: usize, after: Duration) {
        self.0.borrow_mut().push_back((unit, Instant::now() + after));
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// How long until somebody may begin.
    fn wait(&self) -> Duration {
        let now = Instant::now();
        let waiting = self.0.borrow();
        waiting
            .iter()
            .map(|(_, ready)| ready.saturating_duration_since(now))
            .min()
            .unwrap_or_default()
    }
}

/// A session that several units use after one another.
pub(super) struct Seat {
    pub(super) session: Session,
    pub(super) number: usize,
    database: Ident,
    /// How many messages were sent,
    sent: Cell<usize>,
    /// and how many of them were answered.
    landed: Cell<usize>,
    /// Whether it is one process of the server as long as it lasts.
    own: bool,
    pub(super) unsealed: Unsealed,
}

/// What came back of what is on its way on a session.
pub(super) enum Flown {
    /// A message for one unit.
    Landed(Landed),
    /// A question for the histories of several.
    Read(Vec<usize>, Found),
}

/// What came of a message.
pub(super) struct Landed {
    unit: usize,
    ended: Ended,
    /// Whether the session was lost.
    lost: bool,
    took: Duration,
    commit: Commit,
}

impl Run<'_, '_> {
    /// Works off the queue of one cluster.
    pub(super) async fn work_on(&self, cluster: &ClusterName, queue: &Queue) {
        let lanes = self.jobs(cluster).min(queue.len()).max(1);
        let at_work = Cell::new(lanes);
        let lanes = join_all((0..lanes).map(|_| self.lane(cluster, queue, &at_work)));
        let attendance = join(self.look_for_blockers(cluster), self.cancel_on_demand());
        match select(std::pin::pin!(lanes), std::pin::pin!(attendance)).await {
            Either::Left(_) | Either::Right(_) => {}
        }
    }

    /// How many lanes a cluster has.
    fn jobs(&self, cluster: &ClusterName) -> usize {
        let room = self.cx.servers.limit(cluster).saturating_sub(RESERVED).max(1);
        let wanted = self.options.jobs.unwrap_or_else(|| {
            if self.cx.servers.is_local(cluster) {
                std::thread::available_parallelism().map_or(1, usize::from) * 2
            } else {
                JOBS_ELSEWHERE
            }
        });
        wanted.clamp(1, room)
    }

    async fn lane(&self, cluster: &ClusterName, queue: &Queue, at_work: &Cell<usize>) {
        let mut seat: Option<Rc<Seat>> = None;
        let mut used = 0;
        let mut flying = FuturesUnordered::new();
        let mut in_flight = 1;
        let mut ahead = Ahead::default();
        self.is_written(Writing::HasSession).await;
        loop {
            while flying.len() - usize::from(ahead.is_reading) < in_flight && self.may_begin() {
                let here = seat.as_ref().filter(|_| used < RETIRE_AFTER);
                let idle = flying.is_empty();
                let fits = |unit| idle || self.may_join(unit, here.map(|seat| &seat.database));
                let next = match ahead.ready.front() {
                    Some(unit) if fits(*unit) => ahead.ready.pop_front(),
                    None if !ahead.is_reading => queue.take(fits),
                    _ => None,
                };
                let Some(unit) = next else {
                    break;
                };
                let reads_ahead = self.is_read_ahead(unit);
                if !reads_ahead {
                    self.is_written(Writing::Done).await;
                    if !self.may_begin() {
                        queue.give_back(VecDeque::from([unit]));
                        break;
                    }
                }
                let placement = if reads_ahead { self.placement(unit) } else { self.begin(unit) };
                if !reads_ahead && self.is_alone(unit) {
                    self.give_up(queue, seat.take(), used).await;
                    used = 0;
                    let ended = self.attempt_alone(unit).await;
                    self.land(queue, unit, ended);
                    continue;
                }
                let sits = here.is_some_and(|seat| seat.database == placement.database);
                if !sits {
                    self.give_up(queue, seat.take(), used).await;
                    used = 0;
                    match self.sit_down(cluster, &placement.database).await {
                        Ok(taken) => seat = Some(Rc::new(taken)),
                        // The others have the connections that there are.
                        Err(error) if error.code == Code::Unreachable && at_work.get() > 1 => {
                            log::info!("a lane on {cluster} ends: {error}");
                            queue.put_back(unit, Duration::ZERO);
                            queue.give_back(ahead.ready);
                            at_work.set(at_work.get() - 1);
                            return;
                        }
                        Err(error) => {
                            let ended = self.unreached(unit, error);
                            self.land(queue, unit, ended);
                            continue;
                        }
                    }
                }
                let Some(seat) = &seat else {
                    continue;
                };
                if reads_ahead {
                    // It is read with the others that are next.
                    queue.give_back(VecDeque::from([unit]));
                    break;
                }
                if flying.is_empty() {
                    self.seats.works_on(seat.number, Some(unit));
                }
                used += 1;
                let on_their_way = flying.len() - usize::from(ahead.is_reading);
                let last = queue.is_empty() && ahead.ready.is_empty() && !ahead.is_reading;
                let due = last || in_flight < IN_FLIGHT;
                let commit = self.commit(unit, seat, due, on_their_way);
                flying.push(Either::Right(self.fly(unit, Rc::clone(seat), commit)));
            }
            if let Some(seat) = seat.as_ref().filter(|_| ahead.is_low() && self.may_begin()) {
                let room = RETIRE_AFTER.saturating_sub(used + ahead.ready.len());
                let units = self.take_told(queue, &seat.database, at_work.get(), room);
                if let Some(first) = units.first() {
                    if flying.is_empty() {
                        self.seats.works_on(seat.number, Some(*first));
                    }
                    ahead.is_reading = true;
                    flying.push(Either::Left(self.read_ahead(units, Rc::clone(seat))));
                }
            }
            match flying.next().await {
                Some(Flown::Read(units, found)) => {
                    ahead.is_reading = false;
                    if let Some(seat) = &seat {
                        let lost = self.learn(queue, units, found, &mut ahead.ready, seat.number);
                        if lost {
                            used = RETIRE_AFTER;
                            self.look_after(queue, seat).await;
                        }
                        if flying.is_empty() {
                            self.seats.works_on(seat.number, None);
                        }
                    }
                }
                Some(Flown::Landed(Landed { unit, ended, lost, took, commit })) => {
                    // Who wants to stop at the first failure wants nothing to be sent behind it.
                    let quick = took <= QUICK && !self.options.stop_on_error;
                    in_flight = if quick { IN_FLIGHT } else { 1 };
                    if !quick {
                        // Another lane may come to them sooner.
                        queue.give_back(std::mem::take(&mut ahead.ready));
                    }
                    let Some(seat) = &seat else {
                        self.land(queue, unit, ended);
                        continue;
                    };
                    if lost {
                        // Whoever is still on its way there will find out as well.
                        used = RETIRE_AFTER;
                        self.look_after(queue, seat).await;
                        self.land(queue, unit, ended);
                    } else {
                        self.land_on(queue, seat, (unit, ended), commit);
                    }
                    self.seats.works_on(seat.number, (!flying.is_empty()).then_some(unit));
                }
                None => {
                    if let Some(seat) = &seat {
                        self.seal(queue, seat).await;
                    }
                    if queue.is_empty() || !self.may_begin() {
                        break;
                    }
                    self.pause(queue.wait().clamp(Duration::from_millis(1), LOOK)).await;
                }
            }
        }
        self.give_up(queue, seat, used).await;
        at_work.set(at_work.get() - 1);
    }

    /// When the transaction of a unit counts as committed, with so many on their way before it.
    ///
    /// A pooler may lend several processes of the server in turn, so nothing that one of them is
    /// waited for says anything about another. Repeatable files have no history to ask.
    fn commit(&self, at: usize, seat: &Seat, due: bool, on_their_way: usize) -> Commit {
        let due = due
            || !seat.own
            || seat.unsealed.is_due(on_their_way)
            || !self.units.borrow()[at].repeatables.is_empty();
        if due { Commit::Durable } else { Commit::Deferred }
    }

    pub(super) fn land(&self, queue: &Queue, unit: usize, ended: Ended) {
        if let Some(after) = self.settle(unit, ended) {
            queue.put_back(unit, after);
        }
    }

    fn placement(&self, at: usize) -> Placement {
        self.units.borrow()[at].placement.clone()
    }

    /// Tells that a unit begins, the first time, and says where it is.
    fn begin(&self, at: usize) -> Placement {
        let mut units = self.units.borrow_mut();
        let unit = &mut units[at];
        if unit.status == Status::Pending && !unit.begun {
            unit.begun = true;
            self.cx.observer.on(&Event::TargetStarted {
                cluster: Some(&unit.placement.cluster),
                target: &unit.name(),
            });
            self.journal.note_running(unit);
        }
        unit.placement.clone()
    }

    /// Whether a unit cannot share a session with others at the same time.
    fn is_alone(&self, at: usize) -> bool {
        let units = self.units.borrow();
        let unit = &units[at];
        self.options.per_file
            || unit.isolation != Isolation::Schema
            || unit.runs_outside_a_transaction()
    }

    /// Whether a unit may be sent behind another one on a session of this database.
    fn may_join(&self, at: usize, database: Option<&Ident>) -> bool {
        if self.is_alone(at) {
            return false;
        }
        let units = self.units.borrow();
        let unit = &units[at];
        database == Some(&unit.placement.database) && !self.leaves_traces(unit)
    }

    async fn sit_down(&self, cluster: &ClusterName, database: &Ident) -> Result<Seat, Error> {
        let session = self.cx.servers.session(cluster, Some(database)).await?;
        session.require(Operation::Transaction, &format!("migrate tenants in {database}")).await?;
        let backend = session.backend().await?;
        let own = session.pooler().await?.pooling == Pooling::None;
        let number = self.seats.take(&session, Some(backend));
        Ok(Seat {
            session,
            number,
            database: database.clone(),
            sent: Cell::new(0),
            landed: Cell::new(0),
            own,
            unsealed: Unsealed::default(),
        })
    }

    /// Gives a session back; one that has touched many schemas is ended, for its memory has grown.
    async fn give_up(&self, queue: &Queue, seat: Option<Rc<Seat>>, used: usize) {
        let Some(seat) = seat else {
            return;
        };
        self.seal(queue, &seat).await;
        self.seats.leave(seat.number);
        if used >= RETIRE_AFTER
            && let Ok(seat) = Rc::try_unwrap(seat)
        {
            seat.session.retire();
        }
    }

    /// One attempt in one message.
    async fn fly(&self, unit: usize, seat: Rc<Seat>, commit: Commit) -> Flown {
        let started = Instant::now();
        let turn = seat.sent.replace(seat.sent.get() + 1);
        let (mut ended, lost) =
            self.attempt(unit, &seat.session, seat.number, commit, Lock::Open).await;
        if lost {
            // Only the one whose turn it was may have had to do with it.
            if turn != seat.landed.get()
                && matches!(&ended, Ended::Failed(applied, _) if applied.is_empty())
            {
                let cause = "the connection was lost before it was its turn".to_owned();
                ended = Ended::Again { cause, after: Duration::ZERO };
            }
        } else {
            seat.landed.set(seat.landed.get() + 1);
        }
        self.took(unit, started);
        Flown::Landed(Landed { unit, ended, lost, took: started.elapsed(), commit })
    }

    pub(super) fn took(&self, at: usize, started: Instant) {
        self.units.borrow_mut()[at].took += started.elapsed();
    }

    /// One attempt, or several where somebody else was faster. Also says whether the session was
    /// lost. It may hold the unit's lock since before the history was read.
    pub(super) async fn attempt(
        &self,
        at: usize,
        session: &Session,
        seat: usize,
        commit: Commit,
        mut lock: Lock,
    ) -> (Ended, bool) {
        loop {
            let (unit, known, leaves_traces, (repeatables, recorded)) = {
                let mut units = self.units.borrow_mut();
                let unit = &mut units[at];
                unit.attempts += 1;
                let known = self.beginnings.of(unit);
                let leaves_traces = self.leaves_traces(unit);
                let repeatables = (unit.repeatables.clone(), unit.has_repeatables);
                (unit.brief(), known, leaves_traces, repeatables)
            };
            let Some(files) = self.files.get(&unit.isolation) else {
                return (Ended::NothingToDo, false);
            };
            let target = Target {
                placement: &unit.placement,
                owner: &unit.owner,
                files,
                to: self.options.scope.to,
                limits: self.options.limits,
                lock_wait: self.options.lock_wait,
                watcher: None,
                superuser: self.seats.is_superuser(seat),
                commit,
                repeatables: Repeating { files: &repeatables, recorded },
            };
            let decided = match known.decided(files, target.to).await {
                Ok(decided) => decided,
                Err(error) => return (Ended::failed(error), false),
            };
            let known = known.history.as_ref();
            let done = pg::migrate_at_once(session, &target, known, &decided, lock).await;
            // It went with the transaction.
            lock = Lock::Open;
            if leaves_traces && let Err(error) = session.clean().await {
                log::debug!("{error}");
            }
            match done {
                Ok(applied) => return (Ended::Applied(applied), false),
                Err(NotApplied::Busy) => {
                    // It was not tried: somebody else is at it.
                    self.units.borrow_mut()[at].attempts -= 1;
                    return (self.busy(at, session, &unit.placement).await, false);
                }
                Err(NotApplied::Moved) => {
                    match pg::history(session, &unit.placement.schema).await {
                        Ok(history) => {
                            if let Some(ended) = self.decide_anew(at, history.into()) {
                                return (ended, false);
                            }
                        }
                        Err(error) => return (Ended::failed(error), false),
                    }
                }
                Err(NotApplied::Failed(applied, error)) => {
                    let lost = error.code == Code::Unreachable;
                    if lost {
                        return (self.find_out(at, &unit.placement, error, seat).await, true);
                    }
                    return (self.failed(at, applied, error, seat), false);
                }
            }
        }
    }

    /// Decides again over a history that was read again. None when there is something to do.
    pub(super) fn decide_anew(&self, at: usize, known: Known) -> Option<Ended> {
        let mut units = self.units.borrow_mut();
        let unit = &mut units[at];
        let before = unit.from;
        unit.decide(known, self.options.scope.to);
        match unit.status {
            Status::Pending => None,
            Status::UpToDate => {
                // It began further back than it is now: somebody else was faster.
                unit.from = before.or(unit.from);
                Some(Ended::NothingToDo)
            }
            _ => {
                let failure = unit.error.take();
                let error = Error::new(
                    failure.as_ref().map_or(Code::HistoryDiverged, |failure| failure.code),
                    failure.as_ref().map_or_else(String::new, |failure| failure.message.clone()),
                );
                let hints = failure.map(|failure| failure.hints).unwrap_or_default();
                Some(Ended::failed(hints.into_iter().fold(error, Error::hint)))
            }
        }
    }

    /// The connection of a seat is gone, and with it the answer: whether the transaction was
    /// committed, only the history can tell, once the server's process is gone as well.
    pub(super) async fn find_out(
        &self,
        at: usize,
        placement: &Placement,
        error: Error,
        seat: usize,
    ) -> Ended {
        let before = self.units.borrow()[at].pending.clone();
        match self.history_in_the_end(placement, self.seats.pid(seat)).await {
            Ok(history) => {
                let history = history.unwrap_or_default();
                if before.is_empty() {
                    return Ended::failed(
                        error.hint("what is repeatable is applied again by the next run"),
                    );
                }
                let (applied, left): (Vec<Version>, Vec<Version>) =
                    before.into_iter().partition(|version| history.get(*version).is_some());
                if left.is_empty() {
                    Ended::Applied(applied)
                } else {
                    Ended::Failed(applied, error)
                }
            }
            Err(unknown) => {
                log::debug!("{unknown}");
                Ended::failed(
                    error.hint("whether it was applied is unknown: see tenantctl migrate status"),
                )
            }
        }
    }

    /// The history after the last word of a process whose connection was lost: it may not have
    /// noticed that whom it works for is gone, nor even have begun with what it was told last. The
    /// server may be starting again itself.
    pub(super) async fn history_in_the_end(
        &self,
        placement: &Placement,
        process: Option<i32>,
    ) -> Result<Option<History>, Error> {
        let Placement { cluster, database, schema } = placement;
        let until = Instant::now() + self.options.lock_wait;
        let session = loop {
            match self.cx.servers.dedicated(cluster, Some(database)).await {
                Err(error) if has_no_room(&error) && Instant::now() < until => {
                    self.pause(UNREADY_PAUSE).await;
                }
                session => break session?,
            }
        };
        if let Some(process) = process {
            while pg::is_there(&session, process).await? {
                if Instant::now() >= until {
                    let what = format!("wait for process {process} of the server, which was lost");
                    return Err(Error::new(Code::LockBusy, what));
                }
                self.pause(LOOK).await;
            }
        }
        // What another session has committed may not be safe yet.
        pg::make_durable(&session).await?;
        pg::history(&session, schema).await
    }

    /// There is no session for a unit. A server that is full, or starting, may have one in a moment.
    pub(super) fn unreached(&self, at: usize, error: Error) -> Ended {
        let mut units = self.units.borrow_mut();
        let since = *units[at].held_up_since.get_or_insert_with(Instant::now);
        if !has_no_room(&error) || since.elapsed() >= self.options.lock_wait {
            return Ended::failed(error);
        }
        Ended::Again { cause: error.message, after: UNREADY_PAUSE }
    }

    /// Another tenantctl is at work on it: it may do all of it, so it is left alone for a while.
    async fn busy(&self, at: usize, session: &Session, placement: &Placement) -> Ended {
        let since = {
            let mut units = self.units.borrow_mut();
            *units[at].held_up_since.get_or_insert_with(Instant::now)
        };
        if since.elapsed() >= self.options.lock_wait {
            let key = LockKey::migrations(placement);
            return Ended::failed(pg::busy(session, &key, self.options.lock_wait).await);
        }
        let cause = "another tenantctl is at work on it".to_owned();
        Ended::Again { cause, after: BUSY_PAUSE }
    }

    /// Whether a failure passes, and the unit is tried again.
    pub(super) fn failed(
        &self,
        at: usize,
        applied: Vec<Version>,
        error: Error,
        seat: usize,
    ) -> Ended {
        let sqlstate = error.answer.as_ref().map(|answer| answer.sqlstate.clone());
        let sqlstate = sqlstate.unwrap_or_default();
        if self.cx.interrupt.is_cancelled() && sqlstate == "57014" {
            return Ended::Cancelled(applied);
        }
        if !is_passing(&sqlstate) {
            return Ended::Failed(applied, error);
        }
        let blocker = self.seats.blocker(seat);
        let attempts = {
            let mut units = self.units.borrow_mut();
            // It did begin.
            units[at].held_up_since = None;
            units[at].attempts
        };
        let who = blocker.as_deref().map_or_else(String::new, |who| format!("held by {who}"));
        if attempts >= ATTEMPTS || !self.may_begin() {
            let tried = count(usize::try_from(attempts).unwrap_or(usize::MAX), "time");
            let error = error.hint(format!("it was tried {tried}"));
            let error = match blocker {
                // Whoever ran it may know better.
                Some(who) if !error.hints.iter().any(|hint| hint.starts_with("it waited for")) => {
                    error.hint(format!("the lock is held by {who}"))
                }
                _ => error,
            };
            self.units.borrow_mut()[at].waited = Some(who).filter(|who| !who.is_empty());
            return Ended::Failed(
                applied,
                error.hint(
                    "wait for it or end it, then run the command again; or raise --lock-timeout",
                ),
            );
        }
        let said = error.answer.as_ref().map_or_else(String::new, |answer| answer.message.clone());
        let cause = if who.is_empty() { said } else { format!("{said}: {who}") };
        let chance = getrandom::u32().unwrap_or_default();
        Ended::Again { cause, after: pause(attempts, chance) }
    }
}
