//! Migrates one schema.

use std::time::Duration;

use super::answer::failed;
use super::decided::Decided;
use super::history;
use super::home::Limits;
use super::lock::{self, Lock, LockKey};
use super::outside::Watcher;
use super::refinery::{self, Commit, Guard, NotApplied, Order, Prepared, Repeating};
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::migration::{History, Version};
use crate::model::pooling::Operation;
use crate::model::tenant::Placement;
use crate::plan::pending::decide;

/// One schema to migrate.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Where it is.
    pub placement: &'a Placement,
    /// Who owns its objects.
    pub owner: &'a Ident,
    /// The files.
    pub files: &'a Prepared<'a>,
    /// Up to which version; the newest without one.
    pub to: Option<Version>,
    /// How long migrations may wait and work.
    pub limits: Limits,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// Which repeatable files come with what is applied at once.
    pub repeatables: Repeating<'a>,
    /// Who is told what a long statement outside of a transaction is doing.
    pub watcher: Option<&'a dyn Watcher>,
    /// Whether what runs on the session may take any identity.
    pub superuser: bool,
    /// When what is applied at once counts as committed.
    pub commit: Commit,
}

/// Applies what is pending, one transaction per file, under the schema's lock, which the session
/// holds meanwhile. Returns the version it started from, and what was applied.
///
/// # Errors
///
/// The failure, with what was applied before it.
pub async fn migrate_target(
    session: &Session,
    target: &Target<'_>,
) -> Result<(Option<Version>, Vec<Version>), (Vec<Version>, Error)> {
    let client = session.client();
    let schema = &target.placement.schema;
    let key = LockKey::migrations(target.placement);
    let before = |error| (Vec::new(), error);
    session.require(Operation::Session, &key.attempt()).await.map_err(before)?;
    lock::acquire(client, &key, target.lock_wait).await.map_err(before)?;
    let done = async {
        let history = history::of(client, schema).await.map_err(before)?;
        let none = History::default();
        let known = history.as_ref().unwrap_or(&none);
        let pending = decide(target.files.set(), known, target.to).map_err(before)?;
        if pending.is_empty() {
            return Ok((known.version(), Vec::new()));
        }
        // They follow in a transaction of their own, when the last of the files is there.
        let alone = Target { repeatables: Repeating::default(), ..*target };
        let order = alone.order(history.as_ref(), Guard::Held);
        let applied = refinery::migrate(client, &order, &pending)
            .await
            .map_err(|not_applied| not_applied.failure(schema))?;
        Ok((known.version(), applied))
    }
    .await;
    // A failed session gives the lock back by ending; the failure that matters is the other one.
    if let Err(error) = lock::release(client, &key).await {
        log::debug!("{error}");
    }
    done
}

/// Applies what is pending in one transaction, which is one message to the server: it takes the
/// schema's lock, makes sure that the history is the `known` one (none where the table is not there
/// yet), and does and records everything that was `decided` over it, or nothing. A lock that is held
/// since before the history was read is given back with the transaction instead.
///
/// # Errors
///
/// [`NotApplied`]: somebody else was faster, or is at it, or a statement failed.
pub async fn migrate_at_once(
    session: &Session,
    target: &Target<'_>,
    known: Option<&History>,
    decided: &Decided,
    lock: Lock,
) -> Result<Vec<Version>, NotApplied> {
    let key = LockKey::migrations(target.placement).number();
    let guard = match lock {
        Lock::Held => Guard::HandedOver(key),
        Lock::Open => Guard::Taken(key),
    };
    let order = Order { inherited: !session.is_untouched().await, ..target.order(known, guard) };
    refinery::migrate_at_once(session.client(), &order, decided).await
}

/// Returns when everything that the session has committed would survive a crash, as far as the
/// server's own `synchronous_commit` promises that.
///
/// A transaction that writes nothing is not waited for, so this one leaves a message in the log,
/// which only logical decoding would read.
///
/// # Errors
///
/// Whatever the server refuses. A lost connection says nothing about what was committed.
pub async fn make_durable(session: &Session) -> Result<(), Error> {
    session
        .client()
        .batch_execute(
            "RESET ALL; SELECT pg_catalog.pg_logical_emit_message(true, 'tenantctl', 'durable')",
        )
        .await
        .map_err(|error| failed(error, "wait until migrations would survive a crash"))
}

impl<'a> Target<'a> {
    fn order(&self, history: Option<&'a History>, guard: Guard) -> Order<'a> {
        Order {
            schema: &self.placement.schema,
            role: Some(self.owner),
            limits: self.limits,
            files: self.files,
            history,
            to: self.to,
            guard,
            watcher: self.watcher,
            superuser: self.superuser,
            commit: self.commit,
            inherited: true,
            repeatables: self.repeatables,
        }
    }
}
