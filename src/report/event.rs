//! What happens while an operation runs, for whoever watches: progress bars, plain lines, tests.

use std::time::Duration;

use uuid::Uuid;

use super::TargetReport;
use crate::model::tenant::{ClusterName, TenantId};

/// Something that just happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// An operation over so many targets begins.
    RunStarted {
        /// What it does: `migrate`, `verify`.
        what: &'a str,
        /// The run's id, when the operation is one.
        run: Option<Uuid>,
        /// How many targets.
        targets: usize,
        /// How many of them on which cluster, for a run over several at once; empty otherwise.
        clusters: &'a [(ClusterName, usize)],
    },
    /// A wave of a run begins; a run without waves has none.
    WaveStarted {
        /// Its number, from 1.
        number: usize,
        /// What it was asked for as: `wave=canary`, `10%`, `rest`.
        name: &'a str,
        /// How many targets it has.
        targets: usize,
    },
    /// The run waits before it begins anything else: for a soak to end, for a cluster to be well.
    Holding {
        /// For what, in words.
        what: &'a str,
    },
    /// Something that a person should know before it happens.
    Announced {
        /// What will happen, in words.
        what: &'a str,
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
        /// Where it is, when the run is over several clusters.
        cluster: Option<&'a ClusterName>,
        /// Its name.
        target: &'a str,
    },
    /// A target has come so far.
    TargetWorking {
        /// Where it is, when the run is over several clusters.
        cluster: Option<&'a ClusterName>,
        /// Its name.
        target: &'a str,
        /// How far, in words: `pair 3 of 12: acme against globex`.
        what: &'a str,
    },
    /// A target has to wait: it is held by somebody, and will be tried again.
    TargetWaiting {
        /// Where it is.
        cluster: &'a ClusterName,
        /// Its name.
        target: &'a str,
        /// For whom or what, in words.
        cause: &'a str,
        /// How often it was tried.
        attempts: u32,
    },
    /// A target is done, well or badly.
    TargetDone {
        /// Where it is, when the run is over several clusters.
        cluster: Option<&'a ClusterName>,
        /// Its name.
        target: &'a str,
        /// What a migration answers about it: one row per tenant; empty for other operations.
        rows: &'a [TargetReport],
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

/// Two, who are told the same in this order.
#[derive(Clone, Copy, Debug)]
pub struct Both<A, B>(pub A, pub B);

impl<A: Observer, B: Observer> Observer for Both<A, B> {
    fn on(&self, event: &Event<'_>) {
        self.0.on(event);
        self.1.on(event);
    }
}

impl<O: Observer + ?Sized> Observer for Box<O> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

impl<O: Observer + ?Sized> Observer for std::sync::Arc<O> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}
