//! What the registry keeps of a life.

use std::collections::BTreeSet;

use tokio_postgres::types::{ToSql, Type};

use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::life::{Hold, Life};
use crate::model::tenant::{State, Tenant, TenantId};
use crate::pg::answer::failed;
use crate::pg::session::Session;
use crate::plan::task::{Entry, Grace};

/// How times are told: in UTC.
const TIME: &str = "to_char($ AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";

/// Reads where a tenant stands in its life.
///
/// # Errors
///
/// [`Code::NotFound`] when the registry does not know it, and whatever the server refuses.
pub async fn life(session: &Session, id: &TenantId) -> Result<Life, Error> {
    let attempt = || format!("read where tenant {id} stands");
    let query = format!(
        "SELECT state, state_before, closed, {}, coalesce(delete_after <= clock_timestamp(), false), holds, \
                (SELECT m.phase FROM tenantctl.moves m WHERE m.tenant = t.id AND m.phase NOT IN ('done', 'aborted')) \
         FROM tenantctl.tenants t WHERE id = $1",
        TIME.replace('$', "delete_after")
    );
    let rows = session
        .client()
        .query_typed(&query, &[(&id.as_str(), Type::TEXT)])
        .await
        .map_err(|error| failed(error, attempt()))?;
    let Some(row) = rows.first() else {
        return Err(Error::new(Code::NotFound, format!("there is no tenant {id}"))
            .hint("see them all with: tenantctl list"));
    };
    let unreadable =
        |error: serde_json::Error| Error::new(Code::RegistryNewer, attempt()).because(error);
    let closed: Option<serde_json::Value> = row.get(2);
    Ok(Life {
        state: row.get::<_, &str>(0).parse()?,
        before: row.get::<_, Option<&str>>(1).map(str::parse).transpose()?,
        closed: closed.map(serde_json::from_value).transpose().map_err(unreadable)?,
        delete_after: row.get(3),
        expired: row.get(4),
        holds: serde_json::from_value(row.get(5)).map_err(unreadable)?,
        moved: row.get::<_, Option<&str>>(6).map(str::parse).transpose()?,
    })
}

/// Moves a life on, with the event that says so, in one statement.
///
/// # Errors
///
/// Whatever the server refuses.
pub(in crate::pg) async fn enter(
    session: &Session,
    id: &TenantId,
    entry: &Entry,
) -> Result<(), Error> {
    let closed = match &entry.closed {
        None => None,
        Some(doors) => Some(serde_json::to_value(doors).map_err(|error| {
            Error::new(Code::Bug, format!("write down the doors of tenant {id}")).because(error)
        })?),
    };
    let (keeps, seconds) = match entry.grace {
        Grace::AsItIs => (true, None),
        Grace::None => (false, None),
        Grace::FromNow(grace) => (false, Some(grace.as_secs_f64())),
    };
    let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
        (&id.as_str(), Type::TEXT),
        (&entry.state.word(), Type::TEXT),
        (&entry.before.map(State::word), Type::TEXT),
        (&closed, Type::JSONB),
        (&keeps, Type::BOOL),
        (&seconds, Type::FLOAT8),
    ];
    session
        .client()
        .query_typed(
            "WITH row AS ( \
               UPDATE tenantctl.tenants SET state = $2, state_before = $3, closed = $4, updated_at = now(), \
                 delete_after = CASE WHEN $5 THEN delete_after ELSE clock_timestamp() + make_interval(secs => $6) END \
               WHERE id = $1 RETURNING id) \
             INSERT INTO tenantctl.events (tenant, event, detail) \
             SELECT id, 'state', jsonb_build_object('state', $2) FROM row",
            &parameters,
        )
        .await
        .map_err(|error| failed(error, format!("record tenant {id} as {}", entry.state)))?;
    Ok(())
}

/// Tenants whose grace is over, and those whose end was begun, in the order of their ids.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn expired(session: &Session) -> Result<Vec<TenantId>, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT id FROM tenantctl.tenants \
             WHERE state = 'deleted' OR (state = 'deleting' AND delete_after <= clock_timestamp()) ORDER BY id",
            &[],
        )
        .await
        .map_err(|error| failed(error, "look for tenants whose grace is over"))?;
    rows.iter().map(|row| TenantId::new(row.get::<_, String>(0))).collect()
}

/// Keeps a tenant from being purged. Says whether that is new.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn hold(session: &Session, id: &TenantId, reason: &str) -> Result<bool, Error> {
    let query = format!(
        "UPDATE tenantctl.tenants SET updated_at = now(), holds = holds || jsonb_build_array(jsonb_build_object( \
           'reason', $2, 'by', session_user, 'since', {})) \
         WHERE id = $1 AND NOT EXISTS (SELECT FROM jsonb_array_elements(holds) h WHERE h ->> 'reason' = $2) \
         RETURNING id",
        TIME.replace('$', "clock_timestamp()")
    );
    let rows = session
        .client()
        .query_typed(&query, &[(&id.as_str(), Type::TEXT), (&reason, Type::TEXT)])
        .await
        .map_err(|error| failed(error, format!("hold tenant {id}")))?;
    Ok(!rows.is_empty())
}

