//! The wish to stop: heard between steps, so that nothing is left half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Code, Error};

/// A wish to stop that any part of an operation can hear. Clones hear the same wish.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
