//! A database that lives for one restore.
//!
//! Whoever uses it holds its lock. One that nobody holds is what a killed run has left: the next
//! restore on the cluster removes it, whichever tenant that is of.

use sha2::{Digest as _, Sha256};
use tokio_postgres::types::Type;

use super::answer::failed;
use super::lock::{self, LockKey};
use super::observe::tenant::server;
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::manifest::Extension;
use crate::model::tenant::TenantId;
use crate::sql;
use crate::sql::Literal;

/// What the name of every such database begins with.
pub const PREFIX: &str = "tenantctl_restore_";

/// The name of the database in which a tenant's backup is restored: the same one every time, so that
/// what a killed run has left is found.
///
/// # Errors
///
/// None: it always fits.
pub fn name(id: &TenantId) -> Result<Ident, Error> {
    let digest = Sha256::digest(id.as_str());
    let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ident::new(format!("{PREFIX}{short}"))
}

/// The server's major version, and the role that the session works as.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn surroundings(session: &Session) -> Result<(u32, Ident), Error> {
    let facts = server(session.client()).await?;
    Ok((facts.version.unsigned_abs() / 10000, Ident::new(facts.operator)?))
}

/// Makes the database anew, under its lock: what a killed run has left goes first.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn make(session: &Session, name: &Ident) -> Result<(), Error> {
    remove(session, name).await?;
    sweep(session).await?;
    let attempt = |error| {
        failed(error, format!("create database {name} to restore into"))
            .hint("the role needs CREATEDB")
    };
    let create = sql!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name);
    session.client().batch_execute(create.as_str()).await.map_err(attempt)?;
    let close = sql!(
        "REVOKE ALL ON DATABASE {} FROM PUBLIC; COMMENT ON DATABASE {} IS {}",
        name,
        name,
        Literal(&mark(session))
    );
    session.client().batch_execute(close.as_str()).await.map_err(attempt)
}

/// Where the lock of such a database is: locks of one database say nothing in another.
fn mark(session: &Session) -> String {
    format!("tenantctl: a restore, locked in database {}", session.database())
}

/// Removes what killed runs have left, as far as their locks are kept in this database.
async fn sweep(session: &Session) -> Result<(), Error> {
    let rows = session
        .client()
        .query_typed(
            "SELECT d.datname::text FROM pg_catalog.pg_database d \
             WHERE pg_catalog.starts_with(d.datname::text, $1) \
               AND pg_catalog.shobj_description(d.oid, 'pg_database') = $2 \
               AND pg_catalog.pg_has_role(d.datdba, 'USAGE') \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid) \
             ORDER BY 1",
            &[(&PREFIX, Type::TEXT), (&mark(session), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, "look for what killed restores have left"))?;
    for row in &rows {
        let name = Ident::new(row.get::<_, String>(0))?;
        let key = LockKey::scratch(&name);
        if lock::try_acquire(session.client(), &key).await? {
            log::info!("removing database {name}, which a killed restore has left");
            remove(session, &name).await?;
            lock::release(session.client(), &key).await?;
        }
    }
    Ok(())
}

/// Removes the database, and ends the sessions in it.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn remove(session: &Session, name: &Ident) -> Result<(), Error> {
    let statement = sql!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name);
    session
        .client()
        .batch_execute(statement.as_str())
        .await
        .map_err(|error| failed(error, format!("drop database {name}")))
}

/// Makes the extensions that a dump of a schema needs and does not hold, where they were.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn make_extensions(session: &Session, extensions: &[Extension]) -> Result<(), Error> {
    for extension in extensions {
        let (name, schema) =
            (Ident::new(extension.name.clone())?, Ident::new(extension.schema.clone())?);
        let statement = sql!(
            "CREATE SCHEMA IF NOT EXISTS {}; CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}",
            schema,
            name,
            schema
        );
        session.client().batch_execute(statement.as_str()).await.map_err(|error| {
            failed(error, format!("make extension {name} in {}", session.database()))
                .hint("the backup needs it, and the server must have it; one that is not trusted only a superuser can make")
        })?;
    }
    Ok(())
}

/// The extensions that objects in some schemas are made with.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn extensions_used(
    session: &Session,
    schemas: &[Ident],
) -> Result<Vec<Extension>, Error> {
    let names: Vec<&str> = schemas.iter().map(Ident::as_str).collect();
    let rows = session
        .client()
        .query_typed(
            "WITH own AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)), \
             objects (classid, objid) AS ( \
               SELECT 'pg_catalog.pg_class'::regclass, oid FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM own) \
               UNION ALL SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM own) \
               UNION ALL SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM own) \
               UNION ALL SELECT 'pg_catalog.pg_constraint'::regclass, oid FROM pg_catalog.pg_constraint WHERE connamespace IN (SELECT oid FROM own) \
               UNION ALL SELECT 'pg_catalog.pg_attrdef'::regclass, d.oid FROM pg_catalog.pg_attrdef d \
                         JOIN pg_catalog.pg_class c ON c.oid = d.adrelid WHERE c.relnamespace IN (SELECT oid FROM own) \
               UNION ALL SELECT 'pg_catalog.pg_rewrite'::regclass, w.oid FROM pg_catalog.pg_rewrite w \
                         JOIN pg_catalog.pg_class c ON c.oid = w.ev_class WHERE c.relnamespace IN (SELECT oid FROM own)) \
             SELECT DISTINCT e.extname::text, n.nspname::text, e.extversion \
             FROM objects o JOIN pg_catalog.pg_depend d ON d.classid = o.classid AND d.objid = o.objid \
             JOIN pg_catalog.pg_depend m ON m.classid = d.refclassid AND m.objid = d.refobjid \
                  AND m.refclassid = 'pg_catalog.pg_extension'::regclass AND m.deptype = 'e' \
             JOIN pg_catalog.pg_extension e ON e.oid = m.refobjid \
             JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY 1",
            &[(&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| failed(error, format!("read the extensions of {}", session.database())))?;
    Ok(rows
        .iter()
        .map(|row| Extension { name: row.get(0), schema: row.get(1), version: row.get(2) })
        .collect())
}
