//! Stops what a session is doing, from outside of it.
//!
//! Dropping a future does not stop the server: whoever gives up on a statement cancels it.

use std::time::Duration;

use postgres_native_tls::MakeTlsConnector;
use tokio_postgres::{CancelToken, Client, NoTls};

use crate::error::{Code, Error};

use super::answer;

/// Stops the running statement of one session, over a connection of its own with the same TLS.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    tls: Option<MakeTlsConnector>,
    timeout: Option<Duration>,
}

impl Canceller {
    pub(super) fn new(
        client: &Client,
        tls: Option<MakeTlsConnector>,
        timeout: Option<Duration>,
    ) -> Self {
        Self { token: client.cancel_token(), tls, timeout }
    }

    /// Asks the server to stop. Whether it did, the statement's own answer tells (57014).
    pub async fn cancel(&self) -> Result<(), Error> {
        let request = async {
            match &self.tls {
                Some(tls) => self.token.cancel_query(tls.clone()).await,
                None => self.token.cancel_query(NoTls).await,
            }
        };
        let attempted = "cancel the running statement";
        match self.timeout {
            Some(limit) => match tokio::time::timeout(limit, request).await {
                Ok(outcome) => outcome.map_err(|error| answer::failed(error, attempted)),
                Err(late) => Err(Error::new(Code::Unreachable, attempted).because(late)),
            },
            None => request.await.map_err(|error| answer::failed(error, attempted)),
        }
    }
}
