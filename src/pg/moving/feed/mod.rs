//! What a tenant writes while it is copied: read from the server's log, and applied in the new place.
//!
//! A publication says which rows are meant, a slot keeps the log. Both are read and made through
//! ordinary sessions, with the REPLICATION attribute and no superuser; nothing connects one server to
//! the other. How far was applied is recorded in the new place, in the transaction that applies, so
//! that nothing is applied twice or left out, wherever a process is killed.

mod apply;
mod decode;

use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

pub use self::apply::follow;
use super::closing::{PREFIX, sqlstate};
use super::place::{Place, own_name, texts};
use crate::error::{Code, Error};
use crate::model::holdings::{Firing, Holdings, Reach};
use crate::model::ident::Ident;
use crate::pg::answer::failed;
use crate::sql;
use crate::sql::{Literal, Sql};

/// What publications and slots are called.
const FEED: &str = "tenantctl_move_";

/// How long the slot may wait for transactions that run already, whoever's they are.
const SLOT_WAIT: &str = "60s";

/// How long a slot that a killed process still reads is waited for.
const RELEASE_WAIT: Duration = Duration::from_secs(20);

fn name(place: &Place<'_>) -> Result<Ident, Error> {
    own_name(FEED, place.tenant.uuid, "")
}

/// Why changes cannot be followed; none when they can.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn obstacle(
    place: &Place<'_>,
    holdings: &Holdings,
    target_is_shared: bool,
    there: Option<&Holdings>,
) -> Result<Option<String>, Error> {
    let what = "look whether changes can be followed";
    let rows = place
        .session
        .client()
        .query_typed(
            "SELECT current_setting('wal_level'), current_setting('server_version_num')::int4, \
                    current_setting('server_encoding'), \
                    (SELECT rolsuper OR rolreplication FROM pg_catalog.pg_roles WHERE rolname = current_user), \
                    pg_catalog.has_database_privilege(current_database(), 'CREATE'), \
                    current_setting('max_replication_slots')::int8 > (SELECT count(*) FROM pg_catalog.pg_replication_slots)",
            &[],
        )
        .await
        .map_err(|error| failed(error, place.attempt(what)))?;
    let Some(row) = rows.first() else {
        return Ok(Some("the server does not say what it can".to_owned()));
    };
    let (level, version, encoding): (&str, i32, &str) = (row.get(0), row.get(1), row.get(2));
    let (replicates, creates, slots): (bool, bool, bool) = (row.get(3), row.get(4), row.get(5));
    if level != "logical" {
        return Ok(Some(format!("wal_level is {level}")));
    }
    if !replicates {
        return Ok(Some("the operator has no REPLICATION attribute".to_owned()));
    }
    if !creates {
        return Ok(Some("the operator may not create a publication in this database".to_owned()));
    }
    if !slots {
        return Ok(Some("every replication slot is in use".to_owned()));
    }
    if place.is_shared() && version < 150_000 {
        return Ok(Some("row filters need PostgreSQL 15".to_owned()));
    }
    if encoding != "UTF8" {
        return Ok(Some(format!("the database is encoded as {encoding}")));
    }
    for (table, identity) in identities(place, holdings).await? {
        let held = holdings.tables.iter().find(|(name, _)| name.to_string() == table);
        let Some((_, held)) = held else { continue };
        if identity.is_empty() {
            return Ok(Some(format!("{table} has no key by which the log tells rows apart")));
        }
        match &held.reach {
            Reach::Column { name, .. } if !identity.contains(name) => {
                return Ok(Some(format!("the key of {table} does not hold {name}")));
            }
            Reach::Through { .. } => {
                return Ok(Some(format!("{table} does not say whose a row is")));
            }
            Reach::Column { .. } | Reach::Whole => {}
        }
    }
    let fires = |holdings: &Holdings| {
        holdings.tables.values().any(|table| {
            table.triggers.values().any(|firing| matches!(firing, Firing::Normal | Firing::Always))
        })
    };
    if target_is_shared && there.is_none_or(fires) {
        return Ok(Some(
            "triggers of the shared tables would fire for every change that is applied".to_owned(),
        ));
    }
    Ok(None)
}

/// The columns by which the log tells rows of each table apart.
async fn identities(
    place: &Place<'_>,
    holdings: &Holdings,
) -> Result<Vec<(String, Vec<Ident>)>, Error> {
    let names: Vec<String> = holdings.tables.keys().map(ToString::to_string).collect();
    let rows = place
        .session
        .client()
        .query_typed(
            "SELECT t.name, coalesce((SELECT array_agg(a.attname::text) \
                 FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) k(number), pg_catalog.pg_attribute a \
                 WHERE i.indrelid = c.oid AND a.attrelid = c.oid AND a.attnum = k.number AND c.relpersistence = 'p' \
                   AND CASE c.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate \
                                           WHEN 'i' THEN i.indisreplident ELSE false END), '{}') \
             FROM unnest($1::text[]) t(name) JOIN pg_catalog.pg_class c ON c.oid = t.name::regclass",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, place.attempt("look how rows are told apart")))?;
    rows.iter()
        .map(|row| {
            let columns: Vec<String> = row.get(1);
            let columns = columns.into_iter().map(Ident::new).collect::<Result<_, _>>()?;
            Ok((row.get(0), columns))
        })
        .collect()
}

/// What stands of a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// Something of it.
    pub any: bool,
    /// All of it, with its log complete.
    pub whole: bool,
}

