//! Writes what a run notes: in batches, over a session that is opened anew when it is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::{Failure, RETAKE, Reconnect, granting, prepare, rows};
use crate::error::{Code, Error};
use crate::model::run::{RunState, RunTarget};
use crate::model::tenant::TenantId;
use crate::pg::answer::failed;
use crate::pg::lock::{self, LockKey};
use crate::pg::session::Session;

/// How long a note waits for others.
const PAUSE: Duration = Duration::from_millis(200);

/// So many tenants are written at once at most.
const BATCH: usize = 500;

/// How often an idle session is used, so that its loss is noticed before the run needs it.
const PULSE: Duration = Duration::from_secs(10);

/// How long an answer is waited for: longer than the server lets a statement of the ledger run.
const ANSWER: Duration = Duration::from_secs(75);

/// How long to wait before what was refused in passing is said again, and again.
const PATIENCE: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What the run has to say.
pub(super) enum Note {
    Target(Box<RunTarget>),
    Flush(oneshot::Sender<()>),
    Close(RunState, oneshot::Sender<()>),
}

/// What is sent to the server. Sending it twice leaves what sending it once does.
enum Entry {
    Targets(Vec<RunTarget>),
    End(RunState),
    Pulse,
}

pub(super) struct Writer {
    session: Session,
    reconnect: Option<Reconnect>,
    run: Uuid,
    kept: BTreeMap<TenantId, RunTarget>,
    failure: Failure,
}

impl Writer {
    pub(super) fn new(
        session: Session,
        reconnect: Option<Reconnect>,
        run: Uuid,
        failure: Failure,
    ) -> Self {
        Self { session, reconnect, run, kept: BTreeMap::new(), failure }
    }

    /// Goes on until the run is closed or given up.
    pub(super) async fn run(mut self, mut notes: mpsc::UnboundedReceiver<Note>) {
        let mut due = None;
        loop {
            let wake = due.unwrap_or_else(|| Instant::now() + PULSE);
            match timeout_at(wake, notes.recv()).await {
                Ok(Some(Note::Target(target))) => {
                    self.kept.insert(target.tenant.clone(), *target);
                    due = due.or_else(|| Some(Instant::now() + PAUSE));
                    if self.kept.len() >= BATCH {
                        self.write().await;
                        due = None;
                    }
                }
                Ok(Some(Note::Flush(done))) => {
                    self.write().await;
                    due = None;
                    answer(done);
                }
                Ok(Some(Note::Close(state, done))) => {
                    self.write().await;
                    self.put(Entry::End(state)).await;
                    answer(done);
                    return;
                }
                Ok(None) => return self.write().await,
                Err(_) if due.take().is_some() => self.write().await,
                Err(_) => self.put(Entry::Pulse).await,
            }
        }
    }

    async fn write(&mut self) {
        let batch: Vec<RunTarget> = std::mem::take(&mut self.kept).into_values().collect();
        if !batch.is_empty() {
            self.put(Entry::Targets(batch)).await;
        }
    }

    /// Sends an entry, unless one before it failed: a ledger with a gap would tell lies.
    async fn put(&mut self, entry: Entry) {
        if self.failure.get().is_some() {
            return;
        }
        let mut sent = self.send_or_reconnect(&entry).await;
        for pause in PATIENCE {
            match &sent {
                Err(error) if passes(error) => log::warn!("{error}; it is tried again"),
                _ => break,
            }
            tokio::time::sleep(pause).await;
            sent = self.send_or_reconnect(&entry).await;
        }
        if let Err(error) = sent {
            let error = granting(error, &self.session).hint(format!(
                "what was migrated stays; go on with: tenantctl migrate up --resume {}",
                self.run
            ));
            self.failure.get_or_init(|| Arc::new(error));
        }
    }

    async fn send_or_reconnect(&mut self, entry: &Entry) -> Result<(), Error> {
        match self.send(entry).await {
            Err(error) if self.is_lost(&error) => {
                self.reconnected(error).await?;
                self.send(entry).await
            }
            sent => sent,
        }
    }

    async fn send(&self, entry: &Entry) -> Result<(), Error> {
        let sent = timeout(ANSWER, self.say(entry)).await;
        sent.unwrap_or_else(|late| {
            let what = format!("write the ledger of run {}: the server does not answer", self.run);
            Err(Error::new(Code::Unreachable, what).because(late))
        })
    }

    async fn say(&self, entry: &Entry) -> Result<(), Error> {
        let client = self.session.client();
        match entry {
            Entry::Targets(batch) => rows::update(client, self.run, batch).await,
            Entry::End(state) => {
                rows::end(client, self.run, *state).await?;
                lock::release(client, &LockKey::run(self.run)).await
            }
            Entry::Pulse => client
                .batch_execute("")
                .await
                .map_err(|error| failed(error, format!("keep the ledger of run {}", self.run))),
        }
    }

    fn is_lost(&self, error: &Error) -> bool {
        error.code == Code::Unreachable || self.session.client().is_closed()
    }

    /// Opens another session, and takes the run's lock with it.
    async fn reconnected(&mut self, lost: Error) -> Result<(), Error> {
        let Some(reconnect) = &self.reconnect else {
            return Err(lost);
        };
        log::warn!("the ledger of run {} lost its session: {lost}", self.run);
        let session = reconnect().await?;
        prepare(&session).await?;
        lock::acquire(session.client(), &LockKey::run(self.run), RETAKE).await?;
        self.session = session;
        Ok(())
    }
}

/// Whether a failure may be none in a moment: the server has no session or memory to spare, which a
/// migration may be using up, is starting again, or somebody locks the ledger.
fn passes(error: &Error) -> bool {
    let sqlstate = error.answer.as_ref().map(|answer| answer.sqlstate.as_str());
    sqlstate.is_some_and(|sqlstate| {
        sqlstate.starts_with("53") || ["55P03", "40P01", "57P03"].contains(&sqlstate)
    })
}

fn answer(done: oneshot::Sender<()>) {
    if done.send(()).is_err() {
        log::debug!("nobody waits for the ledger any more");
    }
}
