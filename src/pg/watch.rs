//! Whom sessions wait for.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::answer::failed;
use super::session::Session;
use crate::error::Error;

/// Whether one of the server's processes is still there.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn is_there(session: &Session, pid: i32) -> Result<bool, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1",
            &[(&pid, Type::INT4)],
        )
        .await
        .map_err(|error| failed(error, "look for a process of the server"))?;
    Ok(!rows.is_empty())
}

/// For each of these processes that waits for a lock: who holds it, in words. Of sessions of other
/// roles the server shows the process and hides what it does, unless we may read everything.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn blockers(session: &Session, pids: &[i32]) -> Result<BTreeMap<i32, String>, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT w.pid, b.pid, \
                    coalesce(nullif(b.application_name, ''), b.usename::text, b.backend_type, ''), \
                    coalesce(b.state, ''), coalesce(to_char(b.query_start, 'YYYY-MM-DD HH24:MI:SS TZ'), ''), \
                    coalesce(left(regexp_replace(nullif(b.query, '<insufficient privilege>'), '\\s+', ' ', 'g'), 120), '') \
             FROM unnest($1::int4[]) w(pid), \
                  LATERAL (SELECT min(x) AS pid FROM unnest(pg_catalog.pg_blocking_pids(w.pid)) x) f \
             JOIN pg_catalog.pg_stat_activity b ON b.pid = f.pid",
            &[(&pids, Type::INT4_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, "look who holds a lock"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let (waiting, pid): (i32, i32) = (row.get(0), row.get(1));
            let text = |column: usize| row.get::<_, &str>(column);
            let mut words = format!("pid {pid}");
            for (before, value) in
                [(" ", text(2)), (", ", text(3)), (", since ", text(4)), (": ", text(5))]
            {
                if !value.is_empty() {
                    words.push_str(before);
                    words.push_str(value);
                }
            }
            (waiting, words)
        })
        .collect())
}
