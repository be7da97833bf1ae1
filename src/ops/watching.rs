//! Lends `pg` a second session while a long statement runs, and tells the observer what it does.

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::error::Error;
use crate::model::tenant::Placement;
use crate::pg::{Servers, Session, Watcher};
use crate::report::event::{Event, Observer};

/// Watches the statements that run for one target outside of a transaction.
pub(super) struct Watching<'a> {
    /// The clusters.
    pub(super) servers: &'a Servers,
    /// Who is told.
    pub(super) observer: &'a dyn Observer,
    /// Where the statements run.
    pub(super) placement: &'a Placement,
}

impl Watcher for Watching<'_> {
    fn session(&self) -> BoxFuture<'_, Result<Session, Error>> {
        self.servers.dedicated(&self.placement.cluster, Some(&self.placement.database)).boxed()
    }

    fn tell(&self, what: &str) {
        self.observer.on(&Event::Working { what });
    }
}
