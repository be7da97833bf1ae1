//! Reads ledgers: of runs that ended, that go on, and whose process died.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::rows;
use crate::error::{Code, Error};
use crate::model::migration::Version;
use crate::model::run::{RunError, RunOverview, RunReference, RunState, RunTarget, TargetState};
use crate::model::tenant::TenantId;
use crate::pg::answer::failed;
use crate::pg::lock::LockKey;
use crate::pg::session::Session;
use crate::sql;
use crate::sql::Sql;

/// So many runs are asked for the versions of tenants: of those that earlier ones met, most have
/// been met again.
const LAST: i64 = 3;

/// How many runs of one beginning are named when it fits several.
const NAMED: i64 = 5;

/// Whether the registry keeps ledgers: one that an older tenantctl made has none.
///
/// # Errors
///
/// [`Code::Permission`] when the role may not look into the registry.
pub async fn exists(session: &Session) -> Result<bool, Error> {
    let row = session
        .client()
        .query_typed_one("SELECT to_regclass('tenantctl.runs') IS NOT NULL", &[])
        .await
        .map_err(|error| failed(error, "look for runs in the registry"))?;
    Ok(row.get(0))
}

/// Reads so many runs, newest first.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn runs(session: &Session, limit: u32) -> Result<Vec<RunOverview>, Error> {
    let limit = i64::from(limit);
    read_only(session, async |client| {
        let which = sql!("SELECT * FROM tenantctl.runs ORDER BY id DESC LIMIT $1");
        overviews(client, &which, &[(&limit, Type::INT8)]).await
    })
    .await
}

/// Reads the run that a person named.
///
/// # Errors
///
/// [`Code::NotFound`] when there is none; [`Code::Usage`] with the ids when there are several.
pub async fn find(session: &Session, reference: &RunReference) -> Result<RunOverview, Error> {
    let mut found = match reference {
        RunReference::Last => runs(session, 1).await?,
        RunReference::Prefix(digits) => {
            read_only(session, async |client| {
                let which = sql!(
                    "SELECT * FROM tenantctl.runs \
                     WHERE starts_with(replace(id::text, '-', ''), $1) ORDER BY id DESC LIMIT $2"
                );
                overviews(client, &which, &[(digits, Type::TEXT), (&NAMED, Type::INT8)]).await
            })
            .await?
        }
    };
    match (found.len(), found.pop()) {
        (1, Some(one)) => Ok(one),
        (_, None) => Err(unknown(&reference.to_string())),
        (_, Some(last)) => {
            let ids: Vec<String> =
                found.iter().chain([&last]).map(|one| one.run.id.to_string()).collect();
            Err(Error::new(Code::Usage, format!("several runs begin with {reference}"))
                .hint(format!("write more of it: {}", ids.join(", "))))
        }
    }
}

pub(super) fn unknown(reference: &str) -> Error {
    let message = match reference {
        "last" => "there is no run yet".to_owned(),
        id => format!("there is no run {id}"),
    };
    Error::new(Code::NotFound, message).hint("see the runs with: tenantctl runs list")
}

/// Reads the tenants of a run, in the order of their ids.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn targets(session: &Session, run: Uuid) -> Result<Vec<RunTarget>, Error> {
    read_only(session, async |client| rows::targets(client, run).await).await
}

/// Reads, of each of these tenants, why the newest run that tried it failed. A tenant is not there
/// when that run did not fail, or when a run that was resumed has made up for it since.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn last_failures(
    session: &Session,
    tenants: &[TenantId],
) -> Result<BTreeMap<TenantId, (Uuid, RunError)>, Error> {
    let ids: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    // Nobody goes through all that ever happened to a tenant: OFFSET 0 keeps the planner from it.
    let query = sql!(
        "WITH {} \
         SELECT last.tenant, last.run, last.error_code, last.error_sqlstate, \
                last.error_message, last.error_location \
         FROM unnest($1::text[]) AS asked(tenant) \
         CROSS JOIN LATERAL ( \
           SELECT * FROM tenantctl.run_targets t WHERE t.tenant = asked.tenant \
             AND t.state NOT IN ('pending', 'waiting', 'skipped') \
           ORDER BY t.run DESC LIMIT 1) last \
         WHERE last.state = 'failed' AND ( \
           SELECT count(*) FROM late CROSS JOIN LATERAL ( \
             SELECT FROM tenantctl.run_targets since \
             WHERE since.run = late.id AND since.tenant = last.tenant \
               AND since.state IN ('applied', 'up-to-date') \
               AND since.noted_at > last.noted_at OFFSET 0) made_up) = 0",
        late()
    );
    let found = read_only(session, async |client| {
        client
            .query_typed(query.as_str(), &[(&ids, Type::TEXT_ARRAY)])
            .await
            .map_err(|error| failed(error, "read the last failures from the ledger"))
    })
    .await?;
    let mut failures = BTreeMap::new();
    for row in &found {
        if let Some(error) = rows::error(row, 2) {
            failures.insert(TenantId::new(row.get::<_, String>(0))?, (row.get(1), error));
        }
    }
    Ok(failures)
}

