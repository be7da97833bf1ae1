//! Repeatable files: which of them a schema has, and how they come with its message.
//!
//! refinery's history cannot hold them, so they are recorded in a table beside it, which belongs to
//! the schema's owner and which nobody else may use.

use std::collections::BTreeMap;

use super::answer::failed;
use super::home::at_home;
use super::many::{self, having};
use super::rewrite::{Schema, locked};
use super::script::Script;
use super::session::Session;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::layout::REPEATABLES_TABLE;
use crate::model::migration::Repeatable;
use crate::plan::pending::decide_repeatables;
use crate::sql;
use crate::sql::{Literal, Sql};

/// The checksums that are recorded in each schema, by the names of the files. A schema without the
/// table has none; one that does not exist is absent.
pub type Repeatables = BTreeMap<Ident, Result<BTreeMap<String, String>, Error>>;

/// Reads what is recorded in many schemas of one database: one query to find the tables, then one
/// for every few hundred. A table that cannot be read is that schema's failure, and hides no other.
///
/// # Errors
///
/// Whatever the server refuses before a table is read.
pub async fn repeatables(session: &Session, schemas: &[&Ident]) -> Result<Repeatables, Error> {
    let found = having(session, schemas, REPEATABLES_TABLE).await?;
    Ok(many::read(found, async |batch| read(session, batch).await).await)
}

/// Reads tables that exist, in one statement.
async fn read(session: &Session, schemas: &[Ident]) -> Result<Repeatables, Error> {
    let parts: Vec<Sql> = schemas
        .iter()
        .map(|schema| {
            sql!(
                "SELECT {}, name::text, checksum::text FROM {}.tenantctl_repeatables",
                Literal(schema.as_str()),
                schema
            )
        })
        .collect();
    let query = Sql::joined(&parts, " UNION ALL ");
    let rows = session.client().query_typed(query.as_str(), &[]).await.map_err(|error| {
        let what = match schemas {
            [only] => format!("the repeatable files of {only}"),
            _ => "repeatable files".to_owned(),
        };
        failed(error, format!("read {what} in {}", session.database()))
    })?;
    let mut found = Repeatables::new();
    for row in &rows {
        let schema = Ident::new(row.get::<_, String>(0))?;
        if let Ok(recorded) = found.entry(schema).or_insert_with(|| Ok(BTreeMap::new())) {
            recorded.insert(row.get(1), row.get::<_, Option<String>>(2).unwrap_or_default());
        }
    }
    Ok(found)
}

/// A part of a tenant's message. Parts go behind each other with `\n;\n` between them: a file may
/// end with a comment.
#[derive(Clone, Debug)]
pub(super) enum Piece<'a> {
    /// Statements of ours.
    Ours(Sql),
    /// A file, as its author wrote it.
    File(&'a Repeatable),
}

/// What applies repeatable files in a transaction that has begun: the table when it is not there,
/// then each file and its row. Nothing for no files.
///
/// Every file begins as the schema's owner in the schema, wherever the one before it went.
pub(super) fn pieces<'a>(
    schema: &Ident,
    owner: Option<&Ident>,
    pending: &[&'a Repeatable],
    table_exists: bool,
) -> Vec<Piece<'a>> {
    let home = || at_home(owner, schema, &sql!("LOCAL"));
    let mut pieces = Vec::new();
    if !pending.is_empty() && !table_exists {
        pieces.push(Piece::Ours(sql!("{}; {}", home(), create(schema))));
    }
    for file in pending {
        pieces.push(Piece::Ours(home()));
        pieces.push(Piece::File(file));
        // The file may have become another role, which cannot write the table.
        pieces.push(Piece::Ours(sql!("{}; {}", home(), record(schema, file))));
    }
    pieces
}

/// Makes the table, and closes it to whom default privileges have opened it.
fn create(schema: &Ident) -> Sql {
    let table = sql!("{}.tenantctl_repeatables", schema);
    let close = sql!(
        "DECLARE who oid; BEGIN FOR who IN SELECT DISTINCT x.grantee FROM pg_catalog.pg_class c, \
         pg_catalog.aclexplode(c.relacl) x WHERE c.oid = {}::pg_catalog.regclass \
         AND x.grantee <> c.relowner LOOP \
         EXECUTE pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s', {}, \
         CASE who WHEN 0 THEN 'PUBLIC' ELSE who::pg_catalog.regrole::text END); END LOOP; END",
        Literal(table.as_str()),
        Literal(table.as_str())
    );
    sql!(
        "CREATE TABLE IF NOT EXISTS {}(name text PRIMARY KEY, checksum text NOT NULL, \
         applied_on text NOT NULL); DO {}",
        table,
        Literal(close.as_str())
    )
}

fn record(schema: &Ident, file: &Repeatable) -> Sql {
    sql!(
        "INSERT INTO {}.tenantctl_repeatables (name, checksum, applied_on) VALUES ({}, {}, \
         pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')) \
         ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_on = excluded.applied_on",
        schema,
        Literal(&file.name),
        Literal(&file.checksum.to_string())
    )
}

/// Applies the repeatable files of a schema that changed, in one transaction under the schema's
/// lock, and returns their names. Costs one query when none did.
///
/// # Errors
///
/// Whatever the server refuses, with the file and the place in it; nothing is applied then.
pub async fn reapply(session: &Session, schema: &Schema<'_>) -> Result<Vec<String>, Error> {
    let name = &schema.placement.schema;
    locked(session, schema, async |_| {
        let mut found = repeatables(session, &[name]).await?;
        let recorded = found.remove(name).transpose()?.unwrap_or_default();
        let pending = decide_repeatables(schema.set, &recorded);
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        let mut script = Script::default();
        let attempt = format!("apply repeatable files to {name}");
        script.ours(&*attempt, &sql!("BEGIN; {}", schema.setup()));
        for piece in pieces(name, Some(schema.owner), &pending, !recorded.is_empty()) {
            match piece {
                Piece::Ours(statements) => script.ours(&*attempt, &statements),
                Piece::File(file) => {
                    script.file(format!("apply {} to {name}", file.path), &file.path, &file.sql);
                }
            }
        }
        script.ours(&*attempt, &sql!("COMMIT"));
        script.send(session.client()).await.map_err(|refusal| refusal.error)?;
        Ok(pending.iter().map(|file| file.name.clone()).collect())
    })
    .await
}
