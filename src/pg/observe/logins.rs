//! Reads roles as logins: until when their passwords work, and what their sessions begin with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::tenant::{dangerous, ident, members, server, settings};
use crate::error::{Code, Error};
use crate::model::credential::{LoginFacts, Logins, Validity};
use crate::model::ident::Ident;
use crate::model::observed::OperatorReach;
use crate::pg::answer::failed;
use crate::pg::session::Session;

/// Reads those of some roles that exist. Changes nothing. Whether a role has a password at all, the
/// server shows to superusers only, and is not asked.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn logins(session: &Session, names: &[&Ident]) -> Result<Logins, Error> {
    let client = session.client();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let server = server(client).await?;
    let now = now(client).await?;
    let set = if server.membership_options() { "SET" } else { "MEMBER" };
    let rows = client
        .query_typed(
            "SELECT r.rolname::text, r.rolcanlogin, r.rolinherit, r.rolconnlimit, r.rolsuper, r.rolbypassrls, \
                    r.rolcreaterole, r.rolreplication, \
                    CASE WHEN r.rolvaliduntil IN ('infinity', '-infinity') THEN r.rolvaliduntil::text END, \
                    CASE WHEN pg_catalog.isfinite(r.rolvaliduntil) \
                         THEN (extract(epoch FROM r.rolvaliduntil) * 1000000)::int8 END, \
                    (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid), \
                    pg_catalog.pg_has_role(current_user, r.oid, $2), \
                    pg_catalog.pg_has_role(current_user, r.oid, 'USAGE') \
             FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($1)",
            &[(&names, Type::TEXT_ARRAY), (&set, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, "read the logins"))?;
    let mut facts = BTreeMap::new();
    for row in &rows {
        facts.insert(
            ident(row, 0)?,
            LoginFacts {
                login: row.get(1),
                inherit: row.get(2),
                connection_limit: row.get(3),
                dangerous: dangerous(row, 4),
                validity: validity(row, 8)?,
                sessions: row.get(10),
                operator: OperatorReach { set: row.get(11), inherit: row.get(12) },
                settings: BTreeMap::new(),
            },
        );
    }
    let rows = client
        .query_typed(
            "SELECT r.rolname::text, d.datname::text, s.setconfig FROM pg_catalog.pg_db_role_setting s \
             JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
             LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
             WHERE r.rolname = ANY ($1)",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, "read the settings of the logins"))?;
    for row in &rows {
        if let Some(facts) = facts.get_mut(&ident(row, 0)?) {
            let database = row.get::<_, Option<String>>(1).map(Ident::new).transpose()?;
            facts.settings.insert(database, settings(row.get(2)));
        }
    }
    let members = members(client, &names).await?;
    Ok(Logins { server, now, facts, members })
}

/// The server's clock.
///
/// # Errors
///
/// Any failure of the session.
pub async fn clock(session: &Session) -> Result<Timestamp, Error> {
    now(session.client()).await
}

async fn now(client: &Client) -> Result<Timestamp, Error> {
    let rows = client
        .query_typed(
            "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8",
            &[],
        )
        .await
        .map_err(|error| failed(error, "read the server's clock"))?;
    rows.first().map_or_else(
        || Err(Error::new(Code::Bug, "read the server's clock: the server sent no row")),
        |row| moment(row.get(0)),
    )
}

/// A validity in two columns: infinite in words, finite in microseconds.
pub(in crate::pg) fn validity(row: &Row, from: usize) -> Result<Validity, Error> {
    let words: Option<&str> = row.get(from);
    let finite: Option<i64> = row.get(from + 1);
    Ok(match (words, finite) {
        (Some("-infinity"), _) => Validity::Ended,
        (Some(_), _) => Validity::Endless,
        (None, Some(micros)) => Validity::Until(moment(micros)?),
        (None, None) => Validity::Unsaid,
    })
}

/// A moment as the server counts it.
pub(in crate::pg) fn moment(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros)
        .map_err(|error| Error::new(Code::Server, "read a moment of the server").because(error))
}
