//! The statements that write one tenant's rows into a table.

use super::mapping::TableMap;
use crate::model::holdings::HeldTable;
use crate::model::ident::{Ident, QualifiedName};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// Reads rows in COPY's text format into columns.
pub fn copy_in(table: &QualifiedName, columns: &[Ident]) -> Sql {
    sql!("COPY {} ({}) FROM STDIN", table, List(columns))
}

/// Makes a temporary table that holds archived rows until they are inserted, with the types that
/// they will have; it goes with the transaction.
pub fn stage(number: usize, map: &TableMap) -> Sql {
    let fields: Vec<Sql> = map
        .fields
        .iter()
        .enumerate()
        .map(|(at, place)| match place {
            Some(column) => sql!("held.{} AS {}", column, field(at)),
            None => sql!("NULL::pg_catalog.text AS {}", field(at)),
        })
        .collect();
    sql!(
        "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} AS held WITH NO DATA",
        staged(number),
        List(&fields),
        map.to
    )
}

/// Reads archived rows into the temporary table.
pub fn copy_into_stage(number: usize) -> Sql {
    sql!("COPY {} FROM STDIN", in_stage(number))
}

/// Empties the temporary table.
pub fn empty_stage(number: usize) -> Sql {
    sql!("TRUNCATE {}", in_stage(number))
}

/// Inserts what the temporary table holds, with the tenant's key where it belongs.
pub fn insert(number: usize, map: &TableMap, key: &str) -> Sql {
    let mut columns: Vec<Sql> = Vec::new();
    let mut values: Vec<Sql> = Vec::new();
    for (at, place) in map.fields.iter().enumerate() {
        if let Some(column) = place {
            columns.push(sql!("{}", column));
            values.push(field(at));
        }
    }
    for (column, kind) in &map.keyed {
        columns.push(sql!("{}", column));
        values.push(sql!("{}::{}", Literal(key), Sql::from_catalog(kind)));
    }
    sql!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}",
        map.to,
        List(&columns),
        List(&values),
        in_stage(number)
    )
}

/// Runs several inserts as one statement: foreign keys among them are checked at its end.
pub fn together(inserts: &[Sql]) -> Sql {
    let parts: Vec<Sql> = inserts
        .iter()
        .enumerate()
        .map(|(at, insert)| sql!("{} AS ({})", field(at), insert))
        .collect();
    sql!("WITH {} SELECT", List(&parts))
}

/// Whether rows have to be inserted: COPY writes them as they are, and is refused where row-level
/// security binds whoever writes.
pub fn is_staged(map: &TableMap, table: &HeldTable) -> bool {
    !map.is_plain() || (table.rls && table.forced)
}

fn staged(number: usize) -> Sql {
    let number = i32::try_from(number).unwrap_or_default();
    sql!("tenantctl_rows_{}", number)
}

fn in_stage(number: usize) -> Sql {
    sql!("pg_temp.{}", staged(number))
}

/// What a field of an archived row is called there.
fn field(at: usize) -> Sql {
    let at = i32::try_from(at).unwrap_or_default();
    sql!("field_{}", at)
}
