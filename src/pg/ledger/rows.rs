//! The ledger's rows: many of them in one statement.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::error::{Code, Error};
use crate::model::count;
use crate::model::ident::Ident;
use crate::model::migration::Version;
use crate::model::run::{NewRun, Run, RunError, RunState, RunTarget};
use crate::model::tenant::{ClusterName, Placement, TenantId};
use crate::pg::answer::failed;
use crate::sql;
use crate::sql::Sql;

/// The columns that [`run`] reads, times in RFC 3339.
pub(super) fn run_columns() -> Sql {
    sql!(
        "id, kind, state, \
         to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
         {}, actor, asked, goal",
        finished()
    )
}

/// When a run ended, as [`run`] reads it.
pub(super) fn finished() -> Sql {
    sql!("to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
}

pub(super) fn run(row: &Row) -> Result<Run, Error> {
    Ok(Run {
        id: row.get(0),
        kind: row.get::<_, &str>(1).parse()?,
        state: row.get::<_, &str>(2).parse()?,
        started: row.get(3),
        finished: row.get(4),
        actor: row.get(5),
        asked: row.get(6),
        to: row.get::<_, Option<i64>>(7).map(Version),
    })
}

/// The notes of a batch, as the server is given them: `$2` and on, one array per column.
fn notes() -> Sql {
    sql!(
        "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], \
                $8::text[], $9::text[], $10::text[], $11::integer[], $12::bigint[], \
                $13::text[], $14::text[], $15::text[], $16::text[]) \
         AS n(tenant, cluster, database, schema, from_version, goal, applied, state, cause, \
              attempts, took_ms, error_code, error_sqlstate, error_message, error_location)"
    )
}

#[derive(Default)]
struct Columns<'a> {
    tenant: Vec<&'a str>,
    cluster: Vec<&'a str>,
    database: Vec<&'a str>,
    schema: Vec<&'a str>,
    from: Vec<Option<i64>>,
    goal: Vec<Option<i64>>,
    /// Each an array as the server writes it: `unnest` would flatten arrays of arrays.
    applied: Vec<String>,
    state: Vec<&'static str>,
    cause: Vec<Option<&'a str>>,
    attempts: Vec<i32>,
    took: Vec<i64>,
    code: Vec<Option<&'a str>>,
    sqlstate: Vec<Option<&'a str>>,
    message: Vec<Option<&'a str>>,
    location: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(targets: &'a [RunTarget]) -> Self {
        let mut columns = Self::default();
        for target in targets {
            let error = target.error.as_ref();
            let applied: Vec<String> = target.applied.iter().map(Version::to_string).collect();
            columns.tenant.push(target.tenant.as_str());
            columns.cluster.push(target.placement.cluster.as_str());
            columns.database.push(target.placement.database.as_str());
            columns.schema.push(target.placement.schema.as_str());
            columns.from.push(target.from.map(|version| version.0));
            columns.goal.push(target.goal.map(|version| version.0));
            columns.applied.push(format!("{{{}}}", applied.join(",")));
            columns.state.push(target.state.word());
            columns.cause.push(target.cause.as_deref());
            columns.attempts.push(i32::try_from(target.attempts).unwrap_or(i32::MAX));
            columns.took.push(i64::try_from(target.took.as_millis()).unwrap_or(i64::MAX));
            columns.code.push(error.map(|error| error.code.as_str()));
            columns.sqlstate.push(error.and_then(|error| error.sqlstate.as_deref()));
            columns.message.push(error.map(|error| error.message.as_str()));
            columns.location.push(error.and_then(|error| error.location.as_deref()));
        }
        columns
    }

    /// `$1` is the run.
    fn parameters(&'a self, run: &'a Uuid) -> [(&'a (dyn ToSql + Sync), Type); 16] {
        [
            (run, Type::UUID),
            (&self.tenant, Type::TEXT_ARRAY),
            (&self.cluster, Type::TEXT_ARRAY),
            (&self.database, Type::TEXT_ARRAY),
            (&self.schema, Type::TEXT_ARRAY),
            (&self.from, Type::INT8_ARRAY),
            (&self.goal, Type::INT8_ARRAY),
            (&self.applied, Type::TEXT_ARRAY),
            (&self.state, Type::TEXT_ARRAY),
            (&self.cause, Type::TEXT_ARRAY),
            (&self.attempts, Type::INT4_ARRAY),
            (&self.took, Type::INT8_ARRAY),
            (&self.code, Type::TEXT_ARRAY),
            (&self.sqlstate, Type::TEXT_ARRAY),
            (&self.message, Type::TEXT_ARRAY),
            (&self.location, Type::TEXT_ARRAY),
        ]
    }
}

/// Writes a run and its tenants in one statement, so that there is never a run without them.
pub(super) async fn insert(
    client: &Client,
    new: &NewRun,
    targets: &[RunTarget],
) -> Result<Run, Error> {
    let columns = Columns::of(targets);
    let mut parameters = columns.parameters(&new.id).to_vec();
    let kind = new.kind.word();
    let goal = new.to.map(|version| version.0);
    let more: [(&(dyn ToSql + Sync), Type); 3] =
        [(&kind, Type::TEXT), (&new.asked, Type::TEXT), (&goal, Type::INT8)];
    parameters.extend(more);
    let query = sql!(
        "WITH run AS ( \
           INSERT INTO tenantctl.runs (id, kind, state, asked, goal) \
           VALUES ($1, $17, 'running', $18, $19) RETURNING *), \
         targets AS ( \
           INSERT INTO tenantctl.run_targets (run, tenant, cluster, database, schema, from_version, \
             goal, applied, state, cause, attempts, took_ms, error_code, error_sqlstate, \
             error_message, error_location) \
           SELECT run.id, n.tenant, n.cluster, n.database, n.schema, n.from_version, n.goal, \
             n.applied::bigint[], n.state, n.cause, n.attempts, n.took_ms, n.error_code, \
             n.error_sqlstate, n.error_message, n.error_location FROM run, {}) \
         SELECT {} FROM run",
        notes(),
        run_columns()
    );
    let row = client
        .query_typed_one(query.as_str(), &parameters)
        .await
        .map_err(|error| failed(error, format!("write down run {} in the registry", new.id)))?;
    run(&row)
}

/// Writes how tenants of a run stand.
///
/// # Errors
///
/// [`Code::Refused`] when the run was ended meanwhile by somebody else.
pub(super) async fn update(client: &Client, run: Uuid, targets: &[RunTarget]) -> Result<(), Error> {
    let columns = Columns::of(targets);
    let query = sql!(
        "UPDATE tenantctl.run_targets AS t \
         SET from_version = n.from_version, goal = n.goal, applied = n.applied::bigint[], \
             state = n.state, cause = n.cause, attempts = n.attempts, took_ms = n.took_ms, \
             error_code = n.error_code, error_sqlstate = n.error_sqlstate, \
             error_message = n.error_message, error_location = n.error_location, \
             noted_at = clock_timestamp() \
         FROM {} WHERE t.run = $1 AND t.tenant = n.tenant \
           AND EXISTS (SELECT FROM tenantctl.runs r WHERE r.id = $1 AND r.state = 'running')",
        notes()
    );
    let what = || format!("write down how {} of run {run} stands", count(targets.len(), "tenant"));
    let written = client
        .execute_typed(query.as_str(), &columns.parameters(&run))
        .await
        .map_err(|error| failed(error, what()))?;
    match usize::try_from(written) {
        Ok(written) if written == targets.len() => Ok(()),
        Ok(0) => Err(ended_elsewhere(run)),
        _ => Err(Error::new(Code::Bug, format!("{}: {written} belong to it", what()))),
    }
}

/// Writes how a run ended.
///
/// # Errors
///
/// As [`update`].
pub(super) async fn end(client: &Client, run: Uuid, state: RunState) -> Result<(), Error> {
    let ended = client
        .execute_typed(
            "UPDATE tenantctl.runs SET state = $2, finished_at = clock_timestamp() \
             WHERE id = $1 AND state IN ('running', $2)",
            &[(&run, Type::UUID), (&state.word(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("write down that run {run} is {state}")))?;
    if ended == 1 { Ok(()) } else { Err(ended_elsewhere(run)) }
}

fn ended_elsewhere(run: Uuid) -> Error {
    Error::new(
        Code::Refused,
        format!("write the ledger of run {run}: another process took it up and ended it"),
    )
}

/// Says that a run goes on again; none when there is no such run.
pub(super) async fn take_up(client: &Client, id: Uuid) -> Result<Option<Run>, Error> {
    let query = sql!(
        "UPDATE tenantctl.runs SET state = 'running', finished_at = NULL WHERE id = $1 RETURNING {}",
        run_columns()
    );
    client
        .query_typed_opt(query.as_str(), &[(&id, Type::UUID)])
        .await
        .map_err(|error| failed(error, format!("take up run {id}")))?
        .as_ref()
        .map(run)
        .transpose()
}

/// Reads the tenants of a run, in the order of their ids.
pub(super) async fn targets(client: &Client, run: Uuid) -> Result<Vec<RunTarget>, Error> {
    let rows = client
        .query_typed(
            "SELECT tenant, cluster, database, schema, from_version, goal, applied, state, cause, \
                    attempts, took_ms, error_code, error_sqlstate, error_message, error_location \
             FROM tenantctl.run_targets WHERE run = $1 ORDER BY tenant COLLATE \"C\"",
            &[(&run, Type::UUID)],
        )
        .await
        .map_err(|error| failed(error, format!("read the tenants of run {run}")))?;
    rows.iter().map(target).collect()
}

fn target(row: &Row) -> Result<RunTarget, Error> {
    Ok(RunTarget {
        tenant: TenantId::new(row.get::<_, String>(0))?,
        placement: Placement {
            cluster: ClusterName::new(row.get::<_, String>(1))?,
            database: Ident::new(row.get::<_, String>(2))?,
            schema: Ident::new(row.get::<_, String>(3))?,
        },
        from: row.get::<_, Option<i64>>(4).map(Version),
        goal: row.get::<_, Option<i64>>(5).map(Version),
        applied: row.get::<_, Vec<i64>>(6).into_iter().map(Version).collect(),
        state: row.get::<_, &str>(7).parse()?,
        cause: row.get(8),
        attempts: u32::try_from(row.get::<_, i32>(9)).unwrap_or_default(),
        took: milliseconds(row.get(10)),
        error: error(row, 11),
    })
}

/// Reads why a tenant failed, from four columns.
pub(super) fn error(row: &Row, from: usize) -> Option<RunError> {
    Some(RunError {
        code: row.get::<_, Option<String>>(from)?,
        sqlstate: row.get(from + 1),
        message: row.get::<_, Option<String>>(from + 2).unwrap_or_default(),
        location: row.get(from + 3),
    })
}

pub(super) fn milliseconds(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or_default())
}
