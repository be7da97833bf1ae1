//! What the registry keeps of issued passwords, and the sessions that began with them.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::answer::failed;
use super::observe::logins::{moment, validity};
use super::registry::has_table;
use super::session::Session;
use crate::error::Error;
use crate::model::credential::{Issued, IssuedState, Validity};
use crate::model::ident::Ident;
use crate::model::tenant::ClusterName;
use crate::sql;

/// How long the end of a session is waited for, in milliseconds.
const END_WAIT: i64 = 5000;

/// Reads what was issued on a cluster; nothing where the registry is older than that.
///
/// # Errors
///
/// Whatever the server refuses, and a row that this tenantctl cannot read.
pub async fn issued(session: &Session, cluster: &ClusterName) -> Result<Vec<Issued>, Error> {
    let attempt = "read what the registry keeps of credentials";
    if !has_table(session, "credentials", attempt).await? {
        return Ok(Vec::new());
    }
    let rows = session
        .client()
        .query_typed(
            "SELECT login, role, state, (extract(epoch FROM issued_at) * 1000000)::int8, \
                    CASE WHEN valid_until IN ('infinity', '-infinity') THEN valid_until::text END, \
                    CASE WHEN isfinite(valid_until) THEN (extract(epoch FROM valid_until) * 1000000)::int8 END, \
                    CASE WHEN replaces_until IN ('infinity', '-infinity') THEN replaces_until::text END, \
                    CASE WHEN isfinite(replaces_until) \
                         THEN (extract(epoch FROM replaces_until) * 1000000)::int8 END \
             FROM tenantctl.credentials WHERE cluster = $1",
            &[(&cluster.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, attempt))?;
    rows.iter().map(row).collect()
}

fn row(row: &Row) -> Result<Issued, Error> {
    Ok(Issued {
        login: Ident::new(row.get::<_, String>(0))?,
        role: Ident::new(row.get::<_, String>(1))?,
        state: row.get::<_, &str>(2).parse()?,
        issued: row.get::<_, Option<i64>>(3).map(moment).transpose()?,
        until: validity(row, 4)?,
        replaces_until: match validity(row, 6)? {
            Validity::Unsaid => None,
            said => Some(said),
        },
    })
}

/// Writes rows about a cluster's logins, all in one statement. An unknown moment of issue leaves the
/// one that is known; the latest of two rows about one login is not promised, so there is one.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn write(session: &Session, cluster: &ClusterName, rows: &[Issued]) -> Result<(), Error> {
    let text = |validity: Validity| validity.to_string();
    let logins: Vec<&str> = rows.iter().map(|row| row.login.as_str()).collect();
    let roles: Vec<&str> = rows.iter().map(|row| row.role.as_str()).collect();
    let states: Vec<&str> = rows.iter().map(|row| row.state.word()).collect();
    let issued: Vec<Option<String>> =
        rows.iter().map(|row| row.issued.map(|at| at.to_string())).collect();
    let until: Vec<String> = rows.iter().map(|row| text(row.until)).collect();
    let replaces: Vec<Option<String>> =
        rows.iter().map(|row| row.replaces_until.map(text)).collect();
    session
        .client()
        .query_typed(
            "INSERT INTO tenantctl.credentials \
               (cluster, login, role, state, issued_at, valid_until, replaces_until) \
             SELECT $1, n.login, n.role, n.state, n.issued::timestamptz, n.until::timestamptz, \
                    n.replaces::timestamptz \
             FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
               AS n(login, role, state, issued, until, replaces) \
             ON CONFLICT (cluster, login) DO UPDATE SET \
               role = excluded.role, state = excluded.state, \
               issued_at = coalesce(excluded.issued_at, credentials.issued_at), \
               valid_until = excluded.valid_until, replaces_until = excluded.replaces_until, \
               actor = session_user, noted_at = clock_timestamp()",
            &[
                (&cluster.as_str(), Type::TEXT),
                (&logins, Type::TEXT_ARRAY),
                (&roles, Type::TEXT_ARRAY),
                (&states, Type::TEXT_ARRAY),
                (&issued, Type::TEXT_ARRAY),
                (&until, Type::TEXT_ARRAY),
                (&replaces, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(|error| failed(error, "note in the registry what was issued"))?;
    Ok(())
}

/// Forgets what was issued for roles that are gone from a cluster, and for their second logins.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn forget(
    session: &Session,
    cluster: &ClusterName,
    roles: &[&Ident],
) -> Result<(), Error> {
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    session
        .client()
        .query_typed(
            "DELETE FROM tenantctl.credentials WHERE cluster = $1 AND (login = ANY ($2) OR role = ANY ($2))",
            &[(&cluster.as_str(), Type::TEXT), (&roles, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, "forget in the registry what was issued"))?;
    Ok(())
}

/// Notes that roles were given their first passwords now, which nothing ends.
///
/// # Errors
///
/// Whatever the server refuses.
pub(super) async fn note(
    session: &Session,
    cluster: &ClusterName,
    roles: &[Ident],
) -> Result<(), Error> {
    let rows: Vec<Issued> = roles
        .iter()
        .map(|role| Issued {
            login: role.clone(),
            role: role.clone(),
            state: IssuedState::Current,
            issued: Some(jiff::Timestamp::now()),
            until: Validity::Endless,
            replaces_until: None,
        })
        .collect();
    write(session, cluster, &rows).await
}

/// Ends the sessions that began as a role, or those that began before a moment, and waits for their
/// end. Returns how many there were.
///
/// # Errors
///
/// [`Code::Permission`](crate::error::Code::Permission) when the operator may not become the role,
/// and whatever else the server refuses.
pub async fn end_sessions(
    session: &Session,
    login: &Ident,
    before: Option<jiff::Timestamp>,
) -> Result<usize, Error> {
    let client = session.client();
    let attempt = || format!("end the sessions of {login}");
    // Whoever is the role may end its sessions.
    let begin = sql!("BEGIN; SET LOCAL ROLE {}", login);
    client.batch_execute(begin.as_str()).await.map_err(|error| failed(error, attempt()))?;
    let before = before.map(|at| at.to_string());
    let ended = client
        .query_typed(
            "SELECT pg_catalog.pg_terminate_backend(a.pid, $3) FROM pg_catalog.pg_stat_activity a \
             WHERE a.usename = $1 AND a.pid <> pg_catalog.pg_backend_pid() \
               AND ($2::timestamptz IS NULL OR a.backend_start < $2::timestamptz)",
            &[(&login.as_str(), Type::TEXT), (&before, Type::TEXT), (&END_WAIT, Type::INT8)],
        )
        .await
        .map_err(|error| failed(error, attempt()));
    let over = client.batch_execute("ROLLBACK").await;
    let ended = ended?;
    over.map_err(|error| failed(error, attempt()))?;
    Ok(ended.len())
}
