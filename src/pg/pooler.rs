//! Whether a pooler stands before the server, and for how long it lends a session.
//!
//! A server tells every client the process that serves it, for cancelling; a pooler, whose clients
//! have no process of their own, makes a number up. So one number that the driver has already, and
//! one question, tell a pooler (PgBouncer, and whatever else speaks for a server) from a server.
//! How long it lends a session, a second client finds out: two that are connected at the same time
//! and meet the same process have been lent one session in turn.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf,
};
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::answer::failed;
use super::connect::Connector;
use crate::error::{Code, Error};
use crate::model::pooling::{Operation, Pooling};
use crate::model::tenant::ClusterName;

/// A pooler whose sessions are all lent makes its clients wait: the second one gives up then.
const PATIENCE: Duration = Duration::from_secs(3);

/// So often the two clients take turns before they believe that each has a session of its own.
const TURNS: usize = 3;

/// The length of a request to cancel: its own length, its code, the process, its secret.
const CANCEL_REQUEST: usize = 16;

/// What stands before a server, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooler {
    /// For how long it lends a session.
    pub pooling: Pooling,
    /// How that is known, in words.
    pub evidence: String,
}

/// One way to a cluster: what is declared about it, and what was found out, once for all sessions.
pub(super) struct Route {
    declared: Option<Pooling>,
    found: OnceCell<Pooler>,
}

impl Route {
    pub(super) fn new(declared: Option<Pooling>) -> Self {
        Self { declared, found: OnceCell::new() }
    }

    /// What stands on this way: as it is declared, or as the first session to ask finds it.
    ///
    /// # Errors
    ///
    /// Whatever keeps the question from being asked.
    pub(super) async fn pooler(
        &self,
        client: &Client,
        connector: &Connector,
    ) -> Result<&Pooler, Error> {
        self.found
            .get_or_try_init(|| async {
                match self.declared {
                    Some(pooling) => Ok(Pooler {
                        pooling,
                        evidence: format!("the configuration says pooler = \"{pooling}\""),
                    }),
                    None => detect(client, connector).await,
                }
            })
            .await
    }

    /// Refuses an operation that would not work on this way.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] with how the pooler is known and what to configure.
    pub(super) async fn require(
        &self,
        operation: Operation,
        client: &Client,
        connector: &Connector,
        cluster: &ClusterName,
        attempt: &str,
    ) -> Result<(), Error> {
        let pooler = self.pooler(client, connector).await?;
        if pooler.pooling.passes(operation) {
            return Ok(());
        }
        let error = Error::new(
            Code::Refused,
            format!(
                "{attempt}: cluster {cluster} is reached through a pooler in {} mode, which keeps \
                 no session for a client ({})",
                pooler.pooling, pooler.evidence
            ),
        );
        Err(if cluster.as_str() == ClusterName::DEFAULT {
            error.hint("let the URL name the server itself, not its pooler")
        } else {
            error.hint(format!(
                "add to [clusters.{cluster}] in tenants.toml, with the address of the server \
                 itself: direct_url = \"postgres://…\", or direct_url_env = \"NAME\""
            ))
        })
    }
}

/// Finds out what stands before the server of a session. Leaves nothing behind, and opens a second
/// connection only when there is a pooler.
///
/// # Errors
///
/// Whatever the server refuses; a second connection that fails is no error but an answer.
async fn detect(client: &Client, connector: &Connector) -> Result<Pooler, Error> {
    let told = told_process(client).await.map_err(|error| {
        Error::new(Code::Bug, "read the process that serves a session").because(error)
    })?;
    let serves = process(client).await?;
    if told == serves {
        let evidence = format!("the process that serves us is the one we were told of, {told}");
        return Ok(Pooler { pooling: Pooling::None, evidence });
    }
    let (pooling, how) = match tokio::time::timeout(PATIENCE, take_turns(client, connector)).await {
        Ok(found) => found?,
        // Whoever is careful is right with either.
        Err(_) => (
            Pooling::Transaction,
            "a second client was lent no session, so the worse is assumed".to_owned(),
        ),
    };
    let evidence = format!("process {serves} serves us, but we were told of {told}; {how}");
    Ok(Pooler { pooling, evidence })
}

/// Finds out how long sessions are lent, with a second client that holds a transaction open.
async fn take_turns(client: &Client, connector: &Connector) -> Result<(Pooling, String), Error> {
    let second = connector.connect().await?;
    for _ in 0..TURNS {
        let before = process(client).await?;
        if let Err(error) = second.client.batch_execute("BEGIN").await {
            return match error.as_db_error() {
                Some(refusal) if refusal.code().code().starts_with("08") => Ok((
                    Pooling::Statement,
                    format!("it refuses transactions: {}", refusal.message()),
                )),
                _ => Err(failed(error, "look for a pooler")),
            };
        }
        let other = process(&second.client).await?;
        let meanwhile = process(client).await?;
        second
            .client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| failed(error, "look for a pooler"))?;
        if other == before || meanwhile != before {
            return Ok((
                Pooling::Transaction,
                "two clients were lent the same sessions in turn".to_owned(),
            ));
        }
    }
    Ok((Pooling::Session, "two clients had a session each".to_owned()))
}

async fn process(client: &Client) -> Result<i32, Error> {
    let rows = client
        .query_typed("SELECT pg_catalog.pg_backend_pid()", &[])
        .await
        .map_err(|error| failed(error, "look for a pooler"))?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| {
        Error::new(Code::Bug, "look for a pooler: the server did not name its process")
    })
}

/// The process that the server, or what speaks for it, named when the session began. The driver
/// keeps it for cancelling and shows it to nobody, so it is asked to write such a request, to us.
pub(super) async fn told_process(client: &Client) -> io::Result<i32> {
    let (mut ours, theirs) = tokio::io::duplex(64);
    let token = client.cancel_token();
    let written = token.cancel_query_raw(theirs, InClear);
    let read = async {
        let mut request = [0; CANCEL_REQUEST];
        ours.read_exact(&mut request[..8]).await?;
        // A driver that speaks TLS asks for it first.
        if u32::from_be_bytes([request[0], request[1], request[2], request[3]]) == 8 {
            ours.write_all(b"S").await?;
            ours.read_exact(&mut request[..8]).await?;
        }
        ours.read_exact(&mut request[8..]).await?;
        Ok(i32::from_be_bytes([request[8], request[9], request[10], request[11]]))
    };
    let (written, read) = futures_util::future::join(written, read).await;
    written.map_err(io::Error::other)?;
    read
}

/// TLS without a handshake: what is written ends in our own memory.
struct InClear;

impl TlsConnect<DuplexStream> for InClear {
    type Stream = Clear;
    type Error = io::Error;
    type Future = Ready<io::Result<Clear>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(Clear(stream)))
    }
}

struct Clear(DuplexStream);

impl TlsStream for Clear {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Clear {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Clear {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
