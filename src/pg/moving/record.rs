//! Moves as the registry records them. Each change is one statement, and stands with what it says of
//! the tenant.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::migration::Version;
use crate::model::moving::{Home, Move, Phase, Sum};
use crate::model::tenant::{ClusterName, Placement, TenantId};
use crate::pg::answer::failed;
use crate::pg::session::Session;

const COLUMNS: &str = "id, tenant, phase, method, source, target, version, loaded, sums, sealed, \
     extract(epoch FROM clock_timestamp() - frozen_at)::float8, unwritable_ms, \
     extract(epoch FROM clock_timestamp() - started_at)::float8, snapshot";

#[derive(Serialize, Deserialize)]
struct RawHome {
    isolation: String,
    cluster: String,
    database: String,
    schema: String,
    owner: String,
    roles: Vec<String>,
}

fn spelled(home: &Home) -> Value {
    json!(RawHome {
        isolation: home.isolation.word().to_owned(),
        cluster: home.placement.cluster.to_string(),
        database: home.placement.database.as_str().to_owned(),
        schema: home.placement.schema.as_str().to_owned(),
        owner: home.owner.as_str().to_owned(),
        roles: home.roles.iter().map(|role| role.as_str().to_owned()).collect(),
    })
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Code::RegistryNewer, "read a move from the registry").because(error)
}

fn home(value: Value) -> Result<Home, Error> {
    let raw: RawHome = serde_json::from_value(value).map_err(unreadable)?;
    Ok(Home {
        isolation: raw.isolation.parse()?,
        placement: Placement {
            cluster: ClusterName::new(raw.cluster)?,
            database: Ident::new(raw.database)?,
            schema: Ident::new(raw.schema)?,
        },
        owner: Ident::new(raw.owner)?,
        roles: raw.roles.into_iter().map(Ident::new).collect::<Result<_, _>>()?,
    })
}

#[derive(Serialize, Deserialize)]
struct RawSum {
    table: String,
    rows: i64,
    hash: String,
}

fn read(row: &Row) -> Result<Move, Error> {
    let sums = row.get::<_, Option<Value>>(8).map(|value| {
        let raw: Vec<RawSum> = serde_json::from_value(value).map_err(unreadable)?;
        raw.into_iter()
            .map(|raw| Ok(Sum { table: Ident::new(raw.table)?, rows: raw.rows, hash: raw.hash }))
            .collect::<Result<Vec<Sum>, Error>>()
    });
    let seconds = |at: usize| {
        row.get::<_, Option<f64>>(at).and_then(|age| Duration::try_from_secs_f64(age.max(0.0)).ok())
    };
    Ok(Move {
        id: row.get(0),
        tenant: TenantId::new(row.get::<_, String>(1))?,
        phase: row.get::<_, &str>(2).parse()?,
        method: row.get::<_, &str>(3).parse()?,
        source: home(row.get(4))?,
        target: home(row.get(5))?,
        version: row.get::<_, Option<i64>>(6).map(Version),
        loaded: row.get(7),
        snapshot: row.get(13),
        sums: sums.transpose()?,
        sealed: row.get(9),
        frozen_for: seconds(10),
        unwritable: Duration::from_millis(row.get::<_, i64>(11).unsigned_abs()),
        age: seconds(12).unwrap_or_default(),
    })
}

/// Reads moves, newest first: of one tenant, or of all; those that are not over, or every one.
///
/// # Errors
///
/// Whatever the server refuses, and a row that this tenantctl cannot read.
pub async fn history(
    session: &Session,
    tenant: Option<&TenantId>,
    open: bool,
) -> Result<Vec<Move>, Error> {
    let query = format!(
        "SELECT {COLUMNS} FROM tenantctl.moves WHERE ($1::text IS NULL OR tenant = $1) \
         AND (NOT $2 OR phase NOT IN ('done', 'aborted')) ORDER BY id DESC LIMIT 1000"
    );
    let rows = session
        .client()
        .query_typed(&query, &[(&tenant.map(TenantId::as_str), Type::TEXT), (&open, Type::BOOL)])
        .await
        .map_err(|error| failed(error, "read the moves from the registry"))?;
    rows.iter().map(read).collect()
}

/// The move that a tenant is on, if it is on one.
///
/// # Errors
///
/// As [`history`].
pub async fn find(session: &Session, tenant: &TenantId) -> Result<Option<Move>, Error> {
    Ok(history(session, Some(tenant), true).await?.into_iter().next())
}

