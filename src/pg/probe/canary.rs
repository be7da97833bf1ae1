//! Made-up rows: a value for every column that must have one.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::guess::{self, Kind};
use super::mark::Mark;
use super::shape::{Shape, null_row};
use crate::model::catalog::{Column, Fill, Oid};
use crate::model::ident::{Ident, QualifiedName};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// Values of a row that exists, by column, as text.
pub(super) type Known = BTreeMap<Ident, String>;

/// Where marks are put, besides where a row cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// In every column that can hold one, so that whatever copies the row copies a mark.
    Everywhere,
    /// In as few as possible, so that as little as possible depends on guessing.
    Sparing,
}

/// A value for every column that must have one, and marks; on top of what is given.
///
/// Says which column must have a value for whose type none is known.
pub(super) fn values(
    shape: &Shape,
    given: &Known,
    (mark, table): (&Mark, usize),
    extent: Extent,
) -> Result<Known, String> {
    let mut values = given.clone();
    for column in &shape.columns {
        if column.fill == Fill::Always || values.contains_key(&column.name) {
            continue;
        }
        let needed = column.not_null && column.fill == Fill::Null;
        let kind = shape.kind(column);
        let free = !shape.is_checked(&column.name) && !shape.is_reference(&column.name);
        let marked = marked(&kind, (mark, table)).filter(|_| free);
        let value = if shape.is_counted(&column.name) || shape.pointed_at.contains(&column.name) {
            marked.or_else(|| number(&kind)).or_else(|| guess::first(&kind).filter(|_| needed))
        } else if needed {
            marked.or_else(|| guess::first(&kind))
        } else if extent == Extent::Everywhere {
            marked
        } else {
            None
        };
        match value {
            Some(value) => {
                values.insert(column.name.clone(), value);
            }
            None if needed && kind.letter != 'c' => {
                return Err(format!(
                    "no value of {} is known for column {}",
                    column.type_name, column.name
                ));
            }
            None => {}
        }
    }
    Ok(values)
}

/// A mark as a value of a type that can hold one.
fn marked(kind: &Kind, (mark, table): (&Mark, usize)) -> Option<String> {
    if !kind.labels.is_empty() {
        return None;
    }
    let name = kind.type_name.as_str();
    let text = mark.text(table);
    let simple = name.rsplit('.').next().unwrap_or(name);
    let wide = guess::size(name).is_none_or(|size| size >= text.len());
    match guess::base(simple) {
        "uuid" => Some(mark.uuid(table)),
        "text" | "citext" | "name" => Some(text),
        "character varying" if wide => Some(text),
        "character" if wide && name.contains('(') => Some(text),
        "json" | "jsonb" => Some(format!("{{\"canary\": \"{text}\"}}")),
        "text[]" | "character varying[]" if wide => Some(format!("{{{text}}}")),
        "uuid[]" => Some(format!("{{{}}}", mark.uuid(table))),
        "xml" => Some(format!("<canary>{text}</canary>")),
        "hstore" => Some(format!("canary=>{text}")),
        _ => None,
    }
}

/// A number that is far from what anybody counts to.
fn number(kind: &Kind) -> Option<String> {
    let random = Uuid::new_v4().as_u128();
    match guess::base(&kind.type_name) {
        "smallint" => Some((20_000 + random % 12_000).to_string()),
        "integer" => Some((2_000_000_000 + random % 147_000_000).to_string()),
        "bigint" | "numeric" => {
            Some((4_000_000_000_000_000 + random % 1_000_000_000_000).to_string())
        }
        _ => None,
    }
}

/// The statement that adds a row with these values.
pub(super) fn insert(shape: &Shape, values: &Known) -> Sql {
    insert_into(&shape.name, shape, values)
}

/// The same row, added through a view.
pub(super) fn insert_into(name: &QualifiedName, shape: &Shape, values: &Known) -> Sql {
    let mut names = Vec::new();
    let mut fields = Vec::new();
    for column in &shape.columns {
        let field = match values.get(&column.name) {
            Some(value) => typed(column, value),
            None if column.not_null
                && column.fill == Fill::Null
                && shape.kind(column).letter == 'c' =>
            {
                null_row(column)
            }
            None => continue,
        };
        names.push(column.name.clone());
        fields.push(field);
    }
    if names.is_empty() {
        return sql!("INSERT INTO {} DEFAULT VALUES", name);
    }
    sql!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
        name,
        List(&names),
        List(&fields)
    )
}

/// A text as a value of a column's type.
pub(super) fn typed(column: &Column, value: &str) -> Sql {
    sql!("{}::{}", Literal(value), Sql::from_catalog(&column.type_name))
}

/// Made-up rows of a table, as something to select from under the table's own name.
pub(super) fn made_up(shape: &Shape, rows: &[Known]) -> Sql {
    let rows: Vec<Sql> = rows
        .iter()
        .map(|values| {
            let fields: Vec<Sql> = shape
                .columns
                .iter()
                .map(|column| match values.get(&column.name) {
                    Some(value) => sql!("{} AS {}", typed(column, value), column.name),
                    None => {
                        sql!("NULL::{} AS {}", Sql::from_catalog(&column.type_name), column.name)
                    }
                })
                .collect();
            sql!("SELECT {}", List(&fields))
        })
        .collect();
    sql!("({}) AS {}", Sql::joined(&rows, " UNION ALL "), shape.name.name)
}

/// A key that no tenant has, in the shape that a type takes; the same for the same seed.
pub(super) fn stranger(type_name: &str, seed: Uuid) -> Option<String> {
    let simple = type_name.rsplit('.').next().unwrap_or(type_name);
    match guess::base(simple) {
        "uuid" => Some(seed.to_string()),
        "smallint" => Some("-32111".to_owned()),
        "integer" => Some("-2111222333".to_owned()),
        "bigint" | "numeric" => Some("-2111222333444".to_owned()),
        "text" | "character varying" | "character" | "citext" | "name" => {
            let mut word = format!("nobody{}", seed.simple());
            if let Some(size) = guess::size(type_name) {
                // The end is what differs from seed to seed.
                word = word.split_off(word.len().saturating_sub(size));
            }
            Some(word)
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
