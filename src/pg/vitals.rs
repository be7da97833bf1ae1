//! What a server says of itself and of us: for `doctor`.

use super::answer::failed;
use super::session::Session;
use crate::error::{Code, Error};

/// Facts about one server, as one session sees them.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// As it is spelled: `15.18`.
    pub version: String,
    /// As a number: 150018.
    pub version_num: i32,
    /// The role we are.
    pub user: String,
    /// The database we are in.
    pub database: String,
    /// How we are connected: `unix socket`, `TCP`, `TLSv1.3 (…)`.
    pub transport: String,
    /// Whether we are a superuser.
    pub superuser: bool,
    /// Whether we may create roles.
    pub may_create_roles: bool,
    /// Whether we may create databases.
    pub may_create_databases: bool,
    /// Whether we may create schemas here.
    pub may_create_schemas: bool,
    /// Whether anybody may create objects in schema `public`.
    pub public_may_create: bool,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Sessions that ordinary roles may hold.
    pub max_connections: i32,
    /// Sessions that are held.
    pub used_connections: i32,
}

/// Asks a server about itself, in one query that needs no privilege.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn vitals(session: &Session) -> Result<Vitals, Error> {
    let attempt = "read the server's vitals";
    let rows = session
        .client()
        .query_typed(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int4, \
                    current_user::text, current_database()::text, \
                    CASE WHEN s.ssl THEN s.version || ' (' || s.cipher || ')' \
                         WHEN inet_server_addr() IS NULL THEN 'unix socket' ELSE 'TCP without TLS' END, \
                    r.rolsuper, r.rolsuper OR r.rolcreaterole, r.rolsuper OR r.rolcreatedb, \
                    has_database_privilege(current_database(), 'CREATE'), \
                    EXISTS (SELECT FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) x \
                            WHERE n.nspname = 'public' AND x.grantee = 0 AND x.privilege_type = 'CREATE'), \
                    pg_is_in_recovery(), \
                    current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4, \
                    (SELECT count(*)::int4 FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend') \
             FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_stat_ssl s ON s.pid = pg_backend_pid() \
             WHERE r.rolname = current_user",
            &[],
        )
        .await
        .map_err(|error| failed(error, attempt))?;
    let row = rows
        .first()
        .ok_or_else(|| Error::new(Code::Bug, format!("{attempt}: the server sent no row")))?;
    Ok(Vitals {
        version: row.get(0),
        version_num: row.get(1),
        user: row.get(2),
        database: row.get(3),
        transport: row.get(4),
        superuser: row.get(5),
        may_create_roles: row.get(6),
        may_create_databases: row.get(7),
        may_create_schemas: row.get(8),
        public_may_create: row.get(9),
        in_recovery: row.get(10),
        max_connections: row.get(11),
        used_connections: row.get(12),
    })
}
