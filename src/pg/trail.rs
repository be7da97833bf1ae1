//! The audit log in the registry: a chain of hashes that the server keeps, whoever writes.

use sha2::{Digest, Sha256};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::answer::failed;
use super::registry::has_table;
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::tenant::TenantId;
use crate::model::trail::{
    EventHash, Follower, Head, Link, LoggedEvent, NewEvent, Outcome, Tampering,
};

/// What is hashed of an event: spelled here and not asked of a function of the registry, which
/// whoever edits events could edit as well.
const TEXT: &str = "jsonb_build_array(e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
                    e.tenant, e.event, e.outcome, e.actor, e.application, e.client, e.origin, e.run, e.asked, \
                    e.before, e.after, e.detail, encode(e.previous, 'hex'))::text";

/// So many events are checked at a time.
const BATCH: i64 = 5000;

/// What keeps the log, and what chains it.
const TRIGGERS: [&str; 2] = ["events_are_chained", "events_are_kept"];

/// Adds an event. Inside a transaction of `session` it stands and falls with it, and whoever adds
/// another waits for its end.
///
/// # Errors
///
/// [`Code::Permission`] when the role may not add events, and whatever else the server refuses.
pub async fn add(session: &Session, event: &NewEvent<'_>) -> Result<(), Error> {
    let origin = serde_json::json!({
        "host": whoami::hostname().ok(),
        "user": whoami::username().ok(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let detail = if event.detail.is_null() { serde_json::json!({}) } else { event.detail.clone() };
    let some = |value: &serde_json::Value| (!value.is_null()).then(|| value.clone());
    session
        .client()
        .query_typed(
            "INSERT INTO tenantctl.events (tenant, event, outcome, run, asked, before, after, detail, origin) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                (&event.tenant.map(TenantId::as_str), Type::TEXT),
                (&event.event, Type::TEXT),
                (&event.outcome.map(Outcome::word), Type::TEXT),
                (&event.run, Type::UUID),
                (&(!event.asked.is_empty()).then_some(event.asked), Type::TEXT),
                (&some(&event.before), Type::JSONB),
                (&some(&event.after), Type::JSONB),
                (&detail, Type::JSONB),
                (&origin, Type::JSONB),
            ],
        )
        .await
        .map_err(|error| {
            let error = failed(error, format!("write {:?} into the audit log", event.event));
            if error.code != Code::Permission {
                return error;
            }
            error.hint(format!(
                "as the registry's owner: GRANT INSERT ON tenantctl.events TO {};",
                session.user_ident()
            ))
        })?;
    Ok(())
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// About this tenant, also under ids that it had before.
    pub tenant: Option<TenantId>,
    /// Not older than so many seconds.
    pub seconds: Option<f64>,
    /// So many of the newest.
    pub limit: i64,
}

/// Reads the newest events that are wanted, newest first.
///
/// # Errors
///
/// Whatever the server refuses, and an event that this tenantctl cannot read.
pub async fn events(session: &Session, wanted: &Wanted) -> Result<Vec<LoggedEvent>, Error> {
    let ids = match &wanted.tenant {
        Some(id) => Some(called(session, id).await?),
        None => None,
    };
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&ids, Type::TEXT_ARRAY), (&wanted.seconds, Type::FLOAT8), (&wanted.limit, Type::INT8)];
    let rows = session
        .client()
        .query_typed(
            "SELECT e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), e.tenant, e.event, \
                    e.outcome, e.actor, e.application, e.client, e.origin, e.run, e.asked, e.before, e.after, \
                    e.detail, e.hash \
             FROM tenantctl.events e \
             WHERE ($1 IS NULL OR e.tenant = ANY ($1)) \
               AND ($2 IS NULL OR e.at >= now() - make_interval(secs => $2)) \
             ORDER BY e.id DESC LIMIT $3",
            &parameters,
        )
        .await
        .map_err(|error| failed(error, "read the audit log"))?;
    rows.iter().map(event).collect()
}