async fn change(
    session: &Session,
    wanted: &Move,
    what: &str,
    statement: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<(), Error> {
    let rows = session.client().query_typed(statement, parameters).await.map_err(|error| {
        failed(error, format!("record of tenant {} that {what}", wanted.tenant))
    })?;
    if rows.is_empty() {
        let message = format!("record of tenant {} that {what}: its move is over", wanted.tenant);
        return Err(Error::new(Code::Refused, message)
            .hint(format!("see it with: tenantctl move status {}", wanted.tenant)));
    }
    Ok(())
}

/// Records that a tenant sets out.
///
/// # Errors
///
/// [`Code::Refused`] when it is on its way already, or is not there to be moved.
pub async fn begin(session: &Session, new: &Move) -> Result<(), Error> {
    change(
        session,
        new,
        "it moves",
        "WITH gone AS (UPDATE tenantctl.tenants SET state_before = state, state = 'moving', updated_at = now() \
                       WHERE id = $2 AND state = 'active' RETURNING id) \
         INSERT INTO tenantctl.moves (id, tenant, phase, method, source, target, version) \
         SELECT $1, id, 'moving', $3, $4, $5, $6 FROM gone RETURNING id",
        &[
            (&new.id, Type::UUID),
            (&new.tenant.as_str(), Type::TEXT),
            (&new.method.word(), Type::TEXT),
            (&spelled(&new.source), Type::JSONB),
            (&spelled(&new.target), Type::JSONB),
            (&new.version.map(|version| version.0), Type::INT8),
        ],
    )
    .await
}

/// Records that the new place holds a complete copy.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn mark_loaded(session: &Session, moved: &Move) -> Result<(), Error> {
    let statement = "UPDATE tenantctl.moves SET loaded = true WHERE id = $1 RETURNING id";
    change(session, moved, "everything is copied", statement, &[(&moved.id, Type::UUID)]).await
}

/// Records what a copy sees.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn keep_snapshot(session: &Session, moved: &Move, seen: &str) -> Result<(), Error> {
    let statement = "UPDATE tenantctl.moves SET snapshot = $2 WHERE id = $1 RETURNING id";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&moved.id, Type::UUID), (&seen, Type::TEXT)];
    change(session, moved, "what is copied is seen", statement, &parameters).await
}

/// Records that the tenant is copied while it cannot write: its changes cannot be followed.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn freeze_instead(session: &Session, moved: &Move) -> Result<(), Error> {
    let statement = "UPDATE tenantctl.moves SET method = 'freeze', loaded = false, sums = NULL \
                     WHERE id = $1 RETURNING id";
    change(
        session,
        moved,
        "it is copied while it cannot write",
        statement,
        &[(&moved.id, Type::UUID)],
    )
    .await
}

/// Records that the new place holds no complete copy.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn unload(session: &Session, moved: &Move) -> Result<(), Error> {
    let statement =
        "UPDATE tenantctl.moves SET loaded = false, sums = NULL WHERE id = $1 RETURNING id";
    change(session, moved, "it is copied anew", statement, &[(&moved.id, Type::UUID)]).await
}

/// Records that the tenant cannot write from now on.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn note_frozen(session: &Session, moved: &Move) -> Result<(), Error> {
    let statement = "UPDATE tenantctl.moves SET frozen_at = coalesce(frozen_at, clock_timestamp()) \
                     WHERE id = $1 RETURNING id";
    change(session, moved, "it cannot write", statement, &[(&moved.id, Type::UUID)]).await
}

/// Adds to how long the tenant could not write.
const THAWED: &str = "unwritable_ms = unwritable_ms + coalesce( \
     (extract(epoch FROM clock_timestamp() - frozen_at) * 1000)::bigint, 0), frozen_at = NULL";

/// Records that the tenant can write again. `back` says that it does so in the old place, where what
/// it writes makes comparisons, and copies without a log of changes, worthless.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn note_thawed(session: &Session, moved: &Move, back: bool) -> Result<(), Error> {
    let statement = format!(
        "UPDATE tenantctl.moves SET {THAWED}, sums = CASE WHEN $2 THEN NULL ELSE sums END, \
                loaded = loaded AND NOT ($2 AND method = 'freeze') WHERE id = $1 RETURNING id"
    );
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&moved.id, Type::UUID), (&back, Type::BOOL)];
    change(session, moved, "it can write again", &statement, &parameters).await
}

