//! How the rows of one tenant are taken out of tables that others use: in an order that keeps every
//! foreign key, in slices, past triggers and policies of the schema's author.

use crate::model::holdings::{Edge, Firing, HeldTable, Holdings, OnDelete, Reach};
use crate::model::ident::{Ident, QualifiedName};
use crate::plan::transfer;
use crate::sql;
use crate::sql::{Literal, Sql};

/// So many rows are taken out by one transaction.
const SLICE: i32 = 10_000;

/// Tables that policies of the schema's author guard, from whose owner they may hide rows of the
/// tenant: the table itself, and those that tell whose its rows are.
fn hidden<'a>(
    holdings: &'a Holdings,
    name: &'a QualifiedName,
    table: &'a HeldTable,
) -> Vec<(&'a QualifiedName, &'a HeldTable)> {
    let mut all = vec![(name, table)];
    if let Reach::Through { path, .. } = &table.reach {
        all.extend(path.iter().filter_map(|edge| holdings.tables.get_key_value(&edge.to)));
    }
    all.retain(|(_, table)| {
        let owner_sees = table.seen_by.everybody || table.seen_by.roles.contains(&table.owner);
        table.rls && table.forced && (!owner_sees || !table.foreign_policies.is_empty())
    });
    all
}

/// What lets the owner see all rows, to be undone by [`conceal`] or by the transaction's end.
pub fn reveal(holdings: &Holdings, name: &QualifiedName, table: &HeldTable) -> Vec<Sql> {
    let unbound = |(name, _): &(&QualifiedName, &HeldTable)| {
        sql!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", *name)
    };
    hidden(holdings, name, table).iter().map(unbound).collect()
}

/// What binds the owner again.
pub fn conceal(holdings: &Holdings, name: &QualifiedName, table: &HeldTable) -> Vec<Sql> {
    let bound = |(name, _): &(&QualifiedName, &HeldTable)| {
        sql!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", *name)
    };
    hidden(holdings, name, table).iter().map(bound).collect()
}

/// What keeps the table's own triggers from firing: a log that only grows would refuse, and an audit
/// would write down what is being erased.
pub fn hush(name: &QualifiedName, table: &HeldTable) -> Vec<Sql> {
    let quiet = |trigger| sql!("ALTER TABLE {} DISABLE TRIGGER {}", name, trigger);
    fires(table).map(|(trigger, _)| quiet(trigger)).collect()
}

/// What lets them fire again as before.
pub fn unhush(name: &QualifiedName, table: &HeldTable) -> Vec<Sql> {
    fires(table)
        .map(|(trigger, firing)| match firing {
            Firing::Always => sql!("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}", name, trigger),
            Firing::Normal | Firing::Replica | Firing::Disabled => {
                sql!("ALTER TABLE {} ENABLE TRIGGER {}", name, trigger)
            }
        })
        .collect()
}

fn fires(table: &HeldTable) -> impl Iterator<Item = (&Ident, Firing)> {
    let loud = |firing: Firing| matches!(firing, Firing::Normal | Firing::Always);
    table.triggers.iter().map(|(name, firing)| (name, *firing)).filter(move |(_, f)| loud(*f))
}

/// Whether a table's rows refer to rows of the same group, so that they can only go together.
pub fn goes_at_once(holdings: &Holdings, group: &[QualifiedName]) -> bool {
    holdings.within().any(|edge| group.contains(&edge.from) && group.contains(&edge.to))
}

/// Takes out a group of tables at once.
pub fn empty_at_once(holdings: &Holdings, group: &[QualifiedName], key: &str) -> Sql {
    let parts: Vec<Sql> = group
        .iter()
        .filter_map(|name| Some((name, holdings.tables.get(name)?)))
        .zip(0_i32..)
        .map(|((name, table), at)| {
            sql!("gone_{} AS ({} RETURNING 1)", at, transfer::delete(name, table, key))
        })
        .collect();
    let counts: Vec<Sql> = (0_i32..)
        .take(parts.len())
        .map(|at| sql!("(SELECT pg_catalog.count(*) FROM gone_{})", at))
        .collect();
    sql!("WITH {} SELECT {}", Sql::joined(&parts, ", "), Sql::joined(&counts, " + "))
}

/// Takes out a slice of one table.
pub fn empty_slice(name: &QualifiedName, table: &HeldTable, key: &str) -> Sql {
    let only = if table.partitioned { sql!("") } else { sql!("ONLY ") };
    let held = transfer::filter(table, key);
    let held = held.map_or_else(|| sql!(""), |held| sql!(" WHERE {}", held));
    sql!(
        "WITH doomed AS (SELECT held.tableoid AS part, held.ctid AS place FROM {}{} AS held{} LIMIT {}), \
         gone AS (DELETE FROM {}{} AS held USING doomed \
                  WHERE held.tableoid = doomed.part AND held.ctid = doomed.place RETURNING 1) \
         SELECT pg_catalog.count(*) FROM gone",
        only,
        name,
        held,
        SLICE,
        only,
        name
    )
}

/// The foreign keys by which a row of somebody else's may refer to a row of the tenant's: those
/// without the tenant column, and those from tables that are nobody's.
pub fn crossing(holdings: &Holdings) -> Vec<&Edge> {
    holdings
        .edges
        .iter()
        .filter(|edge| {
            let (Some(from), Some(to)) =
                (holdings.tables.get(&edge.from), holdings.tables.get(&edge.to))
            else {
                return true;
            };
            // Who is reached through a foreign key belongs to whom it refers to.
            let through = |path: &[Edge]| path.first() == Some(*edge);
            let same = |from: &Ident, to: &Ident| {
                edge.columns.iter().zip(&edge.to_columns).any(|pair| pair == (from, to))
            };
            match (&from.reach, &to.reach) {
                (Reach::Through { path, .. }, _) => !through(path),
                (Reach::Column { name: from, .. }, Reach::Column { name: to, .. }) => {
                    !same(from, to)
                }
                _ => true,
            }
        })
        .collect()
}

/// Asks whether a row that is not the tenant's refers to one that is.
pub fn crosses(holdings: &Holdings, edge: &Edge, key: &str) -> Option<Sql> {
    let to = holdings.tables.get(&edge.to)?;
    let held = transfer::filter(to, key)?;
    let pairs: Vec<Sql> = edge
        .columns
        .iter()
        .zip(&edge.to_columns)
        .map(|(from, to)| sql!("other.{} = held.{}", from, to))
        .collect();
    let foreign = match holdings.tables.get(&edge.from).map(|table| &table.reach) {
        Some(Reach::Column { name, kind }) => sql!(
            " AND other.{} IS DISTINCT FROM {}::{}",
            name,
            Literal(key),
            Sql::from_catalog(kind)
        ),
        _ => sql!(""),
    };
    Some(sql!(
        "SELECT EXISTS (SELECT FROM {} AS other JOIN {} AS held ON {} WHERE {}{})",
        edge.from,
        edge.to,
        Sql::joined(&pairs, " AND "),
        held,
        foreign
    ))
}

/// What would happen to the row that refers, in words.
pub fn fate(edge: &Edge) -> &'static str {
    match edge.on_delete {
        OnDelete::NoAction | OnDelete::Restrict => "would be left without it",
        OnDelete::Cascade => "would be deleted as well",
        OnDelete::SetNull | OnDelete::SetDefault => "would be changed",
    }
}