/// Takes one hold away, or all.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn release(session: &Session, id: &TenantId, hold: Option<&Hold>) -> Result<(), Error> {
    session
        .client()
        .query_typed(
            "UPDATE tenantctl.tenants SET updated_at = now(), holds = coalesce( \
               (SELECT jsonb_agg(h ORDER BY n) FROM jsonb_array_elements(holds) WITH ORDINALITY AS x (h, n) \
                WHERE $2 IS NOT NULL AND h ->> 'reason' <> $2), '[]') WHERE id = $1",
            &[
                (&id.as_str(), Type::TEXT),
                (&hold.map(|hold| hold.reason.as_str()), Type::TEXT),
            ],
        )
        .await
        .map_err(|error| failed(error, format!("clear the hold of tenant {id}")))?;
    Ok(())
}

/// Those of some roles that the registry knows as another tenant's as well.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn shared_roles(
    session: &Session,
    tenant: &Tenant,
    roles: &[Ident],
) -> Result<BTreeSet<Ident>, Error> {
    let names: Vec<&str> = roles.iter().map(Ident::as_str).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&tenant.id.as_str(), Type::TEXT),
        (&names, Type::TEXT_ARRAY),
        (&tenant.placement.cluster.as_str(), Type::TEXT),
    ];
    let rows = session
        .client()
        .query_typed(
            "SELECT DISTINCT role FROM unnest($2) role JOIN tenantctl.tenants t \
               ON t.id <> $1 AND t.state <> 'purged' AND t.cluster = $3 AND (role = ANY (t.roles) OR role = t.owner)",
            &parameters,
        )
        .await
        .map_err(|error| failed(error, format!("read whose the roles of tenant {} are", tenant.id)))?;
    rows.iter().map(|row| Ident::new(row.get::<_, String>(0))).collect()
}

/// Moves a life on to another state, with everything else as it is.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn enter_state(session: &Session, id: &TenantId, state: State) -> Result<(), Error> {
    let now = life(session, id).await?;
    if now.state == state {
        return Ok(());
    }
    enter(session, id, &Entry::of(&now, state)).await
}

/// The rows that a tenant had when its end began, by table, as the audit log keeps them.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn purge_begun(
    session: &Session,
    id: &TenantId,
) -> Result<Option<serde_json::Value>, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT detail -> 'tables' FROM tenantctl.events \
             WHERE tenant = $1 AND event IN ('purge', 'erase') AND outcome = 'begun' \
               AND jsonb_typeof(detail -> 'tables') = 'object' ORDER BY id DESC LIMIT 1",
            &[(&id.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("read what tenant {id} had when its end began")))?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// The server's clock, for a receipt.
#[derive(Clone, Debug)]
pub struct Clock {
    /// When the end began.
    pub begun: String,
    /// Now.
    pub now: String,
    /// The role that is logged in.
    pub by: String,
}

/// Reads the clock.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn clock(session: &Session, id: &TenantId) -> Result<Clock, Error> {
    let query = format!(
        "SELECT {}, {}, session_user::text FROM (SELECT max(at) AS at FROM tenantctl.events \
           WHERE tenant = $1 AND event IN ('purge', 'erase') AND outcome = 'begun' \
             AND jsonb_typeof(detail -> 'tables') = 'object') begun",
        TIME.replace('$', "coalesce(at, clock_timestamp())"),
        TIME.replace('$', "clock_timestamp()")
    );
    let rows = session
        .client()
        .query_typed(&query, &[(&id.as_str(), Type::TEXT)])
        .await
        .map_err(|error| failed(error, "read the clock for a receipt"))?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Bug, "read the clock for a receipt"))?;
    Ok(Clock { begun: row.get(0), now: row.get(1), by: row.get(2) })
}

/// Reads in a transaction that sees one moment and changes nothing. Without JIT: to compile a question
/// about the catalogues takes a server seconds, and to answer it milliseconds.
///
/// # Errors
///
/// Those of what is read, and any failure of the session.
pub async fn within<T>(
    session: &Session,
    read: impl AsyncFnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let client = session.client();
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off")
        .await
        .map_err(|error| failed(error, "begin to read a tenant"))?;
    let done = read().await;
    let ended = client.batch_execute("ROLLBACK").await;
    let done = done?;
    ended.map_err(|error| failed(error, "end reading a tenant"))?;
    Ok(done)
}
