//! What happens, while it happens, on stderr: bars on a terminal, plain lines elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::style::Style;
use super::terminal;
use crate::report::event::{Event, Nobody, Observer};

/// The part of the screen that progress is drawn on. Clones draw on the same part.
#[derive(Clone, Debug)]
pub struct Progress(MultiProgress);

impl Progress {
    /// Draws on stderr, or nowhere when it is no terminal.
    pub fn new(draws: bool) -> Self {
        let target =
            if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
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
        (false, true) => {
            Box::new(Bars { progress: progress.clone(), bar: Mutex::new(None), style })
        }
        (false, false) => Box::new(Lines),
    }
}

/// One plain line for each thing that is done.
struct Lines;

impl Observer for Lines {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::StepDone { what, took, .. } => {
                terminal::story(&format!("{what} ({})\n", duration(*took)));
            }
            Event::TargetDone { target, outcome, failed, took, .. } => {
                let word = if *failed { "failed" } else { "done" };
                terminal::story(&format!("{word} {target}: {outcome} ({})\n", duration(*took)));
            }
            Event::RunStarted { what, targets, .. } if *targets > 0 => {
                terminal::story(&format!("{what} {}\n", crate::model::count(*targets, "target")));
            }
            _ => {}
        }
    }
}

/// A bar for a run, a spinner for the steps of one tenant.
struct Bars {
    progress: Progress,
    bar: Mutex<Option<ProgressBar>>,
    style: Style,
}

impl Bars {
    fn with(&self, use_bar: impl FnOnce(&mut Option<ProgressBar>)) {
        use_bar(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Says what is being done, on a spinner or beside the bar that is there.
    fn spin(&self, what: &str) {
        self.with(|slot| {
            let bar = slot.get_or_insert_with(|| {
                self.styled(ProgressBar::new_spinner(), "{spinner} {wide_msg}")
            });
            bar.set_message(what.to_owned());
        });
    }

    fn styled(&self, bar: ProgressBar, template: &str) -> ProgressBar {
        let bar = self.progress.0.add(bar);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━╌"));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

impl Observer for Bars {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::RunStarted { what, targets, .. } if *targets > 0 => self.with(|slot| {
                let bar = ProgressBar::new(*targets as u64).with_message((*what).to_owned());
                *slot = Some(self.styled(bar, "{msg} {bar:30} {pos}/{len} {elapsed} eta {eta}"));
            }),
            Event::TargetDone { target, outcome, failed, .. } => self.with(|slot| {
                if let Some(bar) = slot {
                    if *failed {
                        let line = format!("{} {target}: {outcome}", self.style.bad("failed"));
                        bar.suspend(|| terminal::story(&format!("{line}\n")));
                    }
                    bar.inc(1);
                }
            }),
            Event::Working { what } => self.spin(what),
            Event::StepStarted { what, .. } => self.spin(what),
            Event::RunDone => self.with(|slot| {
                if let Some(bar) = slot.take() {
                    bar.finish_and_clear();
                }
            }),
            // The answer says what was done; on the way there the spinner is enough.
            Event::RunStarted { .. }
            | Event::WaveStarted { .. }
            | Event::Holding { .. }
            | Event::TargetStarted { .. }
            | Event::TargetWaiting { .. }
            | Event::StepDone { .. } => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
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
}