/// The id of a tenant, and those that it had before.
async fn called(session: &Session, id: &TenantId) -> Result<Vec<String>, Error> {
    let attempt = "read what a tenant was called before";
    let mut ids = vec![id.as_str().to_owned()];
    if has_table(session, "former_ids", attempt).await? {
        let rows = session
            .client()
            .query_typed(
                "SELECT f.id FROM tenantctl.former_ids f JOIN tenantctl.tenants t ON t.uuid = f.uuid WHERE t.id = $1",
                &[(&id.as_str(), Type::TEXT)],
            )
            .await
            .map_err(|error| failed(error, attempt))?;
        ids.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(ids)
}

fn event(row: &Row) -> Result<LoggedEvent, Error> {
    let outcome: Option<&str> = row.get(4);
    let json = |at: usize| row.get::<_, Option<serde_json::Value>>(at).unwrap_or_default();
    Ok(LoggedEvent {
        id: row.get(0),
        at: row.get(1),
        tenant: row.get(2),
        event: row.get(3),
        outcome: outcome.map(str::parse).transpose()?,
        actor: row.get(5),
        application: row.get(6),
        client: row.get(7),
        origin: json(8),
        run: row.get(9),
        asked: row.get(10),
        before: json(11),
        after: json(12),
        detail: json(13),
        hash: hash(row.get(14)),
    })
}

/// What following the whole chain has found.
#[derive(Clone, Debug)]
pub struct Followed {
    /// How many events there are.
    pub events: u64,
    /// The newest of them.
    pub head: Head,
    /// Where the chain breaks.
    pub tampered: Vec<Tampering>,
}

/// Follows the chain from its first event to its last, as it stands at one moment. `expected` is a
/// hash that was kept elsewhere. Memory does not grow with the log.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn follow(session: &Session, expected: Option<EventHash>) -> Result<Followed, Error> {
    let client = session.client();
    client
        .batch_execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog",
        )
        .await
        .map_err(|error| failed(error, "begin to read the audit log"))?;
    let followed = follow_from_the_first(client, expected).await;
    let ended = client.batch_execute("ROLLBACK").await;
    let followed = followed?;
    ended.map_err(|error| failed(error, "end reading the audit log"))?;
    Ok(followed)
}

async fn follow_from_the_first(
    client: &Client,
    expected: Option<EventHash>,
) -> Result<Followed, Error> {
    let attempt = "read the audit log";
    let query = format!(
        "SELECT e.id, e.previous, e.hash, {TEXT} FROM tenantctl.events e \
         WHERE e.id > $1 ORDER BY e.id LIMIT {BATCH}"
    );
    let mut follower = Follower::new(expected);
    let mut after = i64::MIN;
    loop {
        let rows = client
            .query_typed(&query, &[(&after, Type::INT8)])
            .await
            .map_err(|error| failed(error, attempt))?;
        for row in &rows {
            let text: &str = row.get(3);
            after = row.get(0);
            follower.follow(&Link {
                id: after,
                previous: hash(row.get(1)),
                hash: hash(row.get(2)),
                computed: EventHash(Sha256::digest(text).into()),
            });
        }
        if rows.is_empty() {
            break;
        }
    }
    let rows = client
        .query_typed("SELECT id, hash FROM tenantctl.event_head", &[])
        .await
        .map_err(|error| failed(error, attempt))?;
    let head = rows.first().map(|row| Head { id: row.get(0), hash: hash(row.get(1)) });
    let on = client
        .query_typed(
            "SELECT t.tgname::text FROM pg_trigger t \
             WHERE t.tgrelid = 'tenantctl.events'::regclass AND t.tgenabled IN ('O', 'A') AND NOT t.tgisinternal",
            &[],
        )
        .await
        .map_err(|error| failed(error, attempt))?;
    let is_on = |trigger: &&'static str| on.iter().any(|row| row.get::<_, &str>(0) == *trigger);
    let off = TRIGGERS.into_iter().filter(|trigger| !is_on(trigger)).collect();
    let (events, last) = (follower.events(), follower.last());
    Ok(Followed { events, head: last, tampered: follower.end(head, off) })
}

/// A hash of the wrong length is none, and no link fits it.
fn hash(bytes: &[u8]) -> EventHash {
    EventHash(bytes.try_into().unwrap_or([0xff; 32]))
}

/// Whether events are chained here: an older registry has none that are.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn exists(session: &Session) -> Result<bool, Error> {
    let rows = session
        .client()
        .query_typed("SELECT to_regclass('tenantctl.event_head') IS NOT NULL", &[])
        .await
        .map_err(|error| failed(error, "look for the audit log"))?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