/// Looks for the feed of a tenant.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn feed(place: &Place<'_>) -> Result<Feed, Error> {
    let name = name(place)?;
    let rows = place
        .session
        .client()
        .query_typed(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1), \
                    EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1), \
                    EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 \
                            AND database = current_database() AND coalesce(wal_status, '') <> 'lost')",
            &[(&name.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, place.attempt("look for the log of changes")))?;
    let Some(row) = rows.first() else {
        return Ok(Feed::default());
    };
    let (publication, slot, usable): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    Ok(Feed { any: publication || slot, whole: publication && usable })
}

/// Has the server keep its log of the tenant's changes from now on, anew.
///
/// # Errors
///
/// Whatever the server refuses; a timeout when a transaction that runs already does not end.
pub async fn open_feed(place: &Place<'_>, holdings: &Holdings) -> Result<(), Error> {
    let what = "keep the log of changes";
    close_feed(place).await?;
    let name = name(place)?;
    let mut tables = Vec::new();
    for (table, held) in &holdings.tables {
        tables.push(match &held.reach {
            Reach::Column { name, kind } => sql!(
                "{} WHERE ({} = {}::{})",
                table,
                name,
                Literal(&place.tenant.key),
                Sql::from_catalog(kind)
            ),
            Reach::Whole | Reach::Through { .. } => sql!("{}", table),
        });
    }
    let publish = if place.is_shared() {
        "insert, update, delete"
    } else {
        "insert, update, delete, truncate"
    };
    let create = sql!(
        "BEGIN; SET LOCAL lock_timeout = '5s'; \
         CREATE PUBLICATION {} FOR TABLE {} WITH (publish = {}, publish_via_partition_root = true); COMMIT",
        name,
        Sql::joined(&tables, ", "),
        Literal(publish)
    );
    if let Err(error) = place.run(&create, what).await {
        let ended = place.session.client().batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
        return Err(error);
    }
    // It waits for everybody who has written and is not done.
    let slot = sql!(
        "BEGIN; SET LOCAL statement_timeout = {}; \
         SELECT pg_catalog.pg_create_logical_replication_slot({}, 'pgoutput'); COMMIT",
        Literal(SLOT_WAIT),
        Literal(name.as_str())
    );
    if let Err(error) = place.run(&slot, what).await {
        let ended = place.session.client().batch_execute("ROLLBACK").await;
        log::debug!("rolled back: {ended:?}");
        close_feed(place).await?;
        return Err(error);
    }
    Ok(())
}

/// Lets the server forget its log of the tenant's changes.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn close_feed(place: &Place<'_>) -> Result<(), Error> {
    let what = "forget the log of changes";
    let name = name(place)?;
    let deadline = Instant::now() + RELEASE_WAIT;
    loop {
        let drop = sql!(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = {}",
            Literal(name.as_str())
        );
        match place.run(&drop, what).await {
            // A killed process may still be read to.
            Err(error) if sqlstate(&error) == Some("55006") && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            done => break done?,
        }
    }
    place
        .run(&sql!("SET client_min_messages = warning; DROP PUBLICATION IF EXISTS {}", name), what)
        .await
}

/// What the current transaction sees, as the server prints it.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn snapshot(place: &Place<'_>) -> Result<String, Error> {
    let what = "fix the moment of the copy";
    texts(place, &sql!("SELECT pg_catalog.pg_current_snapshot()::text"), what)
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| Error::new(Code::Bug, place.attempt(what)))
}

/// Where in the new place stands how far was applied: on the trigger that closes its first table.
fn mark(place: &Place<'_>, holdings: &Holdings, value: Option<u64>) -> Result<Sql, Error> {
    let Some(table) = holdings.tables.keys().next() else {
        return Err(Error::new(Code::Bug, place.attempt("record what was applied")));
    };
    let trigger = own_name(PREFIX, place.tenant.uuid, "_old")?;
    Ok(match value {
        Some(value) => {
            let text = value.to_string();
            sql!("COMMENT ON TRIGGER {} ON {} IS {}", trigger, table, Literal(&text))
        }
        None => sql!("COMMENT ON TRIGGER {} ON {} IS NULL", trigger, table),
    })
}

/// Forgets how far was applied: everything is copied anew.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn forget_applied(place: &Place<'_>, holdings: &Holdings) -> Result<(), Error> {
    let forget = sql!(
        "{}; {}; COMMIT",
        place.enter(false, Duration::from_secs(10)),
        mark(place, holdings, None)?
    );
    place.run(&forget, "begin to apply changes").await
}

async fn applied(place: &Place<'_>) -> Result<u64, Error> {
    let trigger = own_name(PREFIX, place.tenant.uuid, "_old")?;
    let found = sql!(
        "SELECT pg_catalog.obj_description(t.oid, 'pg_trigger') FROM pg_catalog.pg_trigger t \
         JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
         WHERE t.tgname = {} AND c.relnamespace = {}::regnamespace \
           AND pg_catalog.obj_description(t.oid, 'pg_trigger') IS NOT NULL",
        Literal(trigger.as_str()),
        Literal(&place.tenant.placement.schema.to_string())
    );
    let found = texts(place, &found, "look what was applied").await?;
    Ok(found.iter().filter_map(|text| text.parse().ok()).max().unwrap_or(0))
}

/// A place in the log, as SQL writes it.
fn place_in_log(value: u64) -> Sql {
    let text = format!("{:X}/{:X}", value >> 32, value & 0xffff_ffff);
    sql!("{}::pg_lsn", Literal(&text))
}
