//! The statements that read, count and remove one tenant's rows of a table, and who may see them.

use crate::error::{Code, Error};
use crate::model::holdings::{HeldTable, Reach, SeenBy};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::tenant::Tenant;
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// The condition that a row, called `held`, belongs to the tenant; none where all rows do.
///
/// Under row-level security it says again what the policy says: a policy may be of a team's own, and
/// may let more through.
pub fn filter(table: &HeldTable, key: &str) -> Option<Sql> {
    match &table.reach {
        Reach::Whole => None,
        Reach::Column { name, kind } => {
            Some(sql!("held.{} = {}::{}", name, Literal(key), Sql::from_catalog(kind)))
        }
        Reach::Through { path, column, kind } => {
            let far = alias(path.len());
            let end = sql!("{}.{} = {}::{}", far, column, Literal(key), Sql::from_catalog(kind));
            // From the far end: each table of the path is looked up by the one before it.
            Some(path.iter().enumerate().rev().fold(end, |condition, (at, edge)| {
                let (near, far) = (alias(at), alias(at + 1));
                let mut parts: Vec<Sql> = edge
                    .columns
                    .iter()
                    .zip(&edge.to_columns)
                    .map(|(here, there)| sql!("{}.{} = {}.{}", far, there, near, here))
                    .collect();
                parts.push(condition);
                let all = Sql::joined(&parts, " AND ");
                sql!("EXISTS (SELECT FROM {} AS {} WHERE {})", edge.to, far, all)
            }))
        }
    }
}

/// What the tables of a path are called: the table itself is `held`.
fn alias(at: usize) -> Sql {
    match i32::try_from(at) {
        Ok(0) | Err(_) => sql!("held"),
        Ok(at) => sql!("held_{}", at),
    }
}

/// Reads columns of the tenant's rows, in the order of the primary key: the same rows make the same
/// bytes, on whatever pages they lie.
pub fn select(name: &QualifiedName, table: &HeldTable, columns: &[Sql], key: &str) -> Sql {
    let order: Vec<Sql> = table
        .key
        .iter()
        .filter(|column| table.tenant_column() != Some(*column))
        .map(|column| sql!("held.{}", column))
        .collect();
    let select = select_unordered(name, table, columns, key);
    if order.is_empty() { select } else { sql!("{} ORDER BY {}", select, List(&order)) }
}

/// Reads columns of the tenant's rows as they come.
pub fn select_unordered(
    name: &QualifiedName,
    table: &HeldTable,
    columns: &[Sql],
    key: &str,
) -> Sql {
    sql!("SELECT {}{}", List(columns), from(name, table, key))
}

/// Counts the tenant's rows.
pub fn count(name: &QualifiedName, table: &HeldTable, key: &str) -> Sql {
    sql!("SELECT pg_catalog.count(*){}", from(name, table, key))
}

/// Removes the tenant's rows.
pub fn delete(name: &QualifiedName, table: &HeldTable, key: &str) -> Sql {
    sql!("DELETE{}", from(name, table, key))
}

/// Rows of a table that inherits from another are that table's own; partitions have none.
fn from(name: &QualifiedName, table: &HeldTable, key: &str) -> Sql {
    let only = if table.partitioned { sql!("") } else { sql!("ONLY ") };
    let condition = filter(table, key).map_or_else(|| sql!(""), |held| sql!(" WHERE {}", held));
    sql!(" FROM {}{} AS held{}", only, name, condition)
}

/// The role that sees all rows of the tenant in a table: its owner, unless policies bind the owner
/// and speak of others alone.
///
/// # Errors
///
/// [`Code::Refused`] when no policy lets the owner or a role of the tenant read: a copy would be
/// empty, and look whole.
pub fn reader(name: &QualifiedName, table: &HeldTable, tenant: &Tenant) -> Result<Ident, Error> {
    allowed(table, &table.seen_by, tenant).ok_or_else(|| closed(name, table, tenant, "see"))
}

