//! What happens, while it happens, on stderr: bars on a terminal, plain lines elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::bars::{self, Screen, and_more, rough};
use super::board::{Board, Run};
use super::canvas::Canvas;
use super::pulse::Pulse;
use super::style::Style;
use super::terminal;
use crate::model::count;
use crate::report::Status;
use crate::report::event::{Event, Nobody, Observer};

/// The part of the screen that progress is drawn on. Clones draw on the same part.
#[derive(Clone, Debug)]
pub struct Progress(MultiProgress);

impl Progress {
    /// Draws on stderr, or nowhere when it is no terminal.
    pub fn new(draws: bool) -> Self {
        let target = if draws {
            ProgressDrawTarget::term_like(Box::new(Canvas::stderr()))
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(MultiProgress::with_draw_target(target))
    }

    /// Takes the bars away while something else is written.
    pub fn suspend(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }
}

/// The observer that fits: bars on a terminal, lines without one, nothing when quiet.
pub fn observer(
    progress: &Progress,
    terminal: bool,
    quiet: bool,
    style: Style,
) -> Box<dyn Observer> {
    match (quiet, terminal) {
        (true, _) => Box::new(Nobody),
        (false, true) => Box::new(Bars::new(progress, style)),
        (false, false) => Box::new(Lines::new(SILENCE, terminal::story)),
    }
}

/// Locks, also when somebody panicked while they held it: progress is no reason to fail.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After so long without a word, plain lines say that the operation lives.
const SILENCE: Duration = Duration::from_secs(30);

/// One plain line for each thing that is done, and one now and then while nothing is.
struct Lines {
    told: Arc<Mutex<Told>>,
    say: fn(&str),
    _pulse: Pulse,
}

struct Told {
    board: Board,
    begun: Instant,
    last: Instant,
}

impl Lines {
    fn new(silence: Duration, say: fn(&str)) -> Self {
        let now = Instant::now();
        let told = Arc::new(Mutex::new(Told { board: Board::default(), begun: now, last: now }));
        let heard = Arc::clone(&told);
        let pulse = Pulse::every(silence / 10, move || {
            let now = Instant::now();
            let mut told = locked(&heard);
            if now.duration_since(told.last) >= silence {
                told.last = now;
                say(&format!("{}\n", heartbeat(&told.board, told.begun, now)));
            }
        });
        Self { told, say, _pulse: pulse }
    }
}

impl Observer for Lines {
    fn on(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut told = locked(&self.told);
        let line = line(&told.board, event);
        told.board.take(event, now);
        if let Some(line) = line {
            told.last = now;
            // While the lock is held: lines stand in the order of what they tell.
            (self.say)(&format!("{line}\n"));
        }
    }
}

/// What a plain line says of an event; the board is as it was before.
fn line(board: &Board, event: &Event<'_>) -> Option<String> {
    match event {
        Event::Announced { what } => Some((*what).to_owned()),
        Event::StepDone { what, took, .. } => Some(format!("{what} ({})", duration(*took))),
        // It was looked at, and had everything.
        Event::TargetDone { rows: [first, rest @ ..], .. }
            if first.status == Status::UpToDate
                && rest.iter().all(|row| row.status == Status::UpToDate) =>
        {
            None
        }
        Event::TargetDone { target, outcome, failed, took, .. } => {
            let word = if *failed { "failed" } else { "done" };
            Some(format!("{word} {target}: {outcome} ({})", duration(*took)))
        }
        Event::RunStarted { what, targets, .. } if *targets > 0 => {
            Some(format!("{what} {}", count(*targets, "target")))
        }
        Event::WaveStarted { number, name, targets } => {
            Some(format!("wave {number} ({name}): {}", count(*targets, "target")))
        }
        Event::Holding { what } => {
            // How long is left may be said anew every second; that it holds is said once.
            let holds = board.run.as_ref().is_some_and(|run| run.holding.is_some());
            (!holds).then(|| format!("holding {what}"))
        }
        Event::TargetWaiting { target, cause, .. } => {
            let waits = board.run.as_ref().is_some_and(|run| run.waited_for(target, cause));
            (!waits).then(|| format!("waiting {target}: {cause}"))
        }
        _ => None,
    }
}

/// That the operation lives, and what it is at.
fn heartbeat(board: &Board, begun: Instant, now: Instant) -> String {
    match (&board.run, &board.working) {
        (Some(run), _) => heartbeat_of(run, now),
        (None, Some(what)) => format!("still {what} ({})", rough(now.duration_since(begun))),
        (None, None) => format!("still working ({})", rough(now.duration_since(begun))),
    }
}

fn heartbeat_of(run: &Run, now: Instant) -> String {
    let so_long = rough(now.duration_since(run.begun));
    let mut text = format!("after {so_long}: {} of {} done", run.total.done, run.total.targets);
    if run.total.failed > 0 {
        text.push_str(&format!(", {} failed", run.total.failed));
    }
    if let Some((target, so_long)) = run.longest(now) {
        let number = run.in_flight.len();
        text.push_str(&format!(", {number} in flight, {target} for {}", rough(so_long)));
    }
    if let Some(what) = run.come_to() {
        text.push_str(&format!(" ({what})"));
    }
    if let Some((what, since)) = &run.holding {
        text.push_str(&format!("; holding {what} ({})", rough(now.duration_since(*since))));
    }
    for (cause, first, number) in run.waits() {
        text.push_str(&format!("; waiting {}: {cause}", and_more(first, number)));
    }
    text
}

/// How often bars are drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// Bars and what stands above them. Events only change the board; it is drawn at its own pace, so
/// that a thousand targets a second cost no thousand drawings.
struct Bars {
    board: Arc<Mutex<Board>>,
    area: ProgressBar,
    pulse: Option<Pulse>,
}

impl Bars {
    fn new(progress: &Progress, style: Style) -> Self {
        let board = Arc::new(Mutex::new(Board::default()));
        let area = progress.0.add(ProgressBar::new_spinner());
        if let Ok(whole) = ProgressStyle::with_template("{msg}") {
            area.set_style(whole);
        }
        let (shown, canvas) = (Arc::clone(&board), area.clone());
        let mut last = Vec::new();
        let pulse = Pulse::every(FRAME, move || {
            let (lines, columns) = console::Term::stderr().size();
            let screen = Screen { columns: columns.into(), lines: lines.into() };
            let lines = bars::lines(&locked(&shown), Instant::now(), screen, &style);
            if lines != last {
                canvas.set_message(lines.join("\n"));
                canvas.tick();
                last = lines;
            }
        });
        Self { board, area, pulse: Some(pulse) }
    }
}

impl Observer for Bars {
    fn on(&self, event: &Event<'_>) {
        if let Event::Announced { what } = event {
            self.area.suspend(|| terminal::story(&format!("{what}\n")));
        }
        locked(&self.board).take(event, Instant::now());
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // First nobody draws any more, then the screen is given back.
        drop(self.pulse.take());
        self.area.finish_and_clear();
    }
}

/// A duration as people read it: `12 ms`, `3.4 s`, `2 min 5 s`.
pub(super) fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else if seconds < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(Duration::from_millis(12)), "12 ms");
        assert_eq!(duration(Duration::from_millis(3_420)), "3.4 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
    }

    use super::super::board::tests::{done, failed, row};
    use crate::model::tenant::ClusterName;
    use crate::report::Status;

    static SAID: Mutex<String> = Mutex::new(String::new());

    #[test]
    fn no_silence_is_long_without_a_terminal() {
        let eu = ClusterName::new("eu-1").unwrap();
        let lines = Lines::new(Duration::from_millis(50), |text| locked(&SAID).push_str(text));
        let until = |words: &str| {
            let begun = Instant::now();
            while !locked(&SAID).contains(words) {
                assert!(begun.elapsed() < Duration::from_secs(20), "{}", locked(&SAID));
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        until("still working (0 s)\n");
        lines.on(&Event::Working { what: "reading 3 histories" });
        until("still reading 3 histories (0 s)\n");
        lines.on(&Event::RunStarted { what: "migrate", run: None, targets: 3, clusters: &[] });
        lines.on(&Event::TargetStarted { cluster: Some(&eu), target: "cat" });
        let waiting =
            Event::TargetWaiting { cluster: &eu, target: "cat", cause: "pid 7", attempts: 1 };
        lines.on(&waiting);
        lines.on(&waiting);
        until("after 0 s: 0 of 3 done, 1 in flight, cat for 0 s; waiting cat: pid 7\n");
        lines.on(&done(&eu, &[failed("cat", "tags")]));
        lines.on(&done(&eu, &[row("dog", Status::Applied)]));
        lines.on(&Event::Holding { what: "a soak of 1 s" });
        lines.on(&Event::Holding { what: "a soak of 1 s" });
        until("after 0 s: 2 of 3 done, 1 failed; holding a soak of 1 s (0 s)\n");
        drop(lines);
        let said = locked(&SAID).clone();
        std::thread::sleep(Duration::from_millis(120));
        assert_eq!(*locked(&SAID), said, "it speaks after its end");
        let once = |line: &str| assert_eq!(said.lines().filter(|said| *said == line).count(), 1);
        once("migrate 3 targets");
        once("waiting cat: pid 7");
        once("holding a soak of 1 s");
        once("done dog: V1 → V2 (1 migration) (12 ms)");
    }
}
