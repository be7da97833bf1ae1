//! What is known of an operation while it runs: told by events, read by bars and by plain lines.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::model::tenant::ClusterName;
use crate::report::TargetReport;
use crate::report::event::Event;

/// How an operation stands. The clock is the caller's.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The run, between its beginning and its end.
    pub(super) run: Option<Run>,
    /// What is done that belongs to no run.
    pub(super) working: Option<String>,
}

/// A run over targets.
#[derive(Debug)]
pub(super) struct Run {
    /// What it does: `migrate`.
    pub(super) what: String,
    /// When it began.
    pub(super) begun: Instant,
    /// All its targets.
    pub(super) total: Tally,
    /// The targets of each cluster, for a run over several.
    pub(super) clusters: Vec<(ClusterName, Tally)>,
    /// The wave that is under way: its number and name.
    pub(super) wave: Option<(usize, String)>,
    /// What the run waits for before it begins anything else, and since when.
    pub(super) holding: Option<(String, Instant)>,
    /// What has begun and not ended.
    pub(super) in_flight: BTreeMap<String, Flight>,
    /// Each failure once.
    pub(super) failures: Vec<Struck>,
}

/// A target that has begun and not ended.
#[derive(Debug)]
pub(super) struct Flight {
    /// When it began.
    pub(super) begun: Instant,
    /// Where.
    cluster: Option<ClusterName>,
    /// Whom or what it waits for.
    pub(super) waits: Option<String>,
    /// What it waited for last, also when it is being tried again.
    waited: Option<String>,
    /// How far it has come.
    at: Option<String>,
}

/// A failure, and whom it struck.
#[derive(Debug)]
pub(super) struct Struck {
    /// What makes two failures one.
    alike: String,
    /// The first target that it struck.
    pub(super) first: String,
    /// The failure in one line.
    pub(super) said: String,
    /// How many it struck.
    pub(super) targets: usize,
}

/// Targets, counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// How many there are.
    pub(super) targets: usize,
    /// How many have ended, well or badly.
    pub(super) done: usize,
    /// How many of them badly.
    pub(super) failed: usize,
    pace: Pace,
}

impl Tally {
    fn new(targets: usize, now: Instant) -> Self {
        Self { targets, done: 0, failed: 0, pace: Pace::since(now, 0) }
    }

    fn take(&mut self, failed: bool, now: Instant) {
        self.done += 1;
        self.failed += usize::from(failed);
        self.pace.take(self.done, now);
    }

    /// Targets per second, of late.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        self.pace.rate(self.done, now)
    }

    /// How long the rest takes when nothing changes.
    pub(super) fn eta(&self, now: Instant) -> Option<Duration> {
        let left = self.targets.saturating_sub(self.done);
        let rate = self.rate(now).filter(|_| left > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "no fleet has 2^52 tenants")]
        Duration::try_from_secs_f64(left as f64 / rate).ok()
    }
}

/// So far back the rate looks: long enough to be calm, short enough to notice a change.
const WINDOW: Duration = Duration::from_secs(30);
/// How often the rate remembers.
const GRAIN: Duration = Duration::from_millis(500);

/// How fast targets are done of late.
#[derive(Debug)]
struct Pace(VecDeque<(Instant, usize)>);

impl Pace {
    /// From now on, when so many are done.
    fn since(now: Instant, done: usize) -> Self {
        Self(VecDeque::from([(now, done)]))
    }

    fn take(&mut self, done: usize, now: Instant) {
        if self.0.back().is_none_or(|(at, _)| now.duration_since(*at) >= GRAIN) {
            self.0.push_back((now, done));
        }
        // The last that is older than the window stays: the window begins there.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
    }

    fn rate(&self, done: usize, now: Instant) -> Option<f64> {
        let (since, before) = self.0.front()?;
        let seconds = now.duration_since(*since).as_secs_f64();
        let progress = done.saturating_sub(*before);
        #[expect(clippy::cast_precision_loss, reason = "no fleet has 2^52 tenants")]
        (progress > 0 && seconds > 0.0).then(|| progress as f64 / seconds)
    }
}

