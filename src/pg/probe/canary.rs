//! Made-up rows: a value for every column that must have one.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::model::catalog::{Column, Fill, Oid, Relation};
use crate::model::ident::Ident;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// Values of a row that exists, by column, as text.
pub(super) type Known = BTreeMap<Ident, String>;

/// The values that a row takes over from rows it points at.
pub(super) struct Links<'a> {
    /// The tenant column and the tenant's key.
    pub(super) tenant: (&'a Ident, &'a str),
    /// Values of other columns.
    pub(super) values: Known,
}

/// The statement that adds a made-up row.
///
/// Leaves out what the server fills by itself and what may be empty, so that as little as possible
/// depends on guessing. Says which column it has no value for.
pub(super) fn insert(table: &Relation, links: &Links<'_>) -> Result<Sql, String> {
    let mut names = Vec::new();
    let mut values = Vec::new();
    for column in table.columns.iter().filter(|column| column.fill != Fill::Always) {
        let given = if column.name == *links.tenant.0 {
            Some(links.tenant.1)
        } else {
            links.values.get(&column.name).map(String::as_str)
        };
        let value = match given {
            Some(value) => typed(column, value),
            None if !column.not_null || column.fill == Fill::Default => continue,
            None => made_up(column).ok_or_else(|| {
                format!("no value can be made up for column {} ({})", column.name, column.type_name)
            })?,
        };
        names.push(column.name.clone());
        values.push(value);
    }
    Ok(sql!(
        "INSERT INTO {} ({}) OVERRIDING USER VALUE VALUES ({})",
        table.name,
        List(&names),
        List(&values)
    ))
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
    match base(&column.type_name) {
        "uuid" => Some(Uuid::new_v4().to_string()),
        "smallint" => Some("-32111".to_owned()),
        "integer" => Some("-2111222333".to_owned()),
        "bigint" | "numeric" => Some("-2111222333444".to_owned()),
        "text" | "character varying" | "character" | "citext" | "public.citext" => {
            Some(word(&column.type_name))
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

fn made_up(column: &Column) -> Option<Sql> {
    let name = column.type_name.as_str();
    if name.ends_with("[]") {
        return Some(typed(column, "{}"));
    }
    if let Some(label) = &column.first_label {
        return Some(typed(column, label));
    }
    if matches!(column.type_kind, 'r' | 'm') {
        return Some(typed(column, if column.type_kind == 'r' { "empty" } else { "{}" }));
    }
    let simple = name.rsplit('.').next().unwrap_or(name);
    let value = match base(simple) {
        "uuid" => Uuid::new_v4().to_string(),
        "text" | "character varying" | "character" | "name" | "citext" | "ltree" => word(name),
        "smallint" => (Uuid::new_v4().as_u128() % 30_000).to_string(),
        "integer" | "bigint" => (Uuid::new_v4().as_u128() % 2_000_000_000).to_string(),
        "numeric" | "real" | "double precision" | "money" => "1".to_owned(),
        "boolean" => "false".to_owned(),
        "date" | "timestamp with time zone" | "timestamp without time zone" => "now".to_owned(),
        "time without time zone" | "time with time zone" => "12:00".to_owned(),
        "interval" => "1 second".to_owned(),
        "json" | "jsonb" => "{}".to_owned(),
        "bytea" | "tsvector" | "hstore" => String::new(),
        "inet" | "cidr" => "192.0.2.1".to_owned(),
        "macaddr" => "02:00:00:00:00:01".to_owned(),
        "xml" => "<canary/>".to_owned(),
        "vector" | "halfvec" => {
            let size = size(name).unwrap_or(3);
            format!("[{}]", vec!["1"; size].join(","))
        }
        _ => return None,
    };
    Some(typed(column, &value))
}

/// A word that stands nowhere else, as long as a type permits.
fn word(type_name: &str) -> String {
    let mut word = format!("canary{}", Uuid::new_v4().simple());
    if let Some(size) = size(type_name) {
        // The end is what differs from word to word.
        word = word.split_off(word.len().saturating_sub(size));
    } else if base(type_name) == "character" {
        word.truncate(1);
    }
    word
}

/// The type without its modifier: `timestamp(3) with time zone` is `timestamp with time zone`.
fn base(type_name: &str) -> &str {
    match type_name.split_once('(') {
        Some((before, after)) if after.ends_with("with time zone") => match before {
            "timestamp" => "timestamp with time zone",
            _ => "time with time zone",
        },
        Some((before, after)) if after.ends_with("without time zone") => match before {
            "timestamp" => "timestamp without time zone",
            _ => "time without time zone",
        },
        Some((before, _)) => before,
        None => type_name,
    }
}

fn size(type_name: &str) -> Option<usize> {
    let (_, modifier) = type_name.split_once('(')?;
    modifier.split([')', ',']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_recognised_under_their_modifiers() {
        assert_eq!(base("character varying(12)"), "character varying");
        assert_eq!(base("timestamp(3) with time zone"), "timestamp with time zone");
        assert_eq!(base("timestamp(3) without time zone"), "timestamp without time zone");
        assert_eq!(size("numeric(10,2)"), Some(10));
        assert!(word("character varying(5)").len() == 5);
        assert!(word("character(1)").len() == 1);
    }

    #[test]
    fn parents_come_first_and_circles_end() {
        assert_eq!(parents_first(&[1, 2, 3], &[(1, 2), (2, 3), (3, 3)]), [3, 2, 1]);
        assert_eq!(parents_first(&[1, 2, 3], &[(1, 2), (2, 1)]), [3, 1, 2]);
    }
}
