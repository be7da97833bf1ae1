//! What migration files make: they are applied for nobody in a transaction that is rolled back.
//!
//! Promises that nothing stays of it, whoever is killed, and that nobody waits: what is made there no
//! other session sees. Whatever the files do to objects that others use is undone as well, and is
//! held locked until then, as it is when a tenant is made.

use tokio_postgres::types::Type;

use super::answer::failed;
use super::home::{Limits, setup};
use super::observe::structure::{self, SETTINGS};
use super::observe::tenant::schema_facts;
use super::refusal;
use super::script::Script;
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::observed::Observed;
use crate::model::structure::{Fact, OwnNames};
use crate::model::tenant::Isolation;
use crate::plan::drift;
use crate::plan::{self, Plan, Site};
use crate::sql;
use crate::sql::{Literal, Sql};

/// A server that can tell ends the transaction soon after we are gone, in the middle of a statement.
const HEED: &str = "BEGIN PERFORM pg_catalog.set_config('client_connection_check_interval', '1s', true); \
     EXCEPTION WHEN invalid_parameter_value THEN NULL; END";

/// Rows of the catalogue that this transaction wrote: none is older than it.
const OUTSIDE: &str = "
SELECT DISTINCT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(o.name)
FROM (SELECT relnamespace AS ns, relname AS name, xmin FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
      UNION ALL SELECT pronamespace, proname, xmin FROM pg_catalog.pg_proc
      UNION ALL SELECT typnamespace, typname, xmin FROM pg_catalog.pg_type WHERE typtype IN ('e', 'd', 'r')) AS o
JOIN pg_catalog.pg_namespace n ON n.oid = o.ns
WHERE pg_catalog.age(o.xmin) <= 0 AND n.nspname <> $1 AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_') ORDER BY 1";

/// What is applied, and on what.
pub struct Rehearsal<'a> {
    /// The tenant that nobody will ever see.
    pub desired: &'a Desired,
    /// What is known of the server and of the roles.
    pub observed: &'a Observed,
    /// The files, in their order.
    pub scripts: &'a [drift::Script<'a>],
    /// Its names, as the facts replace them.
    pub names: &'a OwnNames,
    /// How long statements may wait and work.
    pub limits: Limits,
}

/// What the files made.
#[derive(Debug)]
pub struct Rehearsed {
    /// Every fact about the schema.
    pub facts: Vec<Fact>,
    /// What they made or changed outside of it, with its schema.
    pub outside: Vec<String>,
}

/// Applies files for nobody, reads what they made, and takes all of it back.
///
/// # Errors
///
/// Whatever the server refuses, with the file and the place in it. Nothing is left either way.
pub async fn rehearse(session: &Session, order: &Rehearsal<'_>) -> Result<Rehearsed, Error> {
    script(session, order)
        .send(session.client())
        .await
        .map_err(|refusal| explained(refusal.error, refusal.ours.is_some(), session, order))?;
    let read = read(session, order).await;
    let ended = session.client().batch_execute("ROLLBACK").await;
    let rehearsed = read?;
    ended.map_err(|error| failed(error, "roll back what the migration files made"))?;
    Ok(rehearsed)
}

/// Everything up to the last file.
fn script<'a>(session: &Session, order: &Rehearsal<'a>) -> Script<'a> {
    let place = place(session);
    let mut script = Script::default();
    // The catalogue is read as it was when the transaction began, so that what others make meanwhile
    // is not taken for what the files made.
    let begin = sql!(
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE; \
         SET LOCAL client_min_messages = warning; \
         SET LOCAL idle_in_transaction_session_timeout = '60s'; DO {}",
        Literal(HEED)
    );
    script.ours(format!("begin a transaction {place}"), &begin);
    let tenant = &order.desired.tenant;
    for step in plan::ground(order.desired, order.observed).steps {
        let attempt = match step.site {
            Site::Server => making_roles(session),
            _ => format!("make a schema for the migration files {place}"),
        };
        script.ours(&*attempt, &become_whom(step.site.role()));
        for statement in step.change.statements(&order.observed.server) {
            script.ours(&*attempt, &statement);
        }
    }
    let home = setup(Some(&tenant.owner), &tenant.placement.schema, order.limits, &sql!("LOCAL"));
    let in_its_own_database = tenant.isolation == Isolation::Database;
    for (at, file) in order.scripts.iter().enumerate() {
        if let Some(before) = at.checked_sub(1).and_then(|at| order.scripts.get(at)) {
            let check = committed(&tenant.placement.schema);
            script.ours(format!("check what {} left to check", before.path), &check);
        }
        let attempt = format!("apply {} to a schema of its own {place}", file.path);
        // What the owner may do in its own database, the operator does in another.
        match file.apart().filter(|_| in_its_own_database) {
            Some((extensions, rest)) => {
                script.ours(&*attempt, &sql!("{}; {}", home, become_whom(None)));
                script.file(&*attempt, file.path, extensions);
                script.ours(&*attempt, &home);
                script.file(attempt, file.path, rest);
            }
            None => {
                script.ours(&*attempt, &home);
                script.file(attempt, file.path, &*file.sql);
            }
        }
    }
    script
}

