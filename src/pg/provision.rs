//! What `create` needs of the servers: locks that are held, and facts.

use std::time::Duration;

use super::answer::failed;
use super::lock::{self, LockKey};
use super::observe::tenant::{cluster_facts, schema_facts};
use super::registry;
use super::servers::Servers;
use super::session::Session;
use crate::error::Error;
use crate::model::desired::Desired;
use crate::model::observed::Observed;
use crate::model::pooling::Operation;
use crate::model::tenant::Isolation;

/// A lock that a session owns: given back by [`Held::release`], or when the session ends.
pub struct Held<'a> {
    session: &'a Session,
    key: LockKey,
}

/// Takes a lock on a session of its own.
///
/// # Errors
///
/// `lock-busy` when another session holds it for longer than `wait`; `refused` behind a transaction
/// pooler, where no session can own it.
pub async fn hold(session: &Session, key: LockKey, wait: Duration) -> Result<Held<'_>, Error> {
    session.require(Operation::Session, &key.attempt()).await?;
    lock::acquire(session.client(), &key, wait).await?;
    Ok(Held { session, key })
}

impl Held<'_> {
    /// Gives the lock back.
    ///
    /// # Errors
    ///
    /// Any failure of the session, which has then given it back by ending.
    pub async fn release(self) -> Result<(), Error> {
        lock::release(self.session.client(), &self.key).await
    }
}

/// Reads everything that a plan for one tenant starts from. Changes nothing.
///
/// `registry` is absent when there is no registry yet.
///
/// # Errors
///
/// Whatever a server refuses: a fact that cannot be read is not guessed.
pub async fn observe(
    servers: &Servers,
    registry: Option<&Session>,
    desired: &Desired,
) -> Result<Observed, Error> {
    let mut observed = Observed::default();
    let placement = &desired.tenant.placement;
    if let Some(session) = registry {
        registry::observe(session.client(), &desired.tenant, &mut observed).await?;
    }
    let server = servers.session(&placement.cluster, None).await?;
    read_only(&server, async |session| {
        cluster_facts(session.client(), desired, &mut observed).await
    })
    .await?;
    drop(server);
    let usable = observed.database.as_ref().is_some_and(|facts| !facts.invalid);
    if usable {
        let own = match desired.tenant.isolation {
            Isolation::Database => {
                servers.dedicated(&placement.cluster, Some(&placement.database)).await?
            }
            Isolation::Shared | Isolation::Schema => {
                servers.session(&placement.cluster, Some(&placement.database)).await?
            }
        };
        observed.schema = schema_facts(own.client(), desired).await?;
    }
    Ok(observed)
}

async fn read_only(
    session: &Session,
    read: impl AsyncFnOnce(&Session) -> Result<(), Error>,
) -> Result<(), Error> {
    let client = session.client();
    client
        .batch_execute("BEGIN READ ONLY")
        .await
        .map_err(|error| failed(error, "begin to read the server"))?;
    let done = read(session).await;
    let ended = client.batch_execute("ROLLBACK").await;
    done?;
    ended.map_err(|error| failed(error, "end reading the server"))
}