/// Reads the version that each tenant had when one of the newest runs last wrote about it: it may
/// have moved on since. Tenants that those runs did not meet are absent.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn last_versions(session: &Session) -> Result<BTreeMap<TenantId, Version>, Error> {
    let found = session
        .client()
        .query_typed(
            "SELECT tenant, greatest(from_version, applied[array_upper(applied, 1)]) \
             FROM tenantctl.run_targets \
             WHERE run = ANY (ARRAY(SELECT id FROM tenantctl.runs ORDER BY id DESC LIMIT $1)) \
             ORDER BY run",
            &[(&LAST, Type::INT8)],
        )
        .await
        .map_err(|error| failed(error, "read the last versions from the ledger"))?;
    let mut versions = BTreeMap::new();
    for row in &found {
        if let Some(version) = row.get(1) {
            versions.insert(TenantId::new(row.get::<_, String>(0))?, Version(version));
        }
    }
    Ok(versions)
}

/// `late`: runs that ended after a newer one had begun. Only these can have made up for a failure of
/// the newer one, and they are few.
pub(super) fn late() -> Sql {
    sql!(
        "late AS MATERIALIZED ( \
           SELECT id FROM ( \
             SELECT id, finished_at, lead(started_at) OVER (ORDER BY id) AS next \
             FROM tenantctl.runs) r \
           WHERE next < coalesce(finished_at, 'infinity'))"
    )
}

/// Reads within one transaction that cannot write.
pub(super) async fn read_only<T>(
    session: &Session,
    read: impl AsyncFn(&Client) -> Result<T, Error>,
) -> Result<T, Error> {
    let client = session.client();
    client
        .batch_execute("BEGIN READ ONLY")
        .await
        .map_err(|error| failed(error, "begin to read the ledger"))?;
    let read = read(client).await;
    // Nothing was written, so nothing can be lost: what was read is what counts.
    if let Err(error) = client.batch_execute("ROLLBACK").await {
        log::debug!("end reading the ledger: {error}");
    }
    read
}

/// A run says how it ended before it gives its lock back, so one that ends between the two looks
/// killed; one that still does when it is read again is.
async fn overviews(
    client: &Client,
    which: &Sql,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<RunOverview>, Error> {
    let before = overviews_now(client, which, parameters).await?;
    if !before.iter().any(RunOverview::was_killed) {
        return Ok(before);
    }
    let mut now = overviews_now(client, which, parameters).await?;
    for one in now.iter_mut().filter(|one| one.was_killed()) {
        let lived = before.iter().find(|before| before.run.id == one.run.id);
        one.process = lived.and_then(|before| before.process);
    }
    Ok(now)
}

async fn overviews_now(
    client: &Client,
    which: &Sql,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<RunOverview>, Error> {
    let query = sql!(
        "WITH chosen AS ({}) \
         SELECT {}, (extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at) \
                      * 1000)::bigint, states, numbers \
         FROM chosen CROSS JOIN LATERAL ( \
           SELECT array_agg(state) AS states, array_agg(number) AS numbers FROM ( \
             SELECT t.state, count(*) AS number FROM tenantctl.run_targets t \
             WHERE t.run = chosen.id GROUP BY t.state) counted) counts \
         ORDER BY id DESC",
        which,
        rows::run_columns()
    );
    let found = client
        .query_typed(query.as_str(), parameters)
        .await
        .map_err(|error| failed(error, "read the runs from the ledger"))?;
    let locks = locks(client).await?;
    let mut overviews = Vec::new();
    for row in &found {
        let run = rows::run(row)?;
        let states: Vec<String> = row.get::<_, Option<_>>(9).unwrap_or_default();
        let numbers: Vec<i64> = row.get::<_, Option<_>>(10).unwrap_or_default();
        let mut counts = BTreeMap::new();
        for (state, number) in states.iter().zip(numbers) {
            counts.insert(state.parse::<TargetState>()?, usize::try_from(number).unwrap_or(0));
        }
        let process = match run.state {
            RunState::Running => locks.get(&LockKey::run(run.id).number()).copied(),
            _ => None,
        };
        overviews.push(RunOverview { run, counts, process, took: rows::milliseconds(row.get(8)) });
    }
    Ok(overviews)
}

/// Who holds which advisory lock in the registry's database.
async fn locks(client: &Client) -> Result<BTreeMap<i64, i32>, Error> {
    let held = client
        .query_typed(
            "SELECT classid::bigint << 32 | objid::bigint, pid FROM pg_catalog.pg_locks \
             WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pid IS NOT NULL \
               AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
            &[],
        )
        .await
        .map_err(|error| failed(error, "look whose process lives"))?;
    Ok(held.iter().map(|row| (row.get(0), row.get(1))).collect())
}
