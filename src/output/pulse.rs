//! Something that is done again and again while something else goes on.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Does something at an interval, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Pulse {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Begins, one interval from now. A machine that cannot start a thread goes without.
    pub(super) fn every(interval: Duration, mut beat: impl FnMut() + Send + 'static) -> Self {
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("pulse".to_owned()).spawn(move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                beat();
            }
        });
        Self { end: Some(end), thread: thread.ok() }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A beat that panicked has said so itself.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn it_beats_until_it_is_dropped() {
        let beats = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&beats);
        let pulse = Pulse::every(Duration::from_millis(1), move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        while beats.load(Ordering::Relaxed) < 3 {
            thread::yield_now();
        }
        drop(pulse);
        let last = beats.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(beats.load(Ordering::Relaxed), last);
    }
}
