//! Which names are there: for whoever gives a tenant another one.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;

use crate::error::Error;
use crate::model::credential::second_login;
use crate::model::ident::Ident;
use crate::model::tenant::TenantId;
use crate::pg::answer::failed;
use crate::pg::session::Session;

/// The names on a cluster.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Of roles.
    pub roles: BTreeSet<Ident>,
    /// Of databases.
    pub databases: BTreeSet<Ident>,
    /// Of schemas, in one database.
    pub schemas: BTreeSet<Ident>,
}

/// Reads the names of roles and databases.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn names(server: &Session) -> Result<Names, Error> {
    Ok(Names {
        roles: all(server, "SELECT rolname::text FROM pg_catalog.pg_roles").await?,
        databases: all(server, "SELECT datname::text FROM pg_catalog.pg_database").await?,
        schemas: BTreeSet::new(),
    })
}

/// Reads the names of the schemas of a session's database.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn schemas(session: &Session) -> Result<BTreeSet<Ident>, Error> {
    all(session, "SELECT nspname::text FROM pg_catalog.pg_namespace").await
}

async fn all(session: &Session, query: &str) -> Result<BTreeSet<Ident>, Error> {
    let rows = session
        .client()
        .query_typed(query, &[])
        .await
        .map_err(|error| failed(error, "look which names are there"))?;
    rows.iter().map(|row| Ident::new(row.get::<_, String>(0))).collect()
}

/// Second logins of roles, as far as they are there: named so, and members of their role. Anything
/// else of that name is somebody else's.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn second_logins(server: &Session, roles: &[Ident]) -> Result<Vec<Ident>, Error> {
    let pairs: Vec<(&Ident, Ident)> =
        roles.iter().filter_map(|role| Some((role, second_login(role).ok()?))).collect();
    let roles: Vec<&str> = pairs.iter().map(|(role, _)| role.as_str()).collect();
    let logins: Vec<&str> = pairs.iter().map(|(_, login)| login.as_str()).collect();
    let rows = server
        .client()
        .query_typed(
            "SELECT DISTINCT n.login FROM unnest($1, $2) n (role, login) \
             JOIN pg_catalog.pg_roles r ON r.rolname = n.role JOIN pg_catalog.pg_roles l ON l.rolname = n.login \
             JOIN pg_catalog.pg_auth_members m ON m.roleid = r.oid AND m.member = l.oid ORDER BY 1",
            &[(&roles, Type::TEXT_ARRAY), (&logins, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, "look for second logins"))?;
    rows.iter().map(|row| Ident::new(row.get::<_, String>(0))).collect()
}

/// Functions that name a schema in their text or their settings, which no rename reaches.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn naming(session: &Session, schema: &Ident) -> Result<Vec<String>, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT DISTINCT p.oid::regprocedure::text FROM pg_catalog.pg_proc p \
             JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace, \
             LATERAL (SELECT '\\m' || pg_catalog.regexp_replace($1, '(\\W)', '\\\\\\1', 'g') || '\\M') w (word) \
             WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
               AND (p.prosrc ~ word OR p.proconfig::text ~ word) ORDER BY 1",
            &[(&schema.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for functions that name schema {schema}")))?;
    Ok(rows.iter().map(|row| format!("function {}", row.get::<_, String>(0))).collect())
}

/// Whether a tenant is called by the second id that was called by the first one before.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn was_called(session: &Session, was: &TenantId, is: &TenantId) -> Result<bool, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT FROM tenantctl.former_ids f JOIN tenantctl.tenants t ON t.uuid = f.uuid WHERE f.id = $1 AND t.id = $2",
            &[(&was.as_str(), Type::TEXT), (&is.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look whether tenant {is} was called {was}")))?;
    Ok(!rows.is_empty())
}
