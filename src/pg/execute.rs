//! Carries a plan out, step by step, making no choice of its own.
//!
//! Adjacent steps that run in one place as one role share a transaction where PostgreSQL allows it.
//! Catalogue rows that two sessions change at once make the server answer `tuple concurrently
//! updated`; such a transaction has done nothing and is tried again, a bounded number of times.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::answer::failed;
use super::credentials;
use super::home::Limits;
use super::migrate::{Target, migrate_target};
use super::refinery::{Commit, Prepared, Repeating};
use super::registry;
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::interrupt::Interrupt;
use crate::model::migration::MigrationSet;
use crate::model::observed::ServerFacts;
use crate::model::tenant::Tenant;
use crate::plan::{self, Change, Plan, Site, Step};
use crate::report::event::{Event, Observer};
use crate::sql;
use crate::sql::Sql;

/// How often a transaction that lost a race is tried.
const ATTEMPTS: u32 = 6;

/// The sessions that a plan for one tenant needs.
pub struct Sessions<'a> {
    /// In the registry's database.
    pub registry: &'a Session,
    /// In any database of the tenant's cluster.
    pub server: &'a Session,
}

/// What a plan is carried out with.
pub struct Work<'a> {
    /// The tenant, as it will be recorded.
    pub tenant: &'a Tenant,
    /// The files that [`Change::Migrate`] applies.
    pub set: &'a MigrationSet,
    /// How long migrations may wait and work.
    pub limits: Limits,
    /// How long the schema's migration lock is waited for.
    pub lock_wait: Duration,
    /// The wish to stop, heard before each transaction.
    pub interrupt: &'a Interrupt,
}

/// Carries out the steps of a plan in order, and stops at the first failure.
///
/// `open` opens a session in a database of the tenant's cluster when the first step asks for one:
/// the database may not exist before.
///
/// # Errors
///
/// The failed step's, saying which step and what the server answered. What was done before stays:
/// the next plan finishes it.
pub async fn run<O, F>(
    plan: &Plan,
    work: &Work<'_>,
    sessions: &Sessions<'_>,
    open: O,
    observer: &dyn Observer,
) -> Result<(), Error>
where
    O: Fn(Ident) -> F,
    F: Future<Output = Result<Session, Error>>,
{
    let mut inside: Option<Session> = None;
    for group in groups(&plan.steps) {
        let Some(first) = group.first() else {
            continue;
        };
        work.interrupt.check(&format!("making tenant {}", work.tenant.id))?;
        let what = plan::summary(group);
        observer.on(&Event::StepStarted { tenant: &work.tenant.id, what: what.clone() });
        let started = Instant::now();
        let database = match &first.site {
            Site::Registry | Site::Server => None,
            Site::Template { database, .. } => Some(database),
            Site::Database { .. } => Some(&work.tenant.placement.database),
        };
        // A session that is not needed any more ends: nobody may be in a template that is copied.
        if inside.as_ref().map(Session::database) != database.map(Ident::as_str) {
            inside = match database {
                Some(name) => {
                    drop(inside.take());
                    Some(open(name.clone()).await?)
                }
                None => None,
            };
        }
        let session = match (&first.site, &inside) {
            (Site::Registry, _) => sessions.registry,
            (_, Some(inside)) => inside,
            (_, None) => sessions.server,
        };
        carry(plan, group, work, session).await?;
        let took = started.elapsed();
        observer.on(&Event::StepDone { tenant: &work.tenant.id, what, took });
    }
    Ok(())
}

/// Splits steps into runs that share a transaction.
fn groups(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|a, b| a.site == b.site && !a.change.stands_alone() && !b.change.stands_alone())
}

async fn carry(
    plan: &Plan,
    group: &[Step],
    work: &Work<'_>,
    session: &Session,
) -> Result<(), Error> {
    match group {
        [Step { change: Change::Record(state), .. }] => {
            registry::record(session.client(), work.tenant, *state).await
        }
        [Step { change: Change::NoteCredentials(roles), .. }] => {
            credentials::note(session, &work.tenant.placement.cluster, roles).await
        }
        [Step { change: Change::Migrate { versions, .. }, site, .. }] => {
            let files = Prepared::new(work.set)?;
            let target = Target {
                placement: &work.tenant.placement,
                owner: site.role().unwrap_or(&work.tenant.owner),
                files: &files,
                to: versions.last().copied(),
                limits: work.limits,
                lock_wait: work.lock_wait,
                repeatables: Repeating::default(),
                watcher: None,
                superuser: true,
                commit: Commit::Durable,
            };
            migrate_target(session, &target).await.map(|_| ()).map_err(|(_, error)| error)
        }
        [step] if step.change.stands_alone() => {
            for statement in step.change.statements(&plan.server) {
                until_won(|| one(plan, session.client(), &statement, &step.change, work)).await?;
            }
            Ok(())
        }
        steps => until_won(|| transaction(plan, steps, work, session.client())).await,
    }
}

