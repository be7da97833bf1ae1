//! The wish to stop: heard between steps, so that nothing is left half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Code, Error};

/// A wish to stop that any part of an operation can hear. Clones hear the same wish.
///
/// The first wish lets what was begun finish. A second one asks to cancel it, where somebody can:
/// who cannot is ended.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Wishes>);

#[derive(Debug, Default)]
struct Wishes {
    stop: AtomicBool,
    cancel: AtomicBool,
    cancels: AtomicBool,
}

impl Interrupt {
    /// Asks to stop.
    pub fn raise(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    pub fn is_raised(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Says that the running operation hears [`Self::cancel`], or no longer does.
    pub fn set_cancels(&self, cancels: bool) {
        self.0.cancels.store(cancels, Ordering::Relaxed);
    }

    /// Asks to cancel what is running. Returns whether there is somebody to hear it.
    pub fn cancel(&self) -> bool {
        self.0.cancel.store(true, Ordering::Relaxed);
        self.0.cancels.load(Ordering::Relaxed)
    }

    /// Whether somebody asked to cancel.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.load(Ordering::Relaxed)
    }

    /// Ends an operation between two steps when somebody asked to stop.
    ///
    /// # Errors
    ///
    /// [`Code::Interrupted`], saying how to go on.
    pub fn check(&self, what: &str) -> Result<(), Error> {
        if self.is_raised() {
            return Err(Error::new(Code::Interrupted, format!("{what} was interrupted"))
                .hint("what was begun is finished by the same command: run it again"));
        }
        Ok(())
    }
}
