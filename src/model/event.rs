//! What happens while an operation runs, for whoever watches: progress bars, plain lines, tests.

use std::time::Duration;

use super::tenant::TenantId;

/// Something that just happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// An operation over so many targets begins.
    RunStarted {
        /// What it does: `migrate`, `verify`.
        what: &'a str,
        /// How many targets.
        targets: usize,
    },
    /// Something that is no step of a plan begins, and may take a moment.
    Working {
        /// What, in words.
        what: &'a str,
    },
    /// Steps of a plan that are carried out together begin.
    StepStarted {
        /// The tenant.
        tenant: &'a TenantId,
        /// The steps, in words.
        what: String,
    },
    /// Steps of a plan that were carried out together are done.
    StepDone {
        /// The tenant.
        tenant: &'a TenantId,
        /// The steps, in words.
        what: String,
        /// How long that took.
        took: Duration,
    },
    /// A target begins.
    TargetStarted {
        /// Its name.
        target: &'a str,
    },
    /// A target is done, well or badly.
    TargetDone {
        /// Its name.
        target: &'a str,
        /// What came of it, in words.
        outcome: String,
        /// Whether it failed.
        failed: bool,
        /// How long it took.
        took: Duration,
    },
    /// The operation is over.
    RunDone,
}

/// Somebody who is told.
pub trait Observer: Send + Sync {
    /// Tells them. Must return quickly: the operation waits.
    fn on(&self, event: &Event<'_>);
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Observer for Nobody {
    fn on(&self, _: &Event<'_>) {}
}
