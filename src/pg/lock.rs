//! Advisory locks: polled with a deadline, on a session that owns them.
//!
//! Never the blocking `pg_advisory_lock`: a session that waits inside a statement holds a snapshot,
//! and CREATE INDEX CONCURRENTLY waits for every snapshot, so the two would wait for each other.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::answer::failed;
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::tenant::{ClusterName, Placement, TenantId};

/// What a lock protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockKey {
    key: i64,
    what: String,
}

/// How the lock of a schema's migrations stands when a session begins to migrate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The session holds it, since before the history was read.
    Held,
    /// It is to be taken still: another session may hold it.
    Open,
}

impl LockKey {
    /// One tenant's life: creating, moving, removing it.
    pub fn tenant(id: &TenantId) -> Self {
        Self::new("tenant", id.as_str(), format!("tenant {id}"))
    }

    /// What several tenants of a cluster use: shared roles, a shared schema.
    pub fn layout(cluster: &ClusterName) -> Self {
        Self::new("layout", cluster.as_str(), format!("what tenants share on {cluster}"))
    }

    /// The migrations of one schema.
    pub fn migrations(placement: &Placement) -> Self {
        // The lock lives in the schema's own database, whatever the fleet calls its cluster.
        let name = placement.schema.as_str();
        Self::new("migrations", name, format!("the migrations of {placement}"))
    }

    /// A run that goes on: whoever sees the lock knows that its process lives.
    pub fn run(id: Uuid) -> Self {
        Self::new("run", &id.to_string(), format!("run {id}"))
    }

    /// Forgetting runs of the ledger.
    pub fn ledger() -> Self {
        Self::new("ledger", "", "the ledger of runs".to_owned())
    }

    /// One of the two places of a tenant that moves, in the place's own database.
    pub(super) fn place(id: &TenantId, placement: &Placement) -> Self {
        // Both may be in one database.
        let name = format!("{id}\0{}", placement.schema.as_str());
        Self::new("place", &name, format!("tenant {id} in {placement}"))
    }

    /// A database that lives for one restore.
    pub fn scratch(database: &Ident) -> Self {
        let what = format!("database {database}, in which a backup is restored");
        Self::new("scratch", database.as_str(), what)
    }

    /// The registry's own migrations.
    pub fn registry() -> Self {
        Self::new("registry", "", "the registry".to_owned())
    }

    /// What taking it is called in a failure.
    pub(super) fn attempt(&self) -> String {
        format!("lock {}", self.what)
    }

    fn new(purpose: &str, name: &str, what: String) -> Self {
        let digest = Sha256::digest(format!("tenantctl\0{purpose}\0{name}"));
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self { key: i64::from_be_bytes(first), what }
    }

    /// The number by which the server knows it.
    pub(super) fn number(&self) -> i64 {
        self.key
    }
}

/// Takes a lock on `session` and waits for it for so long. The lock lives until [`release`] or the
/// end of the session, whatever happens to this process.
///
/// # Errors
///
/// [`Code::LockBusy`] when another session still holds it after `wait`; the message names the
/// holder as far as the server shows it.
pub(super) async fn acquire(session: &Client, key: &LockKey, wait: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + wait;
    let mut pause = Duration::from_millis(20);
    loop {
        if try_acquire(session, key).await? {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(held_by(session, key, wait).await);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(400));
    }
}

/// Takes a lock when it is free; says whether it was.
///
/// # Errors
///
/// Any failure of the session.
pub(super) async fn try_acquire(session: &Client, key: &LockKey) -> Result<bool, Error> {
    let rows = session
        .query_typed("SELECT pg_catalog.pg_try_advisory_lock($1)", &[(&key.key, Type::INT8)])
        .await
        .map_err(|error| failed(error, format!("lock {}", key.what)))?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Gives a lock back.
///
/// # Errors
///
/// Any failure of the session, which has then given it back by ending.
pub(super) async fn release(session: &Client, key: &LockKey) -> Result<(), Error> {
    session
        .query_typed("SELECT pg_catalog.pg_advisory_unlock($1)", &[(&key.key, Type::INT8)])
        .await
        .map_err(|error| failed(error, format!("unlock {}", key.what)))?;
    Ok(())
}

/// Who holds a lock, in words; nobody by now, or a server that does not say, is none.
pub(super) async fn holder(session: &Client, key: &LockKey) -> Option<String> {
    let held = session
        .query_typed(
            "SELECT pid FROM pg_catalog.pg_locks \
             WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
               AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
               AND (classid::bigint << 32 | objid::bigint) = $1",
            &[(&key.key, Type::INT8)],
        )
        .await;
    let pid: i32 = held.ok()?.first()?.get(0);
    // What it does may be hidden from us; its pid is not.
    let described = session
        .query_typed(
            "SELECT coalesce(nullif(application_name, ''), 'an unnamed session'), \
                    coalesce(to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'), '') \
             FROM pg_catalog.pg_stat_activity WHERE pid = $1",
            &[(&pid, Type::INT4)],
        )
        .await;
    Some(match described.as_deref() {
        Ok([row, ..]) => {
            let (application, since): (String, String) = (row.get(0), row.get(1));
            // Of another role's session the server shows the process, not its age.
            let since = if since.is_empty() { since } else { format!(", connected since {since}") };
            format!("{application}, pid {pid}{since}")
        }
        _ => format!("pid {pid}"),
    })
}

/// The failure of who has waited long enough for a lock, with its holder as far as the server
/// shows it.
pub async fn busy(session: &Session, key: &LockKey, wait: Duration) -> Error {
    held_by(session.client(), key, wait).await
}

async fn held_by(session: &Client, key: &LockKey, wait: Duration) -> Error {
    let message =
        format!("lock {}: another session still holds it after {} s", key.what, wait.as_secs_f32());
    let error = Error::new(Code::LockBusy, message);
    match holder(session, key).await {
        Some(holder) => error
            .hint(format!("it is held by {holder}"))
            .hint("wait for it, raise --tenant-lock-wait, or end that session if it is stuck"),
        None => error
            .hint("run the command again when the other one is done, or raise --tenant-lock-wait"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_purpose_and_name() {
        let id = |name| TenantId::new(name).unwrap();
        assert_ne!(LockKey::tenant(&id("a")).key, LockKey::tenant(&id("b")).key);
        assert_ne!(LockKey::tenant(&id("registry")).key, LockKey::registry().key);
        assert_eq!(LockKey::tenant(&id("a")).key, LockKey::tenant(&id("a")).key);
    }
}
