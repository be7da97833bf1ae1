//! Ends sessions: of a tenant's roles, and in its database.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::pg::answer::failed;
use crate::pg::session::Session;
use crate::plan::task::Whose;
use crate::sql;

/// How long the server waits for a session to end, in milliseconds.
const WAIT: i64 = 5000;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// So many were ended.
    pub ended: usize,
    /// Those of these roles go on: the operator may not end them.
    pub left: BTreeSet<String>,
}

/// Ends sessions, this program's own excepted.
///
/// The server lets only those end a session who have the privileges of its role. The operator may
/// become the tenant's roles; of a pool's login, which it made and is no member of, it becomes a
/// member in a transaction that is rolled back: nobody else ever sees that.
///
/// # Errors
///
/// Whatever the server refuses, except to end a session: those that go on are told.
pub async fn end_sessions(session: &Session, whose: &Whose) -> Result<Ended, Error> {
    let client = session.client();
    let mut answer = Ended::default();
    for (role, pids) in found(client, whose).await? {
        answer.ended += pids.len();
        if end(client, &pids).await.is_ok() || end_as(client, &role, &pids).await.is_ok() {
            continue;
        }
        answer.ended -= pids.len();
        answer.left.insert(role);
    }
    Ok(answer)
}

/// The sessions, by their role.
async fn found(client: &Client, whose: &Whose) -> Result<BTreeMap<String, Vec<i32>>, Error> {
    let roles: Vec<&str> = whose.roles.iter().map(Ident::as_str).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&roles, Type::TEXT_ARRAY), (&whose.database.as_ref().map(Ident::as_str), Type::TEXT)];
    let rows = client
        .query_typed(
            "SELECT usename::text, pid FROM pg_catalog.pg_stat_activity \
             WHERE pid <> pg_catalog.pg_backend_pid() AND usename IS NOT NULL \
               AND (usename = ANY ($1) OR datname = $2) \
               AND NOT (usename = session_user AND application_name LIKE 'tenantctl/%')",
            &parameters,
        )
        .await
        .map_err(|error| failed(error, "look for the tenant's sessions"))?;
    let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for row in &rows {
        found.entry(row.get(0)).or_default().push(row.get(1));
    }
    Ok(found)
}

async fn end(client: &Client, pids: &[i32]) -> Result<(), Error> {
    client
        .query_typed(
            "SELECT pg_catalog.pg_terminate_backend(pid, $2) FROM pg_catalog.unnest($1) pid",
            &[(&pids, Type::INT4_ARRAY), (&WAIT, Type::INT8)],
        )
        .await
        .map_err(|error| failed(error, "end the tenant's sessions"))?;
    Ok(())
}

async fn end_as(client: &Client, role: &str, pids: &[i32]) -> Result<(), Error> {
    let role = Ident::new(role)?;
    let become_it = [
        sql!("BEGIN; SET LOCAL ROLE {}", role),
        sql!("BEGIN; GRANT {} TO CURRENT_USER; SET LOCAL ROLE {}", role, role),
    ];
    let mut last = Error::new(Code::Bug, "end the tenant's sessions");
    for statement in become_it {
        let began = client.batch_execute(statement.as_str()).await;
        let done = match began {
            Ok(()) => end(client, pids).await,
            Err(error) => Err(failed(error, format!("become {role} to end its sessions"))),
        };
        let rolled_back = client.batch_execute("ROLLBACK").await;
        rolled_back.map_err(|error| failed(error, "end ending the tenant's sessions"))?;
        match done {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
