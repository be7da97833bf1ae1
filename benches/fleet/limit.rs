//! The limit: the same SQL, one message per tenant, on raw connections that do nothing else.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_postgres::{Client, NoTls};

/// Work that was done.
pub struct Done {
    /// From the first connection to the last answer.
    pub took: Duration,
    /// When each message was answered, in that order.
    pub at: Vec<Duration>,
}

/// Sends every message once, each on the next free one of so many connections, on a thread of its
/// own; none is sent before the answer to the last.
pub fn messages(url: &str, messages: &[String], connections: usize) -> Done {
    run(|started| async move {
        let queue = RefCell::new(messages.iter());
        let at = RefCell::new(Vec::with_capacity(messages.len()));
        join_all((0..connections).map(async |_| {
            let client = connect(url).await;
            loop {
                let next = queue.borrow_mut().next();
                let Some(message) = next else { break };
                client.batch_execute(message).await.unwrap();
                at.borrow_mut().push(started.elapsed());
            }
        }))
        .await;
        at.into_inner()
    })
}

/// As [`messages`], each to a database of its own: a connection per message.
pub fn databases(work: &[(String, String)], connections: usize) -> Done {
    run(|started| async move {
        let queue = RefCell::new(work.iter());
        let at = RefCell::new(Vec::with_capacity(work.len()));
        join_all((0..connections).map(async |_| {
            loop {
                let next = queue.borrow_mut().next();
                let Some((url, message)) = next else { break };
                connect(url).await.batch_execute(message).await.unwrap();
                at.borrow_mut().push(started.elapsed());
            }
        }))
        .await;
        at.into_inner()
    })
}

/// Runs queries one after the other on one connection. Returns how many rows came.
pub fn queries(url: &str, queries: &[String]) -> (Duration, usize) {
    let mut rows = 0;
    let done = run(|_| async {
        let client = connect(url).await;
        for query in queries {
            rows += client.query_typed(query, &[]).await.unwrap().len();
        }
        Vec::new()
    });
    (done.took, rows)
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::task::spawn_local(connection);
    client
}

fn run<F: Future<Output = Vec<Duration>>>(work: impl FnOnce(Instant) -> F) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let started = Instant::now();
    let at = local.block_on(&runtime, work(started));
    Done { took: started.elapsed(), at }
}
