//! What stands on a server that somebody else made: schemas, databases and keys that may be
//! tenants. Changes nothing.

use tokio_postgres::Row;

use super::answer::failed;
use super::registry;
use super::session::Session;
use crate::error::Error;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::tenant::{State, Tenant};
use crate::sql;

/// A schema and who uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSchema {
    /// Its name.
    pub name: Ident,
    /// Its owner.
    pub owner: Ident,
    /// Who may use it, beside the owner, superusers and whoever asks.
    pub users: Vec<Ident>,
}

/// Reads the schemas of a session's database, in the order of their names; the server's own and the
/// registry are left out.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn schemas(session: &Session) -> Result<Vec<FoundSchema>, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT n.nspname::text, o.rolname::text, \
                    ARRAY(SELECT DISTINCT r.rolname::text FROM pg_catalog.aclexplode(n.nspacl) x \
                          JOIN pg_catalog.pg_roles r ON r.oid = x.grantee \
                          WHERE x.privilege_type = 'USAGE' AND x.grantee <> n.nspowner \
                            AND NOT r.rolsuper AND r.rolname <> current_user AND r.rolname !~ '^pg_' \
                          ORDER BY 1) \
             FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner \
             WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'tenantctl') \
             ORDER BY n.nspname",
            &[],
        )
        .await
        .map_err(|error| failed(error, "look for schemas"))?;
    rows.iter().map(schema).collect()
}

fn schema(row: &Row) -> Result<FoundSchema, Error> {
    let users: Vec<String> = row.get(2);
    Ok(FoundSchema {
        name: Ident::new(row.get::<_, String>(0))?,
        owner: Ident::new(row.get::<_, String>(1))?,
        users: users.into_iter().map(Ident::new).collect::<Result<_, _>>()?,
    })
}

/// Reads the databases that take connections and are no templates, in the order of their names.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn databases(session: &Session) -> Result<Vec<Ident>, Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT d.datname::text FROM pg_catalog.pg_database d \
             WHERE d.datallowconn AND NOT d.datistemplate AND d.datconnlimit <> -2 ORDER BY d.datname",
            &[],
        )
        .await
        .map_err(|error| failed(error, "look for databases"))?;
    rows.iter().map(|row| Ident::new(row.get::<_, String>(0))).collect()
}

/// Reads the keys of tenants from a column, each once, with what another column calls them.
///
/// # Errors
///
/// [`Code::Permission`](crate::error::Code::Permission) when the operator may not read the table,
/// and whatever else the server refuses.
pub async fn keys(
    session: &Session,
    table: &QualifiedName,
    key: &Ident,
    name: Option<&Ident>,
) -> Result<Vec<(String, String)>, Error> {
    let query = sql!(
        "SELECT DISTINCT {}::text, {}::text FROM {} WHERE {} IS NOT NULL ORDER BY 1",
        key,
        name.unwrap_or(key),
        table,
        key
    );
    let rows = session.client().query_typed(query.as_str(), &[]).await.map_err(|error| {
        failed(error, format!("read the keys of tenants from {table}"))
            .hint(format!("GRANT SELECT ON {table} TO {};", session.user_ident()))
    })?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, Option<String>>(1).unwrap_or_default()))
        .collect())
}

/// Enters a tenant that exists already into the registry. The caller holds the tenant's lock, and
/// has seen that nobody has the id.
///
/// # Errors
///
/// [`Code::NameTaken`](crate::error::Code::NameTaken) when another tenant holds the schema, the
/// database, the uuid or the key.
pub async fn enter(session: &Session, tenant: &Tenant) -> Result<(), Error> {
    registry::record(session.client(), tenant, State::Active).await
}
