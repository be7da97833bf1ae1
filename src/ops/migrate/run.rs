//! A run: waves one after the other, each a queue that the lanes of every cluster work off.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::beginnings::Beginnings;
use super::journal::Journal;
use super::lanes::{Ended, Queue};
use super::seats::Seats;
use super::targets::Unit;
use super::{UpOptions, answer};
use crate::error::{Code, Error};
use crate::model::count;
use crate::model::migration::Version;
use crate::model::run::RunState;
use crate::model::tenant::{ClusterName, Isolation};
use crate::model::trail::Outcome;
use crate::ops::Context;
use crate::ops::lint::{lint_pending, refuse_findings};
use crate::ops::select::Selector;
use crate::ops::trail::Deed;
use crate::pg::{self, Prepared};
use crate::plan::endurance::is_too_much;
use crate::plan::health::complaints;
use crate::plan::leaves_traces;
use crate::plan::waves::divide;
use crate::report::event::Event;
use crate::report::{MigrationRun, Status, TargetReport, Verb};

/// How often a wait looks whether it is over.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// How long a cluster may take to say how it is.
const ANSWER: Duration = Duration::from_secs(20);

/// How often a cluster that is not well is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What the audit log calls a run, whoever began it.
pub(super) const DEED: &str = "migrate up";

/// How far a run is with writing down what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Writing {
    Begins,
    /// The ledger has its session: others may take what is left.
    HasSession,
    /// It is written down, or cannot be.
    Done,
}

/// One execution over a selection of tenants.
pub(super) struct Run<'r, 'a> {
    pub(super) cx: &'r Context<'a>,
    pub(super) options: &'r UpOptions,
    pub(super) files: &'r BTreeMap<Isolation, Prepared<'a>>,
    pub(super) units: RefCell<Vec<Unit<'a>>>,
    pub(super) seats: Seats,
    pub(super) journal: Journal,
    /// Histories that many schemas have alike.
    pub(super) beginnings: Beginnings,
    /// Pending files, by model, that were found to keep the standards.
    judged: RefCell<BTreeSet<(Isolation, Vec<Version>)>>,
    /// The files, by model, after which a session must be cleaned.
    traces: BTreeMap<Isolation, BTreeSet<Version>>,
    started: Instant,
    /// How far it is with writing down what is to be done.
    writing: watch::Sender<Writing>,
    /// How many targets there is something to do for,
    targets: Cell<usize>,
    /// and how many of them failed.
    failures: Cell<usize>,
    /// Why nothing more is begun, in words.
    stopped: RefCell<Option<String>>,
}

impl<'r, 'a> Run<'r, 'a> {
    pub(super) fn new(
        cx: &'r Context<'a>,
        options: &'r UpOptions,
        files: &'r BTreeMap<Isolation, Prepared<'a>>,
        units: Vec<Unit<'a>>,
        journal: Journal,
        started: Instant,
    ) -> Self {
        Self {
            cx,
            options,
            files,
            units: RefCell::new(units),
            seats: Seats::default(),
            journal,
            beginnings: Beginnings::default(),
            judged: RefCell::default(),
            traces: traces(files),
            started,
            writing: watch::Sender::new(Writing::Begins),
            targets: Cell::new(0),
            failures: Cell::new(0),
            stopped: RefCell::default(),
        }
    }

    /// Carries it out, and says what came of it.
    pub(super) async fn carry_out(self) -> Result<MigrationRun, Error> {
        let waiting: Vec<usize> = {
            let units = self.units.borrow();
            let waits = |unit: &Unit<'_>| unit.status == Status::Pending || unit.may_lack_guard();
            (0..units.len()).filter(|at| waits(&units[*at])).collect()
        };
        if let Err(findings) = self.refuse_findings(&waiting) {
            self.journal.leave().await;
            return Err(findings);
        }
        self.targets.set(waiting.len());
        let waves = self.waves(&waiting);
        self.tell_start(&waiting);
        if self.options.resume.is_some() {
            self.journal.note_found(&self.units.borrow());
        }
        let (written, ()) = join(self.write_down(), self.work_off_all(&waves)).await;
        written?;
        self.cx.observer.on(&Event::RunDone);
        self.close().await
    }