/// The role that adds rows of the tenant to a table, in the same way.
///
/// # Errors
///
/// [`Code::Refused`] when no policy lets the owner or a role of the tenant write.
pub fn writer(name: &QualifiedName, table: &HeldTable, tenant: &Tenant) -> Result<Ident, Error> {
    allowed(table, &table.added_by, tenant).ok_or_else(|| closed(name, table, tenant, "add"))
}

fn allowed(table: &HeldTable, by: &SeenBy, tenant: &Tenant) -> Option<Ident> {
    let bound = table.rls && table.forced;
    if !bound || by.everybody || by.roles.contains(&table.owner) {
        return Some(table.owner.clone());
    }
    tenant.roles.iter().find(|role| by.roles.contains(role)).cloned()
}

fn closed(name: &QualifiedName, table: &HeldTable, tenant: &Tenant, verb: &str) -> Error {
    let what = format!(
        "copy {name}: no policy on it lets {} or a role of tenant {} {verb} a row",
        table.owner, tenant.id
    );
    Error::new(Code::Refused, what)
        .hint(format!("see what is wrong with it: tenantctl verify-rls --tenant {}", tenant.id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::holdings::{Edge, OnDelete};

    fn ident(name: &str) -> Ident {
        Ident::new(name).unwrap()
    }

    fn named(name: &str) -> QualifiedName {
        QualifiedName::new(ident("app"), ident(name))
    }

    fn table(reach: Reach) -> HeldTable {
        HeldTable {
            columns: Vec::new(),
            key: vec![ident("tenant_id"), ident("id")],
            reach,
            partitioned: false,
            owner: ident("app_owner"),
            rls: true,
            forced: true,
            seen_by: SeenBy::default(),
            added_by: SeenBy::default(),
            foreign_policies: Vec::new(),
            triggers: std::collections::BTreeMap::new(),
            bytes: 0,
            estimate: None,
        }
    }

    fn edge(from: &str, to: &str) -> Edge {
        Edge {
            from: named(from),
            name: ident("fk"),
            columns: vec![ident("parent")],
            to: named(to),
            to_columns: vec![ident("id")],
            on_delete: OnDelete::NoAction,
            deferrable: false,
            optional: false,
        }
    }

    #[test]
    fn rows_are_the_tenants_by_column_or_through_foreign_keys() {
        let column = Reach::Column { name: ident("tenant_id"), kind: "uuid".into() };
        assert_eq!(
            select(&named("users"), &table(column), &[sql!("held.id")], "it's").as_str(),
            "SELECT held.id FROM ONLY app.users AS held \
             WHERE held.tenant_id = 'it''s'::uuid ORDER BY held.id"
        );
        let through = Reach::Through {
            path: vec![edge("lines", "orders"), edge("orders", "carts")],
            column: ident("owner"),
            kind: "integer".into(),
        };
        assert_eq!(
            count(&named("lines"), &table(through), "7").as_str(),
            "SELECT pg_catalog.count(*) FROM ONLY app.lines AS held \
             WHERE EXISTS (SELECT FROM app.orders AS held_1 WHERE held_1.id = held.parent \
             AND EXISTS (SELECT FROM app.carts AS held_2 WHERE held_2.id = held_1.parent \
             AND held_2.owner = '7'::integer))"
        );
        let whole = HeldTable { partitioned: true, ..table(Reach::Whole) };
        assert_eq!(delete(&named("events"), &whole, "").as_str(), "DELETE FROM app.events AS held");
    }

    #[test]
    fn whoever_sees_rows_reads_them_and_nobody_reads_nothing() {
        let tenant =
            crate::plan::properties::desired(crate::model::tenant::Isolation::Shared, "acme")
                .tenant;
        let who = |table: &HeldTable| reader(&named("users"), table, &tenant);
        let mut guarded = table(Reach::Whole);
        assert_eq!(who(&guarded).unwrap_err().code, Code::Refused);
        guarded.seen_by.roles.insert(tenant.role().clone());
        assert_eq!(who(&guarded).unwrap(), *tenant.role());
        guarded.seen_by.everybody = true;
        assert_eq!(who(&guarded).unwrap(), guarded.owner);
        guarded.seen_by = SeenBy::default();
        guarded.forced = false;
        assert_eq!(who(&guarded).unwrap(), guarded.owner);
    }
}
