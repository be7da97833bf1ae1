//! How busy a server is.

use std::time::Duration;

use super::answer::failed;
use super::session::Session;
use crate::error::Error;
use crate::plan::health::Load;

/// Reads what a server says of its load, in one query that needs no privilege: what only
/// `pg_monitor` may see is left out for others.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn load(session: &Session) -> Result<Load, Error> {
    let attempt = "read the server's load";
    let rows = session
        .client()
        .query_typed(
            "SELECT (SELECT max(extract(epoch FROM replay_lag))::float8 FROM pg_catalog.pg_stat_replication), \
                    o.age, o.who, \
                    (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'), \
                    current_setting('max_connections')::int8 \
             FROM (SELECT) AS one LEFT JOIN LATERAL ( \
                 SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age, \
                        coalesce(nullif(application_name, ''), usename::text, '') || ' (pid ' || pid || ')' AS who \
                 FROM pg_catalog.pg_stat_activity \
                 WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid() \
                   AND application_name NOT LIKE 'tenantctl/%' \
                 ORDER BY xact_start LIMIT 1) AS o ON true",
            &[],
        )
        .await
        .map_err(|error| failed(error, attempt))?;
    let Some(row) = rows.first() else {
        return Ok(Load::default());
    };
    let seconds = |column: usize| {
        row.get::<_, Option<f64>>(column).and_then(|age| Duration::try_from_secs_f64(age).ok())
    };
    let count = |column: usize| usize::try_from(row.get::<_, i64>(column)).unwrap_or_default();
    Ok(Load {
        replication_lag: seconds(0),
        oldest_transaction: seconds(1).zip(row.get::<_, Option<String>>(2)),
        connections: count(3),
        max_connections: count(4),
    })
}