    /// Writes down what is certain to be done, while sessions are opened and histories are read;
    /// nobody is migrated before.
    async fn write_down(&self) -> Result<(), Error> {
        let certain = self.units.borrow().iter().any(Unit::lacks_something);
        let written = if certain { self.journal.begin(self).await } else { Ok(()) };
        if let Err(error) = &written {
            self.stop(&format!("the ledger cannot be written: {error}"));
        }
        self.writes(Writing::Done);
        written
    }

    /// Tells how far it is with writing down what is to be done.
    pub(super) fn writes(&self, far: Writing) {
        self.writing.send_if_modified(|writing| {
            let is_further = *writing < far;
            *writing = (*writing).max(far);
            is_further
        });
    }

    /// Returns when it is so far with writing down what is to be done, or that has failed.
    pub(super) async fn is_written(&self, far: Writing) {
        // Whoever sends is this run.
        drop(self.writing.subscribe().wait_for(|writing| *writing >= far).await);
    }

    async fn work_off_all(&self, waves: &[(String, Vec<usize>)]) {
        let several = waves.len() > 1;
        for (at, (name, wave)) in waves.iter().enumerate() {
            if at > 0 && !self.pass_gate(&waves[at - 1].0).await {
                break;
            }
            if several {
                let targets = wave.len();
                self.cx.observer.on(&Event::WaveStarted { number: at + 1, name, targets });
            }
            self.work_off(wave).await;
            if !self.may_begin() {
                break;
            }
        }
    }

    /// Refuses files that break the standards, before anything is touched.
    fn refuse_findings(&self, waiting: &[usize]) -> Result<(), Error> {
        waiting.iter().try_for_each(|at| self.judge(*at))
    }

    /// Refuses files that a unit lacks and that break the standards.
    pub(super) fn judge(&self, at: usize) -> Result<(), Error> {
        let units = self.units.borrow();
        let unit = &units[at];
        if self.options.allow_lint || unit.pending.is_empty() {
            return Ok(());
        }
        let files = (unit.isolation, unit.pending.clone());
        if self.judged.borrow().contains(&files) {
            return Ok(());
        }
        let pending: BTreeSet<Version> = unit.pending.iter().copied().collect();
        let findings = lint_pending(self.cx.fleet, unit.set, unit.isolation, &pending);
        refuse_findings(&findings)
            .map_err(|error| error.hint("or apply them as they are: --allow-lint"))?;
        self.judged.borrow_mut().insert(files);
        Ok(())
    }

    fn waves(&self, waiting: &[usize]) -> Vec<(String, Vec<usize>)> {
        let units = self.units.borrow();
        let names: Vec<String> = waiting.iter().map(|at| units[*at].name()).collect();
        let fits = |at: usize, selector: &str| {
            // The command line has read every selector; one that cannot be read takes nobody.
            let selector: Option<Selector> = selector.parse().ok();
            let unit = &units[waiting[at]];
            selector.is_some_and(|selector| unit.tenants.iter().any(|one| selector.fits(one)))
        };
        divide(&self.options.waves, &names, fits)
            .into_iter()
            .map(|(name, places)| (name, places.into_iter().map(|at| waiting[at]).collect()))
            .collect()
    }

    fn tell_start(&self, waiting: &[usize]) {
        let units = self.units.borrow();
        let mut clusters: BTreeMap<ClusterName, usize> = BTreeMap::new();
        let pending = || waiting.iter().filter(|at| units[**at].status == Status::Pending);
        for at in pending() {
            *clusters.entry(units[*at].placement.cluster.clone()).or_default() += 1;
        }
        let clusters: Vec<(ClusterName, usize)> = clusters.into_iter().collect();
        self.cx.observer.on(&Event::RunStarted {
            what: "migrate",
            run: Some(self.journal.id()),
            targets: pending().count(),
            clusters: &clusters,
        });
    }

    /// Whether another target may be begun.
    pub(super) fn may_begin(&self) -> bool {
        if self.options.max_duration.is_some_and(|limit| self.started.elapsed() >= limit) {
            self.stop("the time that --max-duration allows is up");
        }
        if let Some(error) = self.journal.failed() {
            self.stop(&format!("the ledger cannot be written: {error}"));
        }
        !self.cx.interrupt.is_raised() && self.stopped.borrow().is_none()
    }

    /// Begins nothing more. The first reason stays.
    pub(super) fn stop(&self, why: &str) {
        self.stopped.borrow_mut().get_or_insert_with(|| why.to_owned());
    }

