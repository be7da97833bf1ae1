//! Which table of the new place takes which table's rows, and which columns. What does not fit is
//! refused by name, all of it at once, before a row is copied.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, Error};
use crate::model::holdings::{Edge, HeldTable, Holdings, Outside};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::tenant::{Isolation, Tenant};
use crate::plan::transfer;

/// One of the two places.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The tenant as it is there.
    pub tenant: &'a Tenant,
    /// What it has there.
    pub holdings: &'a Holdings,
}

/// A table and the one that takes its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// In the old place.
    pub source: QualifiedName,
    /// In the new place.
    pub target: QualifiedName,
    /// The columns that are copied and compared; they have the same names in both places.
    pub columns: Vec<Ident>,
    /// The column of the new place that the tenant's key fills.
    pub fill: Option<Ident>,
}

/// Every table that moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// In an order in which the new place can be filled. Tables of one group refer to each other in a
    /// circle.
    pub groups: Vec<Vec<Mapped>>,
    /// Tables that tenants share without being anybody's on one side, and that the tenant has for
    /// itself on the other: they must hold the same rows, or none yet.
    pub references: Vec<Mapped>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Mapping {
    /// Every table with rows of the tenant.
    pub fn tables(&self) -> impl Iterator<Item = &Mapped> {
        self.groups.iter().flatten()
    }
}

/// Maps every table, or says everything that does not fit.
///
/// The tenant column of shared tables has no counterpart where a tenant is alone. Where it is the
/// whole primary key of a shared table, the single-column key of the other one stands in its place:
/// that row is the tenant itself.
///
/// # Errors
///
/// [`Code::Refused`] with a line for each table and column that only one side has, or has in another
/// type.
pub fn map(source: Side<'_>, target: Side<'_>) -> Result<Mapping, Error> {
    let mut problems = Vec::new();
    let mut mapping = Mapping::default();
    carried(source, &mut problems);
    let mut pairs: BTreeMap<QualifiedName, Mapped> = BTreeMap::new();
    let counterpart = |name: &QualifiedName| {
        let schema = if name.schema == source.tenant.placement.schema {
            target.tenant.placement.schema.clone()
        } else {
            name.schema.clone()
        };
        QualifiedName::new(schema, name.name.clone())
    };
    let mut taken = BTreeSet::new();
    for (name, table) in &source.holdings.tables {
        let there = counterpart(name);
        taken.insert(there.clone());
        owned(source, name, table, &mut problems);
        if let Some(other) = target.holdings.tables.get(&there) {
            owned(target, &there, other, &mut problems);
            let mapped = pair(
                (source, name, table),
                (target, &there, other),
                &mut mapping.notes,
                &mut problems,
            );
            pairs.insert(there, mapped);
        } else if target.holdings.outside.get(&there) == Some(&Outside::Nobodys) {
            mapping.references.push(Mapped {
                source: name.clone(),
                target: there,
                columns: table.written().map(|column| column.name.clone()).collect(),
                fill: None,
            });
        } else {
            problems.push(format!("table {} is not in the new place", name.name));
        }
    }
    // Foreign keys are checked where rows arrive: shared tables have more of them.
    for group in transfer::loading(target.holdings) {
        let group: Vec<Mapped> = group.iter().filter_map(|name| pairs.remove(name)).collect();
        if !group.is_empty() {
            mapping.groups.push(group);
        }
    }
    for (name, table) in target.holdings.tables.iter().filter(|(name, _)| !taken.contains(*name)) {
        let schema = if name.schema == target.tenant.placement.schema {
            source.tenant.placement.schema.clone()
        } else {
            name.schema.clone()
        };
        let here = QualifiedName::new(schema, name.name.clone());
        if source.holdings.outside.get(&here) == Some(&Outside::Nobodys) {
            mapping.references.push(Mapped {
                source: here,
                target: name.clone(),
                columns: table.written().map(|column| column.name.clone()).collect(),
                fill: None,
            });
        } else {
            problems.push(format!("table {} is in the new place only", name.name));
        }
    }
    if problems.is_empty() {
        return Ok(mapping);
    }
    let what = format!(
        "move tenant {}: what it has in {} does not fit {}",
        source.tenant.id, source.tenant.placement, target.tenant.placement
    );
    let error = problems.into_iter().fold(Error::new(Code::Refused, what), Error::hint);
    Err(error.hint("bring both sets of migrations into step first: tenantctl migrate new"))
}

