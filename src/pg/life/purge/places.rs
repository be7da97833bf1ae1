//! The schemas and the database of a tenant.

use tokio_postgres::types::Type;

use crate::error::{Code, Error};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::life::Household;
use crate::pg::answer::failed;
use crate::pg::execute::until_won;
use crate::pg::session::Session;
use crate::sql;
use crate::sql::{List, Sql};

/// The part of the lock table that one transaction may fill.
const SHARE: i64 = 4;

/// So many large objects go at a time.
const OBJECTS: i64 = 500;

/// The tenant's schemas in the database of a session: its own one, and others of its owner.
///
/// # Errors
///
/// Whatever the server refuses; `ownership-conflict` when its schema is somebody else's.
pub async fn own_schemas(session: &Session, house: &Household) -> Result<Vec<Ident>, Error> {
    let tenant = &house.tenant;
    let owner = house.owner_is_its_own.then(|| tenant.owner.as_str());
    let rows = session
        .client()
        .query_typed(
            "SELECT n.nspname::text, r.rolname = $3 FROM pg_catalog.pg_namespace n \
             JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner WHERE n.nspname = $1 OR r.rolname = $2 ORDER BY 1",
            &[
                (&tenant.placement.schema.as_str(), Type::TEXT),
                (&owner, Type::TEXT),
                (&tenant.owner.as_str(), Type::TEXT),
            ],
        )
        .await
        .map_err(|error| failed(error, format!("look for the schemas of tenant {}", tenant.id)))?;
    rows.iter()
        .map(|row| {
            let schema = Ident::new(row.get::<_, String>(0))?;
            if row.get::<_, bool>(1) {
                return Ok(schema);
            }
            let what = format!(
                "remove tenant {}: schema {schema} is not owned by {}",
                tenant.id, tenant.owner
            );
            Err(Error::new(Code::OwnershipConflict, what).hint(format!(
                "if it is the tenant's, as its owner or a superuser: ALTER SCHEMA {schema} OWNER TO {};",
                tenant.owner
            )))
        })
        .collect()
}

/// Drops schemas: first their tables, in transactions that the lock table holds, then what is left.
/// Nothing outside may depend on them: see [`super::dependents()`].
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn drop_schemas(
    session: &Session,
    house: &Household,
    schemas: &[Ident],
) -> Result<(), Error> {
    for schema in schemas {
        for batch in batches(session, schema).await? {
            let names: Vec<Sql> = batch.iter().map(|name| sql!("{}", name)).collect();
            let statement = sql!("DROP TABLE IF EXISTS {} CASCADE", List(&names));
            drop_as_owner(session, house, &statement, &format!("drop tables of schema {schema}"))
                .await?;
        }
        let statement = sql!("DROP SCHEMA IF EXISTS {} CASCADE", schema);
        drop_as_owner(session, house, &statement, &format!("drop schema {schema}")).await?;
    }
    Ok(())
}

async fn drop_as_owner(
    session: &Session,
    house: &Household,
    statement: &Sql,
    what: &str,
) -> Result<(), Error> {
    let all = sql!(
        "BEGIN; SET LOCAL ROLE {}; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = 0; \
         SET LOCAL client_min_messages = warning; {}; COMMIT",
        house.tenant.owner,
        statement
    );
    until_won(|| async {
        let done = session.client().batch_execute(all.as_str()).await;
        if done.is_err() {
            let ended = session.client().batch_execute("ROLLBACK").await;
            log::debug!("rolled back: {ended:?}");
        }
        done.map_err(|error| failed(error, format!("{what} (tenant {})", house.tenant.id)))
    })
    .await
}

