//! Reads one and the same table of many schemas.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::answer::failed;
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;

/// So many tables are read in one statement: larger ones plan slower than they save.
pub const BATCH: usize = 150;

/// What each schema's table holds, or why it cannot be read.
pub(super) type Each<T> = BTreeMap<Ident, Result<T, Error>>;

/// Which of these schemas exist, and whether each has the table. One query.
///
/// # Errors
///
/// Whatever the server refuses.
pub(super) async fn having(
    session: &Session,
    schemas: &[&Ident],
    table: &str,
) -> Result<BTreeMap<Ident, bool>, Error> {
    let names: Vec<&str> = schemas.iter().map(|schema| schema.as_str()).collect();
    let rows = session
        .client()
        .query_typed(
            "SELECT n.nspname::text, EXISTS (SELECT FROM pg_catalog.pg_class c \
                 WHERE c.relnamespace = n.oid AND c.relname = $2 AND c.relkind IN ('r', 'p')) \
             FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1) ORDER BY 1",
            &[(&names, Type::TEXT_ARRAY), (&table, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(error, format!("look for {table} in {}", session.database())))?;
    rows.iter().map(|row| Ok((Ident::new(row.get::<_, String>(0))?, row.get(1)))).collect()
}

/// Reads the tables that were found, so many in one statement. A schema without one has nothing in
/// it; one that cannot be read is that schema's failure, and hides no other.
pub(super) async fn read<T: Default>(
    found: BTreeMap<Ident, bool>,
    read: impl AsyncFn(&[Ident]) -> Result<Each<T>, Error>,
) -> Each<T> {
    let there: Vec<Ident> =
        found.iter().filter(|(_, there)| **there).map(|(schema, _)| schema.clone()).collect();
    let mut all: Each<T> = found.into_keys().map(|schema| (schema, Ok(T::default()))).collect();
    for batch in there.chunks(BATCH) {
        if let Ok(read) = read(batch).await {
            all.extend(read);
            continue;
        }
        // One that may not be read fails the statement for all.
        for schema in batch {
            match read(std::slice::from_ref(schema)).await {
                Ok(read) => all.extend(read),
                Err(error) => {
                    all.insert(schema.clone(), Err(error));
                }
            }
        }
    }
    all
}
