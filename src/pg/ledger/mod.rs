//! The ledger of a run: what it knew of each tenant, kept where SIGKILL cannot reach it.
//!
//! A run writes down all its tenants before it begins, and holds an advisory lock for as long as it
//! lives, so that everybody can see whether it does. What happens to tenants afterwards is noted
//! without waiting: a task of its own writes notes in batches. A process that is killed loses the
//! notes of its last moments and no truth, for a tenant's version is in its own history.

mod forget;
mod read;
mod rows;
mod writer;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::writer::{Note, Writer};
use super::answer::failed;
use super::lock::{self, LockKey};
use super::servers::Servers;
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::run::{NewRun, Run, RunState, RunTarget};
use crate::model::tenant::ClusterName;

pub use self::forget::{forget, last_tries, quiet};
pub use self::read::{exists, find, last_failures, last_versions, runs, targets};

/// Opens another session to the registry, of its own, when the ledger has lost the one it had.
pub type Reconnect = Box<dyn Fn() -> BoxFuture<'static, Result<Session, Error>> + Send + Sync>;

/// Makes what opens sessions of one database of the fleet for as long as the fleet is known.
pub fn reconnect(servers: &Arc<Servers>, cluster: &ClusterName, database: &Ident) -> Reconnect {
    let known = (Arc::clone(servers), cluster.clone(), database.clone());
    Box::new(move || {
        let (servers, cluster, database) = known.clone();
        Box::pin(async move { servers.dedicated(&cluster, Some(&database)).await })
    })
}

/// Why the ledger could not be written; the first reason stays.
type Failure = Arc<OnceLock<Arc<Error>>>;

/// How long a lock is waited for that a session of ours held before it was lost: the server may
/// not know yet that it is gone.
const RETAKE: Duration = Duration::from_secs(5);

/// The ledger of a run that goes on. Dropping it without [`Ledger::close`] writes what was noted, and
/// leaves the run as one whose process died.
pub struct Ledger {
    run: Run,
    notes: mpsc::UnboundedSender<Note>,
    failure: Failure,
    writer: JoinHandle<()>,
}

impl Ledger {
    /// Writes down a run and all its tenants in one transaction, and holds the run's lock from here
    /// on. `session` must be one of its own: the lock lives and dies with it.
    ///
    /// # Errors
    ///
    /// [`Code::Permission`] when the role may not write to the registry, and whatever else the
    /// server refuses; then there is no run.
    pub async fn begin(
        session: Session,
        reconnect: Option<Reconnect>,
        run: &NewRun,
        targets: &[RunTarget],
    ) -> Result<Self, Error> {
        prepare(&session).await?;
        lock::acquire(session.client(), &LockKey::run(run.id), Duration::ZERO).await?;
        let run = rows::insert(session.client(), run, targets)
            .await
            .map_err(|error| granting(error, &session))?;
        Ok(Self::start(session, reconnect, run))
    }

    /// Takes up a run that was killed, was stopped or failed: takes its lock, and says that it is
    /// running again. Its tenants stand as they were noted last; what was `running` may be done.
    ///
    /// # Errors
    ///
    /// [`Code::LockBusy`] with the process when the run goes on elsewhere; [`Code::NotFound`] when
    /// there is no such run.
    pub async fn reopen(
        session: Session,
        reconnect: Option<Reconnect>,
        id: Uuid,
    ) -> Result<(Self, Run, Vec<RunTarget>), Error> {
        prepare(&session).await?;
        let key = LockKey::run(id);
        if !lock::try_acquire(session.client(), &key).await? {
            let holder = lock::holder(session.client(), &key).await;
            let who = holder.map_or_else(String::new, |holder| format!(" in {holder}"));
            return Err(Error::new(
                Code::LockBusy,
                format!("resume run {id}: it is going on{who}"),
            )
            .hint(format!("watch it with: tenantctl runs show {id}")));
        }
        let taken_up = rows::take_up(session.client(), id).await;
        let Some(run) = taken_up.map_err(|error| granting(error, &session))? else {
            return Err(read::unknown(&id.to_string()));
        };
        let targets = rows::targets(session.client(), id).await?;
        Ok((Self::start(session, reconnect, run.clone()), run, targets))
    }

    fn start(session: Session, reconnect: Option<Reconnect>, run: Run) -> Self {
        let (notes, received) = mpsc::unbounded_channel();
        let failure = Failure::default();
        let writer = Writer::new(session, reconnect, run.id, Arc::clone(&failure));
        let writer = tokio::spawn(writer.run(received));
        Self { run, notes, failure, writer }
    }

    /// The run, as it was when it began or was taken up.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Notes how a tenant stands. Never waits; the newest note of a tenant is what is kept.
    pub fn note(&self, target: RunTarget) {
        if self.notes.send(Note::Target(Box::new(target))).is_err() {
            log::debug!("the ledger of run {} takes no more notes", self.run.id);
        }
    }

    /// Why the ledger cannot be written any more: a run that cannot say what it did begins nothing
    /// new.
    pub fn failed(&self) -> Option<Error> {
        match self.failure.get() {
            Some(failure) => Some(Error::again(failure)),
            None if self.writer.is_finished() => Some(self.gone()),
            None => None,
        }
    }

    /// Waits until everything that was noted is written.
    ///
    /// # Errors
    ///
    /// As [`Ledger::failed`].
    pub async fn flush(&self) -> Result<(), Error> {
        let (done, written) = oneshot::channel();
        self.ask(Note::Flush(done), written).await
    }

    /// Writes everything that was noted, then how the run ended, and gives its lock back.
    ///
    /// # Errors
    ///
    /// As [`Ledger::failed`]: the run then looks killed, and can be resumed.
    pub async fn close(self, state: RunState) -> Result<(), Error> {
        let (done, written) = oneshot::channel();
        self.ask(Note::Close(state, done), written).await
    }

    async fn ask(&self, note: Note, written: oneshot::Receiver<()>) -> Result<(), Error> {
        let asked = self.notes.send(note).is_ok() && written.await.is_ok();
        match self.failure.get() {
            Some(failure) => Err(Error::again(failure)),
            None if asked => Ok(()),
            None => Err(self.gone()),
        }
    }

    fn gone(&self) -> Error {
        Error::new(Code::Bug, format!("write the ledger of run {}: its task ended", self.run.id))
    }
}

/// Says what to grant to a role that migrates, and is not the one that made the registry.
fn granting(error: Error, session: &Session) -> Error {
    if error.code != Code::Permission {
        return error;
    }
    error.hint(format!(
        "as the registry's owner: GRANT SELECT, INSERT, UPDATE ON tenantctl.runs, tenantctl.run_targets TO {};",
        session.user_ident()
    ))
}

/// Makes a session of its own one that may be idle for as long as a migration takes, and that never
/// waits without end for somebody who locks the ledger.
async fn prepare(session: &Session) -> Result<(), Error> {
    session
        .client()
        .batch_execute(
            "SET idle_session_timeout = 0; SET lock_timeout = '30s'; SET statement_timeout = '60s'",
        )
        .await
        .map_err(|error| failed(error, "open the ledger of the run"))
}