    /// Works off one wave: on every cluster at once, so many targets at a time.
    async fn work_off(&self, wave: &[usize]) {
        let mut clusters: BTreeMap<ClusterName, Vec<usize>> = BTreeMap::new();
        {
            let units = self.units.borrow();
            for at in wave {
                clusters.entry(units[*at].placement.cluster.clone()).or_default().push(*at);
            }
        }
        let clusters: Vec<(ClusterName, Queue)> =
            clusters.into_iter().map(|(cluster, units)| (cluster, Queue::new(units))).collect();
        join_all(clusters.iter().map(|(cluster, queue)| self.work_on(cluster, queue))).await;
    }

    /// What came of one attempt at a unit. Returns after how long it is to be tried again, if it is.
    pub(super) fn settle(&self, at: usize, ended: Ended) -> Option<Duration> {
        let mut units = self.units.borrow_mut();
        let unit = &mut units[at];
        let again = match ended {
            Ended::Applied(applied) => {
                unit.finish(applied);
                unit.status = Status::Applied;
                None
            }
            Ended::NothingToDo => {
                unit.repeatables.clear();
                // An attempt before this one may have done some of it.
                let had_all = unit.applied.is_empty();
                unit.status = if had_all { Status::UpToDate } else { Status::Applied };
                None
            }
            Ended::Missing => {
                unit.miss();
                None
            }
            Ended::Gone(error) => {
                unit.unreadable(&error);
                None
            }
            Ended::Failed(applied, error) => {
                unit.finish(applied);
                unit.fail(&error);
                None
            }
            Ended::Cancelled(applied) => {
                unit.finish(applied);
                unit.status = Status::Pending;
                unit.waited = Some("cancelled by the user".to_owned());
                self.journal.note(unit);
                return None;
            }
            Ended::Again { cause, after } => {
                // Who is held up for long says so once.
                let told = unit.held_up_since.is_some() && unit.waited.as_ref() == Some(&cause);
                unit.waited = Some(cause);
                if told {
                    return Some(after);
                }
                Some(after)
            }
        };
        if let Some(after) = again {
            self.journal.note_waiting(unit);
            self.cx.observer.on(&Event::TargetWaiting {
                cluster: &unit.placement.cluster,
                target: &unit.name(),
                cause: unit.waited.as_deref().unwrap_or_default(),
                attempts: unit.attempts,
            });
            return Some(after);
        }
        let failed = unit.error.is_some();
        if !unit.begun && !failed {
            // It was only looked at.
            return None;
        }
        self.journal.note(unit);
        let rows: Vec<TargetReport> = unit.reports().collect();
        self.cx.observer.on(&Event::TargetDone {
            cluster: Some(&unit.placement.cluster),
            target: &unit.name(),
            rows: &rows,
            outcome: unit.outcome(),
            failed,
            took: unit.took,
        });
        if failed {
            self.endure();
        }
        None
    }

    fn endure(&self) {
        let failed = self.failures.get() + 1;
        self.failures.set(failed);
        if self.options.stop_on_error {
            self.stop("a target failed, and --on-error is stop");
        } else if is_too_much(failed, self.targets.get(), self.options.max_failures)
            && let Some(allowed) = self.options.max_failures
        {
            let failed = count(failed, "target");
            self.stop(&format!("{failed} failed, more than the {allowed} of --max-failures"));
        }
    }

    /// Watches what a wave has done, and waits until every cluster is well. Returns whether the next
    /// wave may begin.
    async fn pass_gate(&self, wave: &str) -> bool {
        if self.failures.get() > 0 && self.options.max_failures.is_none() {
            self.stop(&format!("a target failed in wave {wave}, and no --max-failures allows it"));
        }
        if !self.options.soak.is_zero() {
            let seconds = self.options.soak.as_secs_f32();
            let what = format!("watching wave {wave} for {seconds} s before the next");
            self.cx.observer.on(&Event::Holding { what: &what });
            let until = Instant::now() + self.options.soak;
            while Instant::now() < until && self.may_begin() {
                self.pause(until.saturating_duration_since(Instant::now()).min(LOOK)).await;
            }
        }
        let clusters: Vec<ClusterName> = {
            let units = self.units.borrow();
            let mut clusters: Vec<_> =
                units.iter().map(|unit| unit.placement.cluster.clone()).collect();
            clusters.sort();
            clusters.dedup();
            clusters
        };
        let until = Instant::now() + self.options.gate_wait;
        while self.may_begin() {
            let complaints = self.complaints(&clusters).await;
            if complaints.is_empty() {
                return true;
            }
            if Instant::now() >= until {
                self.stop(&format!("the next wave may not begin: {}", complaints.join("; ")));
                break;
            }
            let what = format!("waiting with the next wave: {}", complaints.join("; "));
            self.cx.observer.on(&Event::Holding { what: &what });
            let pause = ASK_AGAIN.min(until.saturating_duration_since(Instant::now()));
            let next = Instant::now() + pause;
            while Instant::now() < next && self.may_begin() {
                self.pause(LOOK).await;
            }
        }
        false
    }