/// Records what was compared.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn keep_sums(session: &Session, moved: &Move, sums: &[Sum]) -> Result<(), Error> {
    let raw: Vec<RawSum> = sums
        .iter()
        .map(|sum| RawSum {
            table: sum.table.as_str().to_owned(),
            rows: sum.rows,
            hash: sum.hash.clone(),
        })
        .collect();
    let statement = "UPDATE tenantctl.moves SET sums = $2 WHERE id = $1 RETURNING id";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&moved.id, Type::UUID), (&json!(raw), Type::JSONB)];
    change(session, moved, "both places are the same", statement, &parameters).await
}

/// Records what closing the old place to readers took away, or that it is open to them.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn seal(session: &Session, moved: &Move, taken: Option<&Value>) -> Result<(), Error> {
    let statement = "UPDATE tenantctl.moves SET sealed = $2 WHERE id = $1 RETURNING id";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&moved.id, Type::UUID), (&taken, Type::JSONB)];
    change(session, moved, "who may read its old place", statement, &parameters).await
}

/// The registry's row says another place: one statement, together with how far the move is.
async fn settle(
    session: &Session,
    moved: &Move,
    place: &Home,
    (phase, state): (Phase, &str),
    what: &str,
) -> Result<(), Error> {
    let statement = "WITH moved AS (UPDATE tenantctl.moves SET phase = $2 WHERE id = $1 \
                        AND phase NOT IN ('done', 'aborted', 'finishing') RETURNING tenant) \
         UPDATE tenantctl.tenants t SET isolation = $3, cluster = $4, database = $5, schema = $6, owner = $7, \
                roles = $8, state = CASE WHEN $9 = '' THEN coalesce(state_before, 'active') ELSE $9 END, \
                state_before = CASE WHEN $9 = '' THEN NULL ELSE coalesce(state_before, state) END, updated_at = now() \
         FROM moved WHERE t.id = moved.tenant RETURNING t.id";
    let roles: Vec<&str> = place.roles.iter().map(Ident::as_str).collect();
    change(
        session,
        moved,
        what,
        statement,
        &[
            (&moved.id, Type::UUID),
            (&phase.word(), Type::TEXT),
            (&place.isolation.word(), Type::TEXT),
            (&place.placement.cluster.as_str(), Type::TEXT),
            (&place.placement.database.as_str(), Type::TEXT),
            (&place.placement.schema.as_str(), Type::TEXT),
            (&place.owner.as_str(), Type::TEXT),
            (&roles, Type::TEXT_ARRAY),
            (&state, Type::TEXT),
        ],
    )
    .await
}

/// Records that the tenant lives in the new place.
///
/// # Errors
///
/// Whatever the server refuses; another tenant may have taken the place meanwhile.
pub async fn switch(session: &Session, moved: &Move) -> Result<(), Error> {
    settle(session, moved, &moved.target, (Phase::Kept, ""), "it lives in its new place").await
}

/// Records that the tenant lives in the old place (again), and that the new one goes.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn abort(session: &Session, moved: &Move) -> Result<(), Error> {
    let what = "it goes back to its old place";
    settle(session, moved, &moved.source, (Phase::Aborting, "moving"), what).await
}

/// Records that the old place goes.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn finish(session: &Session, moved: &Move) -> Result<(), Error> {
    let statement = "UPDATE tenantctl.moves SET phase = 'finishing' \
                     WHERE id = $1 AND phase IN ('kept', 'finishing') RETURNING id";
    change(session, moved, "its old place goes", statement, &[(&moved.id, Type::UUID)]).await
}

/// Records the end of a move.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn conclude(session: &Session, moved: &Move) -> Result<(), Error> {
    let statement = "WITH moved AS (UPDATE tenantctl.moves \
             SET phase = CASE phase WHEN 'finishing' THEN 'done' ELSE 'aborted' END, finished_at = clock_timestamp() \
             WHERE id = $1 AND phase IN ('finishing', 'aborting') RETURNING tenant, phase) \
         UPDATE tenantctl.tenants t SET \
             state = CASE WHEN moved.phase = 'aborted' THEN coalesce(state_before, 'active') ELSE state END, \
             state_before = CASE WHEN moved.phase = 'aborted' THEN NULL ELSE state_before END, updated_at = now() \
         FROM moved WHERE t.id = moved.tenant RETURNING t.id";
    change(session, moved, "its move is over", statement, &[(&moved.id, Type::UUID)]).await
}

/// The id of a new move.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