/// Tries again what lost a race, a bounded number of times.
pub(super) async fn until_won<F: Future<Output = Result<(), Error>>>(
    attempt_it: impl Fn() -> F,
) -> Result<(), Error> {
    let mut attempt = 1;
    loop {
        match attempt_it().await {
            Err(lost) if attempt < ATTEMPTS && lost_a_race(&lost) => {
                log::debug!("attempt {attempt} lost a race: {lost}");
                tokio::time::sleep(pause(attempt)).await;
                attempt += 1;
            }
            done => return done,
        }
    }
}

async fn transaction(
    plan: &Plan,
    steps: &[Step],
    work: &Work<'_>,
    client: &Client,
) -> Result<(), Error> {
    let attempt = || format!("begin a transaction for tenant {}", work.tenant.id);
    client.batch_execute(begin(steps).as_str()).await.map_err(|error| failed(error, attempt()))?;
    for step in steps {
        for statement in step.change.statements(&plan.server) {
            if let Err(error) = one(plan, client, &statement, &step.change, work).await {
                let ended = client.batch_execute("ROLLBACK").await;
                log::debug!("rolled back: {ended:?}");
                return Err(error);
            }
        }
    }
    client
        .batch_execute("COMMIT")
        .await
        .map_err(|error| failed(error, format!("commit changes for tenant {}", work.tenant.id)))
}

fn begin(steps: &[Step]) -> Sql {
    let limits = sql!("SET LOCAL lock_timeout = '10s'; SET LOCAL client_min_messages = warning");
    match steps.first().and_then(|step| step.site.role()) {
        Some(role) => {
            sql!("BEGIN; SET LOCAL ROLE {}; {}", role, limits)
        }
        None => sql!("BEGIN; {}", limits),
    }
}

async fn one(
    plan: &Plan,
    client: &Client,
    statement: &Sql,
    change: &Change,
    work: &Work<'_>,
) -> Result<(), Error> {
    client.batch_execute(statement.as_str()).await.map_err(|error| {
        let attempt = format!("{} (tenant {})", change.describe(), work.tenant.id);
        let error = failed(error, attempt);
        if error.code == Code::Permission
            && let Some(remedy) = remedy(change, &plan.server, work)
        {
            return error.hint(remedy);
        }
        error
    })
}

/// What somebody with more rights could type, so that the operator may do this.
fn remedy(change: &Change, server: &ServerFacts, work: &Work<'_>) -> Option<String> {
    let operator = Ident::new(server.operator.clone()).ok()?;
    match change {
        Change::CreateSchema { .. } => Some(format!(
            "as the database's owner: GRANT CREATE ON DATABASE {} TO {operator};",
            work.tenant.placement.database
        )),
        Change::CreateDatabase { .. } => {
            Some(format!("as a superuser: ALTER ROLE {operator} CREATEDB;"))
        }
        Change::CreateRole { .. } | Change::CreateLogin { .. } => {
            Some(format!("as a superuser: ALTER ROLE {operator} CREATEROLE;"))
        }
        // PostgreSQL 16 lets nobody give away or change a role that somebody else made.
        Change::GrantRole { role, .. }
        | Change::IssuePassword { login: role, .. }
        | Change::EndPassword { login: role, .. }
        | Change::LimitConnections { role, .. }
        | Change::LetInherit(role) => {
            Some(format!("as a superuser: GRANT {role} TO {operator} WITH ADMIN OPTION;"))
        }
        // Nobody may be granted a setting before PostgreSQL 15.
        Change::SetForRole { .. }
        | Change::MirrorSetting { .. }
        | Change::SetForDatabase { .. }
            if server.version < 150_000 =>
        {
            let statements: Vec<String> =
                change.statements(server).iter().map(|sql| format!("{sql};")).collect();
            Some(format!("as a superuser: {}", statements.join(" ")))
        }
        Change::SetForRole { setting, .. }
        | Change::MirrorSetting { setting, .. }
        | Change::SetForDatabase { setting, .. } => {
            Some(format!("as a superuser: GRANT SET ON PARAMETER {setting} TO {operator};"))
        }
        _ => None,
    }
}

/// Whether the server gave up because another session changed the same thing: nothing was done,
/// and doing it again is right.
fn lost_a_race(error: &Error) -> bool {
    error.answer.as_ref().is_some_and(|answer| {
        matches!(answer.sqlstate.as_str(), "40001" | "40P01" | "55P03" | "55006")
            || (answer.sqlstate == "XX000" && answer.message.contains("concurrently"))
    })
}

/// Grows with every attempt, and differs between processes so that they do not meet again.
fn pause(attempt: u32) -> Duration {
    let base = 20_u64 << attempt.min(6);
    Duration::from_millis(base + getrandom::u32().map_or(0, u64::from) % base)
}
