//! Whether probes can act as the application on a cluster, and what killed ones left: for `doctor`.

use tokio_postgres::types::Type;

use super::answer::failed;
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;

/// What `verify-rls` would meet on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Roles of tenants that do not exist, sorted.
    pub missing: Vec<String>,
    /// Roles of tenants that the operator can neither become nor lend to a role of its own, sorted.
    pub barred: Vec<String>,
    /// Roles that probes made to log in with, and whose makers are gone, sorted.
    pub left: Vec<String>,
}

/// Looks at the roles of a cluster, in two queries. Changes nothing.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn readiness(session: &Session, roles: &[&Ident]) -> Result<Readiness, Error> {
    let attempt = "read who can act as the application";
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    // From 16 on CREATEROLE lends only what it has ADMIN OPTION on.
    let rows = session
        .client()
        .query_typed(
            "SELECT w.name, r.oid IS NULL, \
                    coalesce(me.rolsuper OR pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER') \
                        OR pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER WITH ADMIN OPTION') \
                        OR (me.rolcreaterole AND NOT r.rolsuper \
                            AND pg_catalog.current_setting('server_version_num')::int4 < 160000), false) \
             FROM pg_catalog.unnest($1) AS w (name) \
             CROSS JOIN (SELECT * FROM pg_catalog.pg_roles WHERE rolname = current_user) AS me \
             LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.name ORDER BY 1",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, attempt))?;
    let mut found = Readiness::default();
    for row in rows {
        let name: String = row.get(0);
        match (row.get(1), row.get(2)) {
            (true, _) => found.missing.push(name),
            (false, false) => found.barred.push(name),
            (false, true) => {}
        }
    }
    // Whoever made one holds a lock on its number for as long as it lives.
    let rows = session
        .client()
        .query_typed(
            "SELECT r.rolname::text FROM pg_catalog.pg_roles r \
             WHERE r.rolname ~ '^tenantctl_probe_[0-9a-f]{12}$' AND NOT EXISTS ( \
                 SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted \
                 AND l.objsubid = 1 AND pg_catalog.to_hex(l.classid::int8 << 32 | l.objid::int8) \
                     = '7463' || pg_catalog.right(r.rolname::text, 12)) \
             ORDER BY 1",
            &[],
        )
        .await
        .map_err(|error| failed(error, attempt))?;
    found.left = rows.iter().map(|row| row.get(0)).collect();
    Ok(found)
}
