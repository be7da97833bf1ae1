//! Makes a [`Connector`] the source of a pool's sessions, and keeps the reason when there is none.

use std::cell::RefCell;
use std::future::Future;

use deadpool_postgres::PoolError;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::error::{Code, Error};

use super::attempt::Cause;
use super::connect::Connector;

tokio::task_local! {
    /// Why the connection that the current [`checkout`] waits for could not be made.
    static FAILURE: RefCell<Option<Error>>;
}

/// Runs a pool's `get`, and gives back the whole reason when no connection could be made.
///
/// A pool passes on nothing but the driver's error, which has no room for our reason. The pool
/// calls [`Connector::connect`] inside the caller's own future, so the reason waits there.
pub(super) async fn checkout<T>(
    get: impl Future<Output = Result<T, PoolError>>,
) -> Result<T, Error> {
    FAILURE
        .scope(RefCell::new(None), async {
            let outcome = get.await;
            outcome.map_err(|error| match FAILURE.with(RefCell::take) {
                Some(failure) => failure,
                None => Error::new(Code::Unreachable, "get a session from the pool").because(error),
            })
        })
        .await
}

/// Leaves the reason why no connection is made to whoever waits in [`checkout`], and returns what
/// a pool takes as a failure.
pub(super) async fn refused(reason: Error) -> tokio_postgres::Error {
    leave(reason);
    driver_error().await
}

fn leave(reason: Error) {
    // Outside of `checkout` nobody asks for the reason.
    if let Err(_nobody) = FAILURE.try_with(|slot| slot.replace(Some(reason))) {
        log::debug!("a connection failed outside of a checkout");
    }
}

impl deadpool_postgres::Connect for Connector {
    /// Opens a session for a pool; the pool's own configuration is not asked.
    fn connect(
        &self,
        _ignored: &Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async move {
            let failures = match self.connect_or_failures().await {
                Ok(connection) => return Ok((connection.client, connection.driver)),
                Err(failures) => failures,
            };
            leave(self.report(&failures));
            match failures.into_iter().next_back().map(|failure| failure.cause) {
                Some(Cause::Driver(error) | Cause::Handshake(error)) => Err(error),
                _ => Err(driver_error().await),
            }
        })
    }
}

/// The driver's error type has no public constructor: an empty configuration yields one, without
/// any traffic.
async fn driver_error() -> tokio_postgres::Error {
    loop {
        if let Err(error) = Config::new().connect(NoTls).await {
            return error;
        }
    }
}
