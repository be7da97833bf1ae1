//! Forgets runs: those that ended long ago, and whose process died.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::prepare;
use super::read::{late, read_only};
use super::rows::{finished, milliseconds};
use crate::error::{Code, Error};
use crate::model::count;
use crate::model::run::Run;
use crate::model::tenant::TenantId;
use crate::pg::answer::failed;
use crate::pg::lock::LockKey;
use crate::pg::session::Session;
use crate::sql;

/// How long every run has been quiet: since its end, since the last note of one that never said how
/// it ended.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn quiet(session: &Session) -> Result<BTreeMap<Uuid, Duration>, Error> {
    let found = read_only(session, async |client| {
        client
            .query_typed(
                "SELECT id, (extract(epoch FROM clock_timestamp() - coalesce(finished_at, \
                   (SELECT max(noted_at) FROM tenantctl.run_targets WHERE run = id), started_at)) \
                   * 1000)::bigint FROM tenantctl.runs",
                &[],
            )
            .await
            .map_err(|error| failed(error, "read the age of the runs from the ledger"))
    })
    .await?;
    Ok(found.iter().map(|row| (row.get(0), milliseconds(row.get(1)))).collect())
}

/// Which runs were the last to try how many of these tenants. Where a run that was resumed has made
/// up for a failure of a newer one, both were.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn last_tries(
    session: &Session,
    tenants: &[TenantId],
) -> Result<BTreeMap<Uuid, usize>, Error> {
    let ids: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    // As in `last_failures`: without any of these runs it would say something else.
    let query = sql!(
        "WITH {}, \
         last AS MATERIALIZED ( \
           SELECT newest.* FROM unnest($1::text[]) AS asked(tenant) \
           CROSS JOIN LATERAL ( \
             SELECT t.run, t.tenant, t.state, t.noted_at FROM tenantctl.run_targets t \
             WHERE t.tenant = asked.tenant \
               AND t.state NOT IN ('pending', 'waiting', 'skipped') \
             ORDER BY t.run DESC LIMIT 1) newest) \
         SELECT run, count(*) FROM ( \
           SELECT run, tenant FROM last \
           UNION \
           SELECT since.run, since.tenant FROM last CROSS JOIN late CROSS JOIN LATERAL ( \
             SELECT t.run, t.tenant FROM tenantctl.run_targets t \
             WHERE t.run = late.id AND t.tenant = last.tenant \
               AND t.state IN ('applied', 'up-to-date') \
               AND t.noted_at > last.noted_at OFFSET 0) since \
           WHERE last.state = 'failed') needed GROUP BY run",
        late()
    );
    let found = read_only(session, async |client| {
        client
            .query_typed(query.as_str(), &[(&ids, Type::TEXT_ARRAY)])
            .await
            .map_err(|error| failed(error, "read from the ledger which runs are still needed"))
    })
    .await?;
    let number = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(found.iter().map(|row| (row.get(0), number(row.get(1)))).collect())
}

/// Removes runs with all that is noted of their tenants, in one statement, and says which. A run
/// that goes on, or ended otherwise than it is known here, is left alone.
///
/// `session` must be one of its own.
///
/// # Errors
///
/// [`Code::Permission`] when the role may not remove what the registry's owner keeps, and whatever
/// else the server refuses; then all of them are there.
pub async fn forget(session: &Session, runs: &[&Run]) -> Result<BTreeSet<Uuid>, Error> {
    prepare(session).await?;
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id).collect();
    let keys: Vec<i64> = runs.iter().map(|run| LockKey::run(run.id).number()).collect();
    let ended: Vec<Option<&str>> = runs.iter().map(|run| run.finished.as_deref()).collect();
    // Whoever resumes a run takes its lock first, and this holds it until the run is gone.
    let query = sql!(
        "WITH meant AS MATERIALIZED ( \
           SELECT id, ended FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS m(id, key, ended) \
           WHERE pg_catalog.pg_try_advisory_xact_lock(m.key)) \
         DELETE FROM tenantctl.runs r USING meant \
         WHERE r.id = meant.id AND {} IS NOT DISTINCT FROM meant.ended RETURNING r.id",
        finished()
    );
    let gone = session
        .client()
        .query_typed(
            query.as_str(),
            &[(&ids, Type::UUID_ARRAY), (&keys, Type::INT8_ARRAY), (&ended, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| {
            let error =
                failed(error, format!("remove {} from the ledger", count(runs.len(), "run")));
            if error.code != Code::Permission {
                return error;
            }
            error.hint(format!(
                "as the registry's owner: GRANT SELECT, DELETE ON tenantctl.runs TO {};",
                session.user_ident()
            ))
        })?;
    Ok(gone.iter().map(|row| row.get(0)).collect())
}