/// What no copy would carry.
fn carried(source: Side<'_>, problems: &mut Vec<String>) {
    let holdings = source.holdings;
    if holdings.large_objects > 0 {
        let noun = crate::model::count(
            usize::try_from(holdings.large_objects).unwrap_or(usize::MAX),
            "large object",
        );
        problems.push(format!("{noun} of its roles would stay behind"));
    }
    for (name, _) in holdings.outside.iter().filter(|(_, why)| **why == Outside::Foreign) {
        problems.push(format!("foreign table {} would stay behind", name.name));
    }
    if source.tenant.isolation != Isolation::Shared {
        for Edge { from, name, to, .. } in holdings.from_outside() {
            problems.push(format!("foreign key {name} of {from} refers to {to} from outside"));
        }
    }
}

/// Writers are kept out by whoever owns the table.
fn owned(side: Side<'_>, name: &QualifiedName, table: &HeldTable, problems: &mut Vec<String>) {
    let owner = &side.tenant.owner;
    if table.owner != *owner {
        problems.push(format!("table {name} belongs to {}, not to {owner}", table.owner));
    }
}

type At<'a> = (Side<'a>, &'a QualifiedName, &'a HeldTable);

fn pair(
    (source, name, table): At<'_>,
    (_, there, other): At<'_>,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Mapped {
    let mut fill = other.tenant_column().cloned();
    let mut aside: BTreeSet<&Ident> = table.tenant_column().into_iter().collect();
    let mut aside_there: BTreeSet<&Ident> = other.tenant_column().into_iter().collect();
    match (table.tenant_column(), other.tenant_column()) {
        // The row is the tenant itself: its key is the tenant's.
        (Some(column), None) => {
            if let Some(key) = stands_in(table, column, other) {
                fill = Some(key.clone());
                aside_there.insert(key);
            }
        }
        (None, Some(column)) => {
            if let Some(key) = stands_in(other, column, table) {
                aside.insert(key);
                let referred = source.holdings.within().any(|edge| edge.to == *name);
                if referred {
                    problems.push(format!(
                        "column {}.{key} becomes the tenant's key, and other tables refer to it",
                        name.name
                    ));
                } else {
                    notes.push(format!("{}.{key} becomes the tenant's key", name.name));
                }
            }
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let mut columns = Vec::new();
    for column in table.columns.iter().filter(|column| !aside.contains(&column.name)) {
        let said = format!("column {}.{}", name.name, column.name);
        match other.column(&column.name).filter(|found| !aside_there.contains(&found.name)) {
            None => problems.push(format!("{said} is not in the new place")),
            Some(found) if found.kind != column.kind => {
                problems.push(format!("{said} is {} here and {} there", column.kind, found.kind));
            }
            Some(found) if found.generated != column.generated => {
                problems.push(format!("{said} is computed in one place only"));
            }
            Some(_) if column.generated => {}
            Some(_) => columns.push(column.name.clone()),
        }
    }
    for column in other.columns.iter().filter(|column| !aside_there.contains(&column.name)) {
        if table.column(&column.name).is_none_or(|found| aside.contains(&found.name)) {
            problems
                .push(format!("column {}.{} is in the new place only", there.name, column.name));
        }
    }
    if columns.is_empty() && fill.is_none() {
        problems.push(format!("table {} has no column to copy", name.name));
    }
    Mapped { source: name.clone(), target: there.clone(), columns, fill }
}

/// The column of a tenant's own table that says what the tenant column says in the shared one.
fn stands_in<'a>(shared: &HeldTable, column: &Ident, own: &'a HeldTable) -> Option<&'a Ident> {
    let kind = &shared.column(column)?.kind;
    match (shared.key.as_slice(), own.key.as_slice()) {
        ([whole], [key]) if whole == column && shared.column(key).is_none() => {
            (own.column(key)?.kind == *kind).then_some(key)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;
    use crate::model::holdings::{HeldColumn, Reach, SeenBy};
    use crate::plan::properties::desired;

    fn ident(name: &str) -> Ident {
        Ident::new(name).unwrap()
    }

    fn column(text: &str) -> HeldColumn {
        let (name, kind) = text.split_once(' ').unwrap();
        let (kind, generated) = match kind.strip_suffix('*') {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        HeldColumn {
            name: ident(name),
            kind: kind.to_owned(),
            required: true,
            generated,
            identity: false,
            default: false,
        }
    }

    /// A place with tables: name, key, columns.
    fn place(tenant: &Tenant, tables: &[(&str, &str, &[&str])]) -> Holdings {
        let tables = tables
            .iter()
            .map(|(name, key, columns)| {
                let columns: Vec<HeldColumn> = columns.iter().map(|text| column(text)).collect();
                let reach = columns
                    .iter()
                    .find(|column| column.name.as_str() == "tenant_id")
                    .map_or(Reach::Whole, |column| Reach::Column {
                        name: column.name.clone(),
                        kind: column.kind.clone(),
                    });
                let table = HeldTable {
                    columns,
                    key: key.split(',').map(ident).collect(),
                    reach,
                    partitioned: false,
                    owner: tenant.owner.clone(),
                    rls: false,
                    forced: false,
                    seen_by: SeenBy::default(),
                    added_by: SeenBy::default(),
                    foreign_policies: Vec::new(),
                    triggers: BTreeMap::new(),
                    bytes: 0,
                    estimate: None,
                };
                (QualifiedName::new(tenant.placement.schema.clone(), ident(name)), table)
            })
            .collect();
        Holdings { tables, ..Holdings::default() }
    }

    const SHARED: [(&str, &str, &[&str]); 2] = [
        ("organisations", "tenant_id", &["tenant_id uuid", "name text"]),
        ("users", "tenant_id,id", &["tenant_id uuid", "id uuid", "email text", "search tsvector*"]),
    ];
    const OWN: [(&str, &str, &[&str]); 2] = [
        ("organisations", "id", &["id uuid", "name text"]),
        ("users", "id", &["id uuid", "email text", "search tsvector*"]),
    ];

    fn mapped(from: Isolation, to: Isolation) -> Result<Mapping, Error> {
        let tables = |isolation| if isolation == Isolation::Shared { SHARED } else { OWN };
        let (source, target) = (desired(from, "acme").tenant, desired(to, "acme").tenant);
        let (here, there) = (place(&source, &tables(from)), place(&target, &tables(to)));
        map(Side { tenant: &source, holdings: &here }, Side { tenant: &target, holdings: &there })
    }

    #[test]
    fn the_tenant_column_is_left_and_filled() {
        let out = mapped(Isolation::Shared, Isolation::Schema).unwrap();
        let tables: Vec<&Mapped> = out.tables().collect();
        assert_eq!(tables[0].fill, Some(ident("id")), "the row is the tenant itself");
        assert_eq!(tables[0].columns, [ident("name")]);
        assert_eq!(tables[1].fill, None);
        assert_eq!(tables[1].columns, [ident("id"), ident("email")]);
        let back = mapped(Isolation::Database, Isolation::Shared).unwrap();
        let tables: Vec<&Mapped> = back.tables().collect();
        assert_eq!(tables[0].fill, Some(ident("tenant_id")));
        assert_eq!(tables[1].fill, Some(ident("tenant_id")));
        assert_eq!(back.notes, ["organisations.id becomes the tenant's key"]);
    }

    #[test]
    fn alike_places_keep_every_column() {
        for (from, to) in
            [(Isolation::Schema, Isolation::Database), (Isolation::Shared, Isolation::Shared)]
        {
            let mapping = mapped(from, to).unwrap();
            let filled = mapping.tables().filter(|table| table.fill.is_some()).count();
            assert_eq!(filled, if to == Isolation::Shared { 2 } else { 0 });
            assert!(mapping.notes.is_empty());
        }
    }

    #[test]
    fn everything_that_does_not_fit_is_named() {
        let source = desired(Isolation::Schema, "acme").tenant;
        let target = desired(Isolation::Database, "acme").tenant;
        let here = place(
            &source,
            &[("a", "id", &["id uuid", "x text", "y integer"]), ("b", "id", &["id uuid"])],
        );
        let there = place(
            &target,
            &[("a", "id", &["id uuid", "y bigint", "z text"]), ("c", "id", &["id uuid"])],
        );
        let error = map(
            Side { tenant: &source, holdings: &here },
            Side { tenant: &target, holdings: &there },
        )
        .unwrap_err();
        assert_eq!(error.code, Code::Refused);
        assert_eq!(
            error.hints[..5],
            [
                "column a.x is not in the new place",
                "column a.y is integer here and bigint there",
                "column a.z is in the new place only",
                "table b is not in the new place",
                "table c is in the new place only",
            ]
        );
    }
}
