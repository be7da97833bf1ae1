//! Made-up rows: a value for every column that must have one.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::guess;
use super::shape::{Shape, null_row};
use crate::model::catalog::{Column, Fill, Oid, Relation};
use crate::model::ident::Ident;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// Values of a row that exists, by column, as text.
pub(super) type Known = BTreeMap<Ident, String>;

/// The statement that adds a row with the values that are known.
///
/// Leaves out what the server fills by itself and what may be empty, so that as little as possible
/// depends on guessing. A column of a type for which no value is known is left out as well: the row
/// breaks on it, but only after the policies have spoken.
pub(super) fn insert(table: &Relation, shape: &Shape, values: &Known) -> Sql {
    let mut names = Vec::new();
    let mut fields = Vec::new();
    for column in table.columns.iter().filter(|column| column.fill != Fill::Always) {
        let field = match values.get(&column.name) {
            Some(value) => typed(column, value),
            None if !column.not_null || column.fill == Fill::Default => continue,
            None => {
                let kind = shape.kind(column);
                match guess::first(&kind) {
                    Some(value) => typed(column, &value),
                    None if kind.letter == 'c' => null_row(column),
                    None => continue,
                }
            }
        };
        names.push(column.name.clone());
        fields.push(field);
    }
    sql!(
        "INSERT INTO {} ({}) OVERRIDING USER VALUE VALUES ({})",
        table.name,
        List(&names),
        List(&fields)
    )
}

/// The first column that must have a value, and for whose type none is known.
pub(super) fn unknown<'t>(
    table: &'t Relation,
    shape: &Shape,
    values: &Known,
) -> Option<&'t Column> {
    table.columns.iter().find(|column| {
        let kind = shape.kind(column);
        column.not_null
            && column.fill == Fill::Null
            && !values.contains_key(&column.name)
            && kind.letter != 'c'
            && guess::first(&kind).is_none()
    })
}

/// A text as a value of a column's type.
pub(super) fn typed(column: &Column, value: &str) -> Sql {
    sql!("{}::{}", Literal(value), Sql::from_catalog(&column.type_name))
}

/// A row of a table's shape that holds nothing but a tenant: what a policy is evaluated over.
pub(super) fn blank(table: &Relation, tenant: (&Ident, &str)) -> Sql {
    let fields: Vec<Sql> = table
        .columns
        .iter()
        .map(|column| {
            let kind = Sql::from_catalog(&column.type_name);
            if column.name == *tenant.0 {
                sql!("{} AS {}", typed(column, tenant.1), column.name)
            } else {
                sql!("NULL::{} AS {}", kind, column.name)
            }
        })
        .collect();
    sql!("(SELECT {}) AS {}", List(&fields), table.name.name)
}

/// A key that no tenant has, in the shape that the tenant column takes.
pub(super) fn stranger(column: &Column) -> Option<String> {
    match guess::base(&column.type_name) {
        "uuid" => Some(Uuid::new_v4().to_string()),
        "smallint" => Some("-32111".to_owned()),
        "integer" => Some("-2111222333".to_owned()),
        "bigint" | "numeric" => Some("-2111222333444".to_owned()),
        "text" | "character varying" | "character" | "citext" | "public.citext" => {
            Some(guess::word(&column.type_name))
        }
        _ => None,
    }
}

/// The order in which rows can be added: parents before children. Circles stand at the end.
pub(super) fn parents_first(tables: &[Oid], edges: &[(Oid, Oid)]) -> Vec<Oid> {
    let mut order: Vec<Oid> = Vec::new();
    let mut left: Vec<Oid> = tables.to_vec();
    while !left.is_empty() {
        let (ready, waiting): (Vec<Oid>, Vec<Oid>) = left.iter().partition(|table| {
            edges.iter().all(|(child, parent)| {
                child != *table || parent == *table || !left.contains(parent)
            })
        });
        if ready.is_empty() {
            order.extend(waiting);
            break;
        }
        order.extend(ready);
        left = waiting;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_circles_end() {
        assert_eq!(parents_first(&[1, 2, 3], &[(1, 2), (2, 3), (3, 3)]), [3, 2, 1]);
        assert_eq!(parents_first(&[1, 2, 3], &[(1, 2), (2, 1)]), [3, 1, 2]);
    }
}