/// The tables of a schema in batches that a quarter of the lock table holds; none when the schema fits
/// as a whole. Partitions stand before what they are partitions of.
async fn batches(session: &Session, schema: &Ident) -> Result<Vec<Vec<QualifiedName>>, Error> {
    let attempt = || format!("look for the tables of schema {schema}");
    let rows = session
        .client()
        .query_typed(
            "SELECT c.relname::text, \
                    4 + 2 * (SELECT count(*) FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid) \
                      + (SELECT count(*) FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid OR k.confrelid = c.oid) \
                      + 4 * (SELECT count(*) FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_class'::regclass \
                             AND d.refobjid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')), \
                    (SELECT count(*) FROM pg_catalog.pg_partition_ancestors(c.oid)) AS depth, \
                    (pg_catalog.current_setting('max_locks_per_transaction')::int8 \
                      * (pg_catalog.current_setting('max_connections')::int8 \
                         + pg_catalog.current_setting('max_prepared_transactions')::int8)) AS locks \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') ORDER BY depth DESC, 1",
            &[(&schema.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, attempt()))?;
    let mut tables = Vec::new();
    for row in &rows {
        let name = QualifiedName::new(schema.clone(), Ident::new(row.get::<_, String>(0))?);
        tables.push((name, row.get::<_, i64>(1)));
    }
    let room = rows.first().map_or(0, |row| row.get::<_, i64>(3)) / SHARE;
    Ok(fitting(tables, room))
}

/// Puts tables with their locks into batches of a size; none when all are one.
fn fitting(tables: Vec<(QualifiedName, i64)>, room: i64) -> Vec<Vec<QualifiedName>> {
    if tables.iter().map(|(_, locks)| locks).sum::<i64>() <= room {
        return Vec::new();
    }
    let mut batches: Vec<Vec<QualifiedName>> = Vec::new();
    let mut left = 0;
    for (name, locks) in tables {
        match batches.last_mut() {
            Some(batch) if locks <= left => batch.push(name),
            _ => {
                batches.push(vec![name]);
                left = room;
            }
        }
        left -= locks;
    }
    batches
}

/// Removes the large objects of a role.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn unlink_large_objects(session: &Session, role: &Ident) -> Result<u64, Error> {
    let attempt = || format!("remove the large objects of {role}");
    let mut all = 0;
    loop {
        let begin = sql!("BEGIN; SET LOCAL ROLE {}; SET LOCAL statement_timeout = 0", role);
        let client = session.client();
        let work = async {
            client.batch_execute(begin.as_str()).await?;
            let rows = client
                .query_typed(
                    "SELECT count(pg_catalog.lo_unlink(m.oid)) FROM (SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m \
                       JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner WHERE r.rolname = $1 LIMIT $2) m",
                    &[(&role.as_str(), Type::TEXT), (&OBJECTS, Type::INT8)],
                )
                .await?;
            client.batch_execute("COMMIT").await?;
            Ok(rows.first().map(|row| row.get::<_, i64>(0)).unwrap_or_default())
        };
        let gone: Result<i64, tokio_postgres::Error> = work.await;
        if gone.is_err() {
            let ended = client.batch_execute("ROLLBACK").await;
            log::debug!("rolled back: {ended:?}");
        }
        let gone = gone.map_err(|error| failed(error, attempt()))?;
        if gone == 0 {
            return Ok(all);
        }
        all += gone.unsigned_abs();
    }
}

/// Whether a database is there, and whose it is.
///
/// # Errors
///
/// Whatever the server refuses.
pub async fn is_there(server: &Session, database: &Ident) -> Result<Option<String>, Error> {
    let rows = server
        .client()
        .query_typed(
            "SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database WHERE datname = $1",
            &[(&database.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for database {database}")))?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Drops a database with everybody who is still in it.
///
/// # Errors
///
/// Whatever the server refuses, with what keeps it.
pub async fn drop_database(server: &Session, database: &Ident) -> Result<(), Error> {
    let statement = sql!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database);
    until_won(|| async {
        let done = server.client().batch_execute(statement.as_str()).await;
        done.map_err(|error| {
            let error = failed(error, format!("drop database {database}"));
            if error.code == Code::Permission {
                let operator = server.user_ident();
                return error.hint(format!(
                    "a session in it is not ours to end; as a superuser: GRANT pg_signal_backend TO {operator};"
                ));
            }
            error
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn tables_are_dropped_in_batches_that_fit() {
        let name = |at: usize| {
            QualifiedName::new(Ident::new("s").unwrap(), Ident::new(format!("t{at}")).unwrap())
        };
        let tables = |locks: &[i64]| -> Vec<(QualifiedName, i64)> {
            locks.iter().enumerate().map(|(at, locks)| (name(at), *locks)).collect()
        };
        assert!(fitting(tables(&[5, 5]), 10).is_empty());
        let batches = fitting(tables(&[5, 5, 5, 20, 5]), 10);
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        // What fits nowhere goes alone, and is the server's to judge.
        assert_eq!(sizes, [2, 1, 1, 1]);
        assert_eq!(batches.concat(), (0..5).map(name).collect::<Vec<_>>());
    }
}
