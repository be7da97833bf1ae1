//! What is erased with the rows that somebody means: along foreign keys, until nothing is left that
//! would refer to nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, Error, Location};
use crate::model::erasure::{Erasure, Fate, KeyChoice};
use crate::model::holdings::{Edge, Holdings, OnDelete, Reach};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::tenant::Tenant;
use crate::plan::transfer;
use crate::sql::predicate::Predicate;

/// What is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The tables with rows to delete, in an order in which they can be: children first. Tables of a
    /// group refer to each other.
    pub groups: Vec<Vec<QualifiedName>>,
    /// The rows that are meant.
    pub wanted: BTreeMap<QualifiedName, (Predicate, usize)>,
    /// The foreign keys along which it goes on.
    pub links: Vec<Link>,
}

/// A foreign key by which rows refer to what is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The key.
    pub edge: Edge,
    /// What becomes of those rows; nobody has said, and the key forbids that they stay.
    pub fate: Option<Fate>,
    /// The columns that become NULL.
    pub nulled: Vec<Ident>,
}

/// Decides what goes along.
///
/// A key that deletes or nulls by itself says what becomes of its rows, unless the file says
/// otherwise. Of a key that forbids (NO ACTION, RESTRICT) the file has to say it; that matters only
/// where such rows are, so it is left open here.
///
/// # Errors
///
/// [`Code::Config`], with the line, for a table, a foreign key or a column that is not there or cannot be NULL.
pub fn plan(tenant: &Tenant, holdings: &Holdings, erasure: &Erasure) -> Result<Plan, Error> {
    let at = |line: usize| Location { file: erasure.file.clone(), line, column: 1 };
    let mut wanted = BTreeMap::new();
    for one in &erasure.wanted {
        let name = QualifiedName::new(tenant.placement.schema.clone(), one.table.clone());
        if !holdings.tables.contains_key(&name) {
            return Err(Error::new(
                Code::Config,
                format!("tenant {} has no table {}", tenant.id, one.table),
            )
            .at(at(one.line))
            .hint(format!("it has {}", tables(holdings))));
        }
        let predicate = Predicate::new(&one.condition).map_err(|why| {
            Error::new(Code::Config, format!("the condition of {}: {why}", one.table))
                .at(at(one.line))
        })?;
        wanted.insert(name, (predicate, one.line));
    }
    let mut used = BTreeSet::new();
    let mut links = Vec::new();
    let mut reached: BTreeSet<&QualifiedName> = wanted.keys().collect();
    let mut fresh: Vec<&QualifiedName> = reached.iter().copied().collect();
    while let Some(parent) = fresh.pop() {
        for edge in holdings.edges.iter().filter(|edge| edge.to == *parent) {
            let choice = choice(erasure, edge);
            used.extend(choice.map(|choice| choice.line));
            let nulled = nullable(holdings, edge);
            let fate = match (choice.map(|choice| choice.fate), edge.on_delete) {
                (Some(fate), _) => Some(fate),
                (None, OnDelete::Cascade) => Some(Fate::Delete),
                (None, OnDelete::SetNull) => Some(Fate::SetNull),
                (None, OnDelete::NoAction | OnDelete::Restrict | OnDelete::SetDefault) => None,
            };
            if let (Some(Fate::SetNull), Some(choice), true) = (fate, choice, nulled.is_empty()) {
                return Err(Error::new(
                    Code::Config,
                    format!("the columns of {} in {} cannot be NULL", edge.name, edge.from.name),
                )
                .at(at(choice.line)));
            }
            if !holdings.tables.contains_key(&edge.from) {
                return Err(Error::new(
                    Code::Refused,
                    format!(
                        "erase of tenant {}: {} refers to its rows by {}, and is not the tenant's",
                        tenant.id, edge.from, edge.name
                    ),
                ));
            }
            if fate == Some(Fate::Delete) && reached.insert(&edge.from) {
                fresh.push(&edge.from);
            }
            links.push(Link { edge: edge.clone(), fate, nulled });
        }
    }
    if let Some(idle) = erasure.keys.iter().find(|choice| !used.contains(&choice.line)) {
        return Err(Error::new(
            Code::Config,
            format!("{}.{} is no foreign key to anything that is erased", idle.table, idle.key),
        )
        .at(at(idle.line)));
    }
    links.sort_by(|a, b| a.edge.cmp(&b.edge));
    let groups = transfer::unloading(holdings)
        .into_iter()
        .map(|group| group.into_iter().filter(|name| reached.contains(name)).collect())
        .filter(|group: &Vec<QualifiedName>| !group.is_empty())
        .collect();
    Ok(Plan { groups, wanted, links })
}

fn tables(holdings: &Holdings) -> String {
    let names: Vec<&str> = holdings.tables.keys().map(|name| name.name.as_str()).collect();
    names.join(", ")
}

fn choice<'e>(erasure: &'e Erasure, edge: &Edge) -> Option<&'e KeyChoice> {
    erasure.keys.iter().find(|choice| {
        choice.table == edge.from.name
            && (choice.key == edge.name || edge.columns.contains(&choice.key))
    })
}

/// The columns of a key that may be NULL: what says whose a row is stays.
fn nullable(holdings: &Holdings, edge: &Edge) -> Vec<Ident> {
    let Some(table) = holdings.tables.get(&edge.from) else {
        return Vec::new();
    };
    let tenant = match &table.reach {
        Reach::Column { name, .. } => Some(name),
        Reach::Whole | Reach::Through { .. } => None,
    };
    edge.columns
        .iter()
        .filter(|column| Some(*column) != tenant)
        .filter(|column| table.column(column).is_some_and(|found| !found.required))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
