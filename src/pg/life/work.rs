//! Carries out tasks, one after the other, and makes no choice of its own.

use std::collections::BTreeSet;

use super::registry::enter;
use super::sessions::end_sessions;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::tenant::TenantId;
use crate::pg::answer::failed;
use crate::pg::execute::until_won;
use crate::pg::session::Session;
use crate::plan::task::{Act, Place, Task};
use crate::report::event::{Event, Observer};
use crate::sql;
use crate::sql::Sql;

/// The sessions that tasks are done on.
pub struct Bench<'a> {
    /// Whom it is about, as the registry calls it now.
    pub tenant: &'a TenantId,
    /// In the registry's database.
    pub registry: &'a Session,
    /// In any database of the tenant's cluster that is not the tenant's own.
    pub server: &'a Session,
    /// Who is told.
    pub observer: &'a dyn Observer,
}

/// What came of it, beside what the tasks say.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// So many sessions were ended.
    pub ended: usize,
    /// Sessions of these roles go on.
    pub left: BTreeSet<String>,
}

/// Carries out tasks in order, and stops at the first failure. `open` opens a session in a database
/// of the tenant's cluster when the first task asks for it; it ends when the next does not.
///
/// # Errors
///
/// The failed task's, saying which and what the server answered. What was done before stays: the
/// next run finishes it.
pub async fn carry_out(
    tasks: &[Task],
    bench: &Bench<'_>,
    open: impl AsyncFn(Ident) -> Result<Session, Error>,
) -> Result<Done, Error> {
    let mut done = Done::default();
    let mut inside: Option<Session> = None;
    for task in tasks {
        let began = std::time::Instant::now();
        bench.observer.on(&Event::StepStarted { tenant: bench.tenant, what: task.what.clone() });
        let database = match &task.place {
            Place::Registry | Place::Server => None,
            Place::Database { database, .. } => Some(database),
        };
        // Nobody may be in a database that gets another name.
        if inside.as_ref().map(Session::database) != database.map(Ident::as_str) {
            drop(inside.take());
            if let Some(name) = database {
                inside = Some(open(name.clone()).await?);
            }
        }
        let session = match (&task.place, &inside) {
            (Place::Registry, _) => bench.registry,
            (_, Some(inside)) => inside,
            (_, None) => bench.server,
        };
        match &task.act {
            Act::Enter(entry) => enter(session, bench.tenant, entry).await?,
            Act::EndSessions(whose) => {
                let ended = end_sessions(session, whose).await?;
                done.ended += ended.ended;
                done.left.extend(ended.left);
            }
            Act::Alone(statement) => {
                until_won(|| one(session, statement, task, bench)).await?;
            }
            Act::Together(statements) => {
                let role = match &task.place {
                    Place::Database { role, .. } => role.as_ref(),
                    Place::Registry | Place::Server => None,
                };
                until_won(|| together(session, role, statements, task, bench)).await?;
            }
        }
        let what = task.what.clone();
        bench.observer.on(&Event::StepDone { tenant: bench.tenant, what, took: began.elapsed() });
    }
    Ok(done)
}

async fn together(
    session: &Session,
    role: Option<&Ident>,
    statements: &[Sql],
    task: &Task,
    bench: &Bench<'_>,
) -> Result<(), Error> {
    let limits = sql!("SET LOCAL lock_timeout = '2s'; SET LOCAL client_min_messages = warning");
    let begin = match role {
        Some(role) => sql!("BEGIN; SET LOCAL ROLE {}; {}", role, limits),
        None => sql!("BEGIN; {}", limits),
    };
    let work = async {
        one(session, &begin, task, bench).await?;
        for statement in statements {
            one(session, statement, task, bench).await?;
        }
        one(session, &sql!("COMMIT"), task, bench).await
    };
    let done = work.await;
    if done.is_err() {
        let ended = session.client().batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
    }
    done
}

async fn one(
    session: &Session,
    statement: &Sql,
    task: &Task,
    bench: &Bench<'_>,
) -> Result<(), Error> {
    let attempt = || format!("{} (tenant {})", task.what, bench.tenant);
    let done = session.client().batch_execute(statement.as_str()).await;
    done.map_err(|error| failed(error, attempt()))
}