async fn read(session: &Session, order: &Rehearsal<'_>) -> Result<Rehearsed, Error> {
    let client = session.client();
    let schema = &order.desired.tenant.placement.schema;
    if order.desired.sharing.is_some() {
        bind(session, order).await?;
    }
    let ours = |error| failed(error, "read what the migration files made");
    client.batch_execute(become_whom(None).as_str()).await.map_err(ours)?;
    client.batch_execute(SETTINGS).await.map_err(ours)?;
    let rows =
        client.query_typed(OUTSIDE, &[(&schema.as_str(), Type::TEXT)]).await.map_err(ours)?;
    let outside = rows.iter().map(|row| row.get(0)).collect();
    let facts = structure::facts_within(session, order.names).await?;
    Ok(Rehearsed { facts, outside })
}

/// Binds shared tables to the current tenant, as is done behind every migration of theirs.
async fn bind(session: &Session, order: &Rehearsal<'_>) -> Result<(), Error> {
    let client = session.client();
    let owner = &order.desired.tenant.owner;
    let attempt = || "guard the tables that the migration files made".to_owned();
    client
        .batch_execute(become_whom(None).as_str())
        .await
        .map_err(|error| failed(error, attempt()))?;
    let Some(found) = schema_facts(client, order.desired).await? else {
        let what = format!("{}: a file removed the schema", attempt());
        return Err(Error::new(Code::Migrations, what));
    };
    let Plan { steps, server, .. } = plan::guard(order.desired, order.observed, &found);
    let statements: Vec<Sql> =
        steps.iter().flat_map(|step| step.change.statements(&server)).collect();
    let all = sql!("{}; {}", become_whom(Some(owner)), Sql::joined(&statements, "; "));
    client.batch_execute(all.as_str()).await.map_err(|error| refusal::refused(&error, attempt()))
}

/// What a commit between two files does: constraints that wait are checked, and wait again. Each by
/// its name: ALL would hold for those as well that are still to be made.
fn committed(schema: &Ident) -> Sql {
    let again = sql!(
        "DECLARE waiting text; BEGIN \
         SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, k.conname), ', ') \
         INTO waiting FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_namespace n \
         ON n.oid = k.connamespace WHERE k.condeferred AND n.nspname = {}; \
         IF waiting IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || waiting || ' IMMEDIATE'; \
         EXECUTE 'SET CONSTRAINTS ' || waiting || ' DEFERRED'; END IF; END",
        Literal(schema.as_str())
    );
    sql!("DO {}", Literal(again.as_str()))
}

fn place(session: &Session) -> String {
    format!("in database {}", session.database_ident())
}

fn making_roles(session: &Session) -> String {
    format!("make roles for the migration files {}", place(session))
}

fn become_whom(role: Option<&Ident>) -> Sql {
    role.map_or_else(|| sql!("SET LOCAL ROLE NONE"), |role| sql!("SET LOCAL ROLE {}", role))
}

/// A refusal with what would help.
fn explained(error: Error, ours: bool, session: &Session, order: &Rehearsal<'_>) -> Error {
    let sqlstate = error.answer.as_ref().map(|answer| answer.sqlstate.clone()).unwrap_or_default();
    match (ours, sqlstate.as_str()) {
        (true, "42501") => {
            let Ok(operator) = Ident::new(order.observed.server.operator.clone()) else {
                return error;
            };
            if error.message == making_roles(session) {
                return error.hint(format!("as a superuser: ALTER ROLE {operator} CREATEROLE;"));
            }
            let database = session.database_ident();
            error.hint(format!(
                "as the database's owner: GRANT CREATE ON DATABASE {database} TO {operator};"
            ))
        }
        // It may not run in a transaction, or ends it.
        (false, "25001" | "2D000") => {
            error.hint("what this file makes cannot be seen without applying it to a tenant")
        }
        _ => error,
    }
}
