//! Reads foreign keys and indexes: what holds rows together, and what refuses equal ones.

use super::catalog::{Reader, get, name, own_schemas};
use crate::error::Error;
use crate::model::catalog::{Cascade, Catalog, ForeignKey};
use crate::model::ident::Ident;
use crate::model::layout::Estate;
use crate::model::surroundings::Index;

impl Reader<'_> {
    /// Reads the keys of tables outside tenants' own schemas, and foreign keys that cross schemas.
    pub(super) async fn keys(&self, catalog: &mut Catalog, estate: &Estate) -> Result<(), Error> {
        let own = own_schemas(estate);
        let rows = self
            .rows(
                "read pg_constraint",
                "SELECT k.conname::text AS name, k.conrelid AS child, k.confrelid AS parent,
                        k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update,
                        (SELECT array_agg(a.attname::text ORDER BY o.at)
                         FROM unnest(k.conkey) WITH ORDINALITY o(num, at)
                         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.num) AS own,
                        (SELECT array_agg(a.attname::text ORDER BY o.at)
                         FROM unnest(k.confkey) WITH ORDINALITY o(num, at)
                         JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = o.num) AS their
                 FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class p ON p.oid = k.confrelid
                 WHERE k.contype = 'f' AND k.conparentid = 0 AND FOREIGN
                   AND (NOT n.nspname = ANY ($1::text[]) OR p.relnamespace <> c.relnamespace)
                 ORDER BY k.conrelid, k.conname",
                &[&own],
            )
            .await?;
        for row in &rows {
            let (child, parent): (Vec<String>, Vec<String>) =
                (get(row, "own")?, get(row, "their")?);
            let columns = child
                .into_iter()
                .zip(parent)
                .map(|(child, parent)| Ok((Ident::new(child)?, Ident::new(parent)?)))
                .collect::<Result<_, Error>>()?;
            catalog.foreign_keys.push(ForeignKey {
                name: name(row, "name")?,
                child: get(row, "child")?,
                parent: get(row, "parent")?,
                columns,
                on_delete: cascade(get(row, "on_delete")?),
                on_update: cascade(get(row, "on_update")?),
            });
        }
        let rows = self
            .rows(
                "read pg_index",
                "SELECT i.relname::text AS name, x.indrelid AS relation, x.indisunique OR x.indisexclusion AS refuses,
                        x.indisprimary AS is_primary, x.indisvalid AS valid, k.columns, k.uuids, k.numbered,
                        0 = ANY (x.indkey::int2[]) AS expressions
                 FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                 CROSS JOIN LATERAL (
                     SELECT array_agg(a.attname::text ORDER BY o.at) AS columns,
                            bool_and(a.atttypid = 'uuid'::regtype) AS uuids,
                            bool_and(a.attidentity <> '' OR (a.atthasdef AND a.atttypid IN (20, 21, 23))) AS numbered
                     FROM unnest(x.indkey::int2[]) WITH ORDINALITY o(num, at)
                     JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = o.num
                     WHERE o.at <= x.indnkeyatts) k
                 WHERE FOREIGN AND NOT n.nspname = ANY ($1::text[])
                 ORDER BY x.indrelid, i.relname",
                &[&own],
            )
            .await?;
        for row in &rows {
            let columns: Option<Vec<String>> = get(row, "columns")?;
            catalog.around.indexes.push(Index {
                name: name(row, "name")?,
                relation: get(row, "relation")?,
                unique: get(row, "refuses")?,
                primary: get(row, "is_primary")?,
                columns: columns
                    .unwrap_or_default()
                    .into_iter()
                    .map(Ident::new)
                    .collect::<Result<_, Error>>()?,
                expressions: get(row, "expressions")?,
                uuids: get::<Option<bool>>(row, "uuids")?.unwrap_or(false),
                numbered: get::<Option<bool>>(row, "numbered")?.unwrap_or(false),
                valid: get(row, "valid")?,
            });
        }
        Ok(())
    }
}

/// What `confdeltype` and `confupdtype` say.
fn cascade(letter: &str) -> Cascade {
    match letter {
        "c" => Cascade::Follow,
        "n" | "d" => Cascade::Empty,
        _ => Cascade::None,
    }
}
