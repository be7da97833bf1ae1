//! The roles of a tenant, and what they left in every database of the cluster.

use tokio_postgres::types::Type;

use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::pg::answer::failed;
use crate::pg::execute::until_won;
use crate::pg::session::Session;
use crate::sql;
use crate::sql::Sql;

/// Where a role is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleTrace {
    /// The database; none for what belongs to no database.
    pub database: Option<String>,
    /// Whether sessions can begin there.
    pub open: bool,
    /// How many objects it owns there, its default privileges excepted.
    pub owns: i64,
}

/// Where in the cluster a role owns something, or has a privilege; nothing for a role that is not
/// there. The server keeps this in one place for all databases.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn traces(server: &Session, role: &Ident) -> Result<Vec<RoleTrace>, Error> {
    let rows = server
        .client()
        .query_typed(
            "SELECT b.datname::text, coalesce(b.datallowconn, true), \
                    count(*) FILTER (WHERE d.deptype = 'o' AND d.classid <> 'pg_catalog.pg_default_acl'::regclass) \
             FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid \
             LEFT JOIN pg_catalog.pg_database b ON b.oid = d.dbid \
             WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND r.rolname = $1 \
             GROUP BY 1, 2 ORDER BY 1",
            &[(&role.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for what role {role} has")))?;
    Ok(rows
        .iter()
        .map(|row| RoleTrace { database: row.get(0), open: row.get(1), owns: row.get(2) })
        .collect())
}

/// Takes everything that names a role out of the database of a session: its privileges, its default
/// privileges, policies for it. What the owner of tables that others use has granted to it, that
/// owner takes back. Refuses to take an object with it.
///
/// # Errors
///
/// [`Code::OwnershipConflict`] with the objects that it owns, and whatever the server refuses.
pub async fn forget(session: &Session, role: &Ident, owner: &Ident) -> Result<(), Error> {
    let database = session.database().to_owned();
    let attempt = || format!("take role {role} out of database {database}");
    let owned = session
        .client()
        .query_typed(
            "SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_catalog.pg_shdepend d \
             JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid \
             WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass AND r.rolname = $1 AND d.deptype = 'o' \
               AND d.classid <> 'pg_catalog.pg_default_acl'::regclass \
               AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
             ORDER BY 1 LIMIT 5",
            &[(&role.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, attempt()))?;
    if !owned.is_empty() {
        let names: Vec<String> =
            owned.iter().filter_map(|row| row.get::<_, Option<String>>(0)).collect();
        let what = format!("drop role {role}: in database {database} it owns {}", names.join(", "));
        return Err(Error::new(Code::OwnershipConflict, what).hint(format!(
            "give it to somebody, as its owner or a superuser in {database}: REASSIGN OWNED BY {role} TO ...;"
        )));
    }
    // As the role itself: the operator may become it, and need not have its privileges.
    for statement in [let_go(role), take_back(role, owner)] {
        until_won(|| async {
            let done = session.client().batch_execute(statement.as_str()).await;
            if done.is_err() {
                let ended = session.client().batch_execute("ROLLBACK").await;
                log::debug!("rolled back: {ended:?}");
            }
            done.map_err(|error| failed(error, attempt()))
        })
        .await?;
        let named = Some(session.database());
        let left = traces(session, role).await?;
        if role == owner || left.iter().all(|trace| trace.database.as_deref() != named) {
            return Ok(());
        }
    }
    Ok(())
}

/// Takes a role out of a database as the role itself.
pub(in crate::pg) fn let_go(role: &Ident) -> Sql {
    sql!("BEGIN; SET LOCAL ROLE {}; DROP OWNED BY {}; COMMIT", role, role)
}

/// Takes a role out of a database as the owner who granted it something there. Only who has the role's
/// rights may; the owner has them until the transaction's end, so that nobody sees it.
pub(in crate::pg) fn take_back(role: &Ident, owner: &Ident) -> Sql {
    sql!(
        "BEGIN; GRANT {} TO {}; SET LOCAL ROLE {}; DROP OWNED BY {}; RESET ROLE; REVOKE {} FROM {}; COMMIT",
        role,
        owner,
        owner,
        role,
        role,
        owner
    )
}

/// Whether a role is there.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn role_is_there(server: &Session, role: &Ident) -> Result<bool, Error> {
    let rows = server
        .client()
        .query_typed(
            "SELECT FROM pg_catalog.pg_roles WHERE rolname = $1",
            &[(&role.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for role {role}")))?;
    Ok(!rows.is_empty())
}

/// Drops a role that nothing names any more.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn drop_role(server: &Session, role: &Ident) -> Result<(), Error> {
    let statement = sql!("DROP ROLE IF EXISTS {}", role);
    until_won(|| async {
        let done = server.client().batch_execute(statement.as_str()).await;
        done.map_err(|error| failed(error, format!("drop role {role}")))
    })
    .await
}