impl Board {
    /// Takes note of an event.
    pub(super) fn take(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::RunStarted { what, targets, clusters, .. } => {
                self.run =
                    (*targets > 0).then(|| Run::new((*what).to_owned(), *targets, clusters, now));
            }
            Event::Working { what } => self.working = Some((*what).to_owned()),
            Event::StepStarted { what, .. } => self.working = Some(what.clone()),
            Event::StepDone { .. } | Event::Announced { .. } => self.working = None,
            Event::RunDone => *self = Self::default(),
            Event::WaveStarted { .. }
            | Event::Holding { .. }
            | Event::TargetStarted { .. }
            | Event::TargetWorking { .. }
            | Event::TargetWaiting { .. }
            | Event::TargetDone { .. } => {
                if let Some(run) = &mut self.run {
                    run.take(event, now);
                }
            }
        }
    }
}

impl Run {
    fn new(what: String, targets: usize, clusters: &[(ClusterName, usize)], now: Instant) -> Self {
        let tally =
            |(name, targets): &(ClusterName, usize)| (name.clone(), Tally::new(*targets, now));
        Self {
            what,
            begun: now,
            total: Tally::new(targets, now),
            clusters: clusters.iter().map(tally).collect(),
            wave: None,
            holding: None,
            in_flight: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    fn take(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::WaveStarted { number, name, .. } => {
                self.wave = Some((*number, (*name).to_owned()));
                self.go_on(now);
            }
            Event::Holding { what } => {
                let since = self.holding.take().map_or(now, |(_, since)| since);
                self.holding = Some(((*what).to_owned(), since));
            }
            Event::TargetStarted { cluster, target } => {
                self.go_on(now);
                self.flight(*cluster, target, now).waits = None;
            }
            Event::TargetWorking { cluster, target, what } => {
                self.flight(*cluster, target, now).at = Some((*what).to_owned());
            }
            Event::TargetWaiting { cluster, target, cause, .. } => {
                let flight = self.flight(Some(cluster), target, now);
                flight.waits = Some((*cause).to_owned());
                flight.waited.clone_from(&flight.waits);
            }
            Event::TargetDone { cluster, target, rows, outcome, failed, .. } => {
                self.in_flight.remove(&key(*cluster, target));
                self.total.take(*failed, now);
                let own = self.clusters.iter_mut().find(|(name, _)| Some(name) == *cluster);
                if let Some((_, tally)) = own {
                    tally.take(*failed, now);
                }
                if *failed {
                    self.strike(target, rows, outcome);
                }
            }
            _ => {}
        }
    }

    /// Ends the holding. The time that it took says nothing about how fast targets are done.
    fn go_on(&mut self, now: Instant) {
        if self.holding.take().is_some() {
            let clusters = self.clusters.iter_mut().map(|(_, tally)| tally);
            for tally in clusters.chain([&mut self.total]) {
                tally.pace = Pace::since(now, tally.done);
            }
        }
    }

    fn flight(&mut self, cluster: Option<&ClusterName>, target: &str, now: Instant) -> &mut Flight {
        self.in_flight.entry(key(cluster, target)).or_insert_with(|| Flight {
            begun: now,
            cluster: cluster.cloned(),
            waits: None,
            waited: None,
            at: None,
        })
    }

    fn strike(&mut self, target: &str, rows: &[TargetReport], outcome: &str) {
        let row = rows.iter().find(|row| row.error.is_some());
        let alike = row.and_then(TargetReport::failure_alike);
        let alike = alike.unwrap_or_else(|| outcome.to_owned());
        match self.failures.iter_mut().find(|known| known.alike == alike) {
            Some(known) => known.targets += 1,
            None => {
                let said = row.map_or_else(|| outcome.to_owned(), in_one_line);
                self.failures.push(Struck { alike, first: target.to_owned(), said, targets: 1 });
            }
        }
    }

    /// How many targets wait for somebody, on one cluster or on all.
    pub(super) fn waiting(&self, cluster: Option<&ClusterName>) -> usize {
        self.in_flight
            .values()
            .filter(|flight| flight.waits.is_some())
            .filter(|flight| cluster.is_none() || flight.cluster.as_ref() == cluster)
            .count()
    }

    /// Whether it is known already that a target waits for this, or did before it was tried again.
    pub(super) fn waited_for(&self, target: &str, cause: &str) -> bool {
        self.in_flight
            .iter()
            .any(|(key, flight)| name(key) == target && flight.waited.as_deref() == Some(cause))
    }

    /// Those that wait, by what they wait for: the first target, and how many there are.
    pub(super) fn waits(&self) -> Vec<(&str, &str, usize)> {
        let mut waits: Vec<(&str, &str, usize)> = Vec::new();
        for (target, flight) in &self.in_flight {
            let Some(cause) = &flight.waits else { continue };
            match waits.iter_mut().find(|(known, ..)| known == cause) {
                Some((.., number)) => *number += 1,
                None => waits.push((cause, name(target), 1)),
            }
        }
        waits
    }

    /// The target that began first of those that have not ended.
    pub(super) fn longest(&self, now: Instant) -> Option<(&str, Duration)> {
        let (target, flight) = self.in_flight.iter().min_by_key(|(_, flight)| flight.begun)?;
        Some((name(target), now.duration_since(flight.begun)))
    }

    /// How far the target has come that began first.
    pub(super) fn come_to(&self) -> Option<&str> {
        self.in_flight.values().min_by_key(|flight| flight.begun)?.at.as_deref()
    }
}

/// Two clusters may have targets of one name.
fn key(cluster: Option<&ClusterName>, target: &str) -> String {
    format!("{}\n{target}", cluster.map_or("", ClusterName::as_str))
}

fn name(key: &str) -> &str {
    key.split_once('\n').map_or(key, |(_, target)| target)
}

/// A failure in one line: the place, and what the server said.
pub(super) fn in_one_line(target: &TargetReport) -> String {
    let Some(failure) = &target.error else {
        return String::new();
    };
    let message = failure.message.lines().next().unwrap_or_default();
    let Some(path) = &failure.file else {
        return message.to_owned();
    };
    // The place stands in front: what was attempted names the file once more, with its directories.
    let said = match message.split_once(": ") {
        Some((attempt, said)) if attempt.contains(path.as_str()) => said,
        _ => message,
    };
    let file = path.rsplit('/').next().unwrap_or(path);
    let line = failure.line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{file}{line}: {said}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::error::{Code, Error, Location, ServerAnswer};
    use crate::model::ident::Ident;
    use crate::model::tenant::{Isolation, Placement, TenantId};
    use crate::report::{Failure, Status};

    pub(in crate::output) fn row(id: &str, status: Status) -> TargetReport {
        let placement = Placement {
            cluster: ClusterName::new("eu-1").unwrap(),
            database: Ident::new("app").unwrap(),
            schema: Ident::new(format!("tenant_{id}")).unwrap(),
        };
        let mut row = TargetReport::new(TenantId::new(id).unwrap(), Isolation::Schema, placement);
        row.status = status;
        row
    }

    pub(in crate::output) fn failed(id: &str, table: &str) -> TargetReport {
        let mut row = row(id, Status::Failed);
        let file = "/srv/migrations/tenant/V2__tags.sql";
        let error = Error::new(Code::Server, format!("apply {file} to tenant_{id}"))
            .answered(ServerAnswer {
                sqlstate: "42P07".to_owned(),
                message: format!("relation \"{table}\" already exists"),
                ..ServerAnswer::default()
            })
            .at(Location { file: file.to_owned(), line: 3, column: 1 });
        row.error = Some(Failure::from(&error));
        row
    }

    pub(in crate::output) fn done<'a>(
        cluster: &'a ClusterName,
        rows: &'a [TargetReport],
    ) -> Event<'a> {
        let failed = rows[0].error.is_some();
        Event::TargetDone {
            cluster: Some(cluster),
            target: rows[0].tenant.as_str(),
            rows,
            outcome: "V1 → V2 (1 migration)".to_owned(),
            failed,
            took: Duration::from_millis(12),
        }
    }

    #[test]
    fn the_rate_is_that_of_late() {
        let begun = Instant::now();
        let mut tally = Tally::new(1_000, begun);
        assert_eq!(tally.rate(begun), None);
        // Ten a second for a minute, then one a second.
        for at in 0..600 {
            tally.take(false, begun + Duration::from_millis(at * 100));
        }
        let then = begun + Duration::from_mins(1);
        assert!((tally.rate(then).unwrap() - 10.0).abs() < 0.5, "{:?}", tally.rate(then));
        for at in 0..60 {
            tally.take(false, then + Duration::from_secs(at));
        }
        let then = then + Duration::from_mins(1);
        assert!((tally.rate(then).unwrap() - 1.0).abs() < 0.2, "{:?}", tally.rate(then));
        assert!(tally.eta(then).unwrap() > Duration::from_mins(4));
        assert!(tally.pace.0.len() < 80, "{}", tally.pace.0.len());
    }

    #[test]
    fn nothing_is_left_to_wait_for_when_all_is_done() {
        let begun = Instant::now();
        let mut tally = Tally::new(1, begun);
        tally.take(true, begun + Duration::from_secs(1));
        assert_eq!(tally.eta(begun + Duration::from_secs(2)), None);
    }

    #[test]
    fn a_soak_is_not_counted_against_the_rate() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let eu = ClusterName::new("eu-1").unwrap();
        let mut board = Board::default();
        board.take(
            &Event::RunStarted { what: "migrate", run: None, targets: 9, clusters: &[] },
            begun,
        );
        board.take(&Event::Holding { what: "a soak" }, begun);
        board.take(&Event::TargetStarted { cluster: Some(&eu), target: "cat" }, at(600));
        board.take(&done(&eu, &[row("cat", Status::Applied)]), at(602));
        assert_eq!(board.run.unwrap().total.rate(at(602)), Some(0.5));
    }

    #[test]
    fn a_run_that_holds_goes_on_with_its_next_target() {
        let now = Instant::now();
        let mut board = Board::default();
        let eu = ClusterName::new("eu-1").unwrap();
        board.take(
            &Event::RunStarted { what: "migrate", run: None, targets: 2, clusters: &[] },
            now,
        );
        board.take(&Event::Holding { what: "a soak" }, now);
        assert!(board.run.as_ref().unwrap().holding.is_some());
        board.take(&Event::TargetStarted { cluster: Some(&eu), target: "dog" }, now);
        let run = board.run.as_ref().unwrap();
        assert!(run.holding.is_none());
        assert_eq!(run.longest(now), Some(("dog", Duration::ZERO)));
        let waiting =
            Event::TargetWaiting { cluster: &eu, target: "dog", cause: "pid 7", attempts: 1 };
        board.take(&waiting, now);
        assert_eq!(board.run.as_ref().unwrap().waits(), [("pid 7", "dog", 1)]);
        board.take(&done(&eu, &[failed("dog", "tags")]), now);
        let run = board.run.as_ref().unwrap();
        assert_eq!((run.total.done, run.total.failed, run.waiting(None)), (1, 1, 0));
        assert_eq!(run.failures[0].said, "V2__tags.sql:3: relation \"tags\" already exists");
        board.take(&Event::RunDone, now);
        assert!(board.run.is_none());
    }
}