    async fn complaints(&self, clusters: &[ClusterName]) -> Vec<String> {
        let mut found = Vec::new();
        for cluster in clusters {
            let load = async {
                let session = self.cx.servers.session(cluster, None).await?;
                pg::load(&session).await
            };
            let load = timeout(ANSWER, load).await.unwrap_or_else(|late| {
                let what = format!("ask how cluster {cluster} is: it does not answer");
                Err(Error::new(Code::Unreachable, what).because(late))
            });
            match load {
                Ok(load) => found.extend(
                    complaints(&load, &self.options.gate)
                        .into_iter()
                        .map(|complaint| format!("cluster {cluster}: {complaint}")),
                ),
                Err(error) => found.push(format!("cluster {cluster}: {error}")),
            }
        }
        found
    }

    pub(super) async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Whether what a unit needs leaves something in the session that applies it.
    pub(super) fn leaves_traces(&self, unit: &Unit<'_>) -> bool {
        let traces = self.traces.get(&unit.isolation);
        traces.is_some_and(|traces| unit.pending.iter().any(|version| traces.contains(version)))
            || unit.repeatables.iter().any(|file| leaves_traces(&file.sql))
    }

    async fn close(self) -> Result<MigrationRun, Error> {
        let interrupted = self.cx.interrupt.is_raised();
        let stopped = self.stopped.borrow_mut().take();
        let units = self.units.into_inner();
        // Nobody waits for them any more.
        for unit in units.iter().filter(|unit| unit.status == Status::Pending) {
            if unit.begun || unit.waited.is_some() {
                self.journal.note(unit);
            }
        }
        let left = units.iter().any(|unit| unit.status == Status::Pending);
        let state = if interrupted {
            RunState::Interrupted
        } else if stopped.is_some() && left {
            RunState::Stopped
        } else if units.iter().any(|unit| unit.error.is_some()) {
            RunState::Failed
        } else {
            RunState::Done
        };
        let run = self.journal.close(state).await?;
        let answer = answer(self.cx, Verb::Up, &units, false, self.started);
        if let Some(run) = run {
            account(self.cx, run, state, &answer).await;
        }
        Ok(MigrationRun {
            run,
            interrupted,
            stopped: stopped.filter(|_| left),
            resumable: run.is_some(),
            ..answer
        })
    }
}

/// Writes into the audit log how the run ended. The ledger has it already: a log that cannot be
/// written is told, and no failure of the run.
async fn account(cx: &Context<'_>, run: Uuid, state: RunState, answer: &MigrationRun) {
    let (cluster, database) = &cx.fleet.registry;
    let session = match cx.servers.session(cluster, Some(database)).await {
        Ok(session) => session,
        Err(lost) => {
            log::warn!("run {run} is {} and the audit log does not say so: {lost}", state.word());
            return;
        }
    };
    let summary = answer.summary();
    let outcome = if state == RunState::Done { Outcome::Done } else { Outcome::Failed };
    let after = json!({
        "run": state.word(),
        "ok": summary.ok,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "pending": summary.pending,
    });
    let deed = Deed::new(cx, DEED, None).run(run);
    deed.close(cx, &session, outcome, after, None).await;
}

fn traces(files: &BTreeMap<Isolation, Prepared<'_>>) -> BTreeMap<Isolation, BTreeSet<Version>> {
    files
        .iter()
        .map(|(isolation, files)| {
            let migrations = files.set().migrations().iter();
            let leave = migrations.filter(|migration| leaves_traces(&migration.sql));
            (*isolation, leave.map(|migration| migration.version).collect())
        })
        .collect()
}
