//! Which table and column of an archive goes into which of a tenant: decided, or refused by name,
//! before a row moves.

use std::collections::BTreeMap;

use super::order::loading;
use crate::error::{Code, Error};
use crate::model::holdings::{HeldTable, Holdings, Reach};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::manifest::{Contents, Manifest};
use crate::model::tenant::Tenant;

/// Where everything goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The tables, in groups that are filled together, in order.
    pub groups: Vec<Vec<TableMap>>,
    /// What a person should know: what is not taken over as it was.
    pub notes: Vec<String>,
}

impl Mapping {
    /// The tables, in the order in which they are filled.
    pub fn tables(&self) -> impl Iterator<Item = &TableMap> {
        self.groups.iter().flatten()
    }
}

/// Where the rows of one table go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    /// Which table of the archive.
    pub from: usize,
    /// The table that is filled.
    pub to: QualifiedName,
    /// For each field of an archived row, the column that gets it; none when it is not taken over.
    pub fields: Vec<Option<Ident>>,
    /// The columns that get the tenant's key, with their types.
    pub keyed: Vec<(Ident, String)>,
}

impl TableMap {
    /// Whether rows can be filled in as they are.
    pub fn is_plain(&self) -> bool {
        self.keyed.is_empty() && self.fields.iter().all(Option::is_some)
    }

    /// The columns that are filled from the archive, in the order of its fields.
    pub fn columns(&self) -> Vec<Ident> {
        self.fields.iter().flatten().cloned().collect()
    }

    /// The fields that are taken over, by their place; none when all are.
    pub fn kept(&self) -> Option<Vec<usize>> {
        let kept: Vec<usize> =
            (0..self.fields.len()).filter(|at| self.fields[*at].is_some()).collect();
        (kept.len() < self.fields.len()).then_some(kept)
    }
}

/// Finds the place of every table and column of an archive in what a tenant has.
///
/// The tenant column is the one thing that the models do not share: it is filled with the tenant's
/// key where there is one, and a table whose primary key it is holds one row for each tenant. Where
/// such a table has a key of its own, that key is the tenant's as well.
///
/// # Errors
///
/// [`Code::Refused`] with every table and column that has no place.
pub fn map(manifest: &Manifest, target: &Holdings, tenant: &Tenant) -> Result<Mapping, Error> {
    let home = &tenant.placement.schema;
    let mut problems = Vec::new();
    let mut mapped: BTreeMap<QualifiedName, TableMap> = BTreeMap::new();
    let mut mapping = Mapping::default();
    for (from, contents) in manifest.tables.iter().enumerate() {
        let to = contents.place(home)?;
        let Some(table) = target.tables.get(&to) else {
            // Where nothing was, nothing is lost.
            if contents.rows == 0 {
                mapping
                    .notes
                    .push(format!("there is no table {to}; the archive has no row for it"));
            } else {
                problems.push(format!("there is no table {to}"));
            }
            continue;
        };
        let found = Place { contents, table, tenant }.find(from, &to, &mut mapping.notes);
        match found {
            Ok(place) => {
                mapped.insert(to, place);
            }
            Err(mut refused) => problems.append(&mut refused),
        }
    }
    if !problems.is_empty() {
        let what = format!(
            "put {} of {} into tenant {}: {}",
            crate::model::count(manifest.tables.len(), "table"),
            manifest.tenant.id,
            tenant.id,
            problems.join("; ")
        );
        return Err(Error::new(Code::Refused, what).hint(
            "the schemas differ: bring both to the same migrations, or import into the same isolation model",
        ));
    }
    for group in loading(target) {
        let tables: Vec<TableMap> =
            group.into_iter().filter_map(|name| mapped.remove(&name)).collect();
        if !tables.is_empty() {
            mapping.groups.push(tables);
        }
    }
    Ok(mapping)
}

struct Place<'a> {
    contents: &'a Contents,
    table: &'a HeldTable,
    tenant: &'a Tenant,
}

impl Place<'_> {
    fn find(
        &self,
        from: usize,
        to: &QualifiedName,
        notes: &mut Vec<String>,
    ) -> Result<TableMap, Vec<String>> {
        let Self { contents, table, .. } = *self;
        let mut problems = Vec::new();
        let mut fields = Vec::new();
        for column in &contents.columns {
            let own = table.columns.iter().find(|own| own.name.as_str() == column.name);
            let is_tenants = table.tenant_column().is_some_and(|name| name.as_str() == column.name);
            let place = match own {
                Some(_) if is_tenants => {
                    notes.push(format!("{to}.{} becomes the tenant's key", column.name));
                    None
                }
                Some(own) if own.generated => {
                    problems.push(format!("column {to}.{} is computed there", own.name));
                    None
                }
                Some(own) if !holds(&own.kind, &column.kind) => {
                    problems.push(format!(
                        "column {to}.{} is {} there and {} in the archive",
                        own.name, own.kind, column.kind
                    ));
                    None
                }
                Some(own) => Some(own.name.clone()),
                None if self.is_the_tenant(&column.name) => {
                    notes.push(format!(
                        "{to} has one row for each tenant: {} becomes the tenant's key",
                        column.name
                    ));
                    None
                }
                None => {
                    problems.push(format!("there is no column {to}.{}", column.name));
                    None
                }
            };
            fields.push(place);
        }
        let mut keyed = Vec::new();
        for column in &table.columns {
            if fields.iter().flatten().any(|name| *name == column.name) {
                continue;
            }
            let is_tenants = table.tenant_column() == Some(&column.name);
            if is_tenants || self.becomes_the_key(&column.name, &column.kind) {
                keyed.push((column.name.clone(), column.kind.clone()));
            } else if !column.may_be_left_out() {
                problems.push(format!(
                    "column {to}.{} must be filled, and the archive has none",
                    column.name
                ));
            }
        }
        if problems.is_empty() {
            Ok(TableMap { from, to: to.clone(), fields, keyed })
        } else {
            Err(problems)
        }
    }

    /// Whether a column of the archive is the key of a table that holds one row for each tenant.
    fn is_the_tenant(&self, column: &str) -> bool {
        let own = matches!((self.table.key.as_slice(), self.table.tenant_column()),
            ([key], Some(tenant_column)) if key == tenant_column);
        own && matches!(self.contents.key.as_slice(), [key] if key == column)
    }

    /// Whether a column that the archive does not have gets the tenant's key: it was the tenant
    /// column, or it is the key of what was one row for each tenant.
    fn becomes_the_key(&self, column: &Ident, kind: &str) -> bool {
        if !matches!(self.table.reach, Reach::Whole) || !fits(kind, &self.tenant.key) {
            return false;
        }
        let was = self.contents.tenant_column.as_deref() == Some(column.as_str());
        was || (self.contents.is_one_row_per_tenant()
            && matches!(self.table.key.as_slice(), [key] if key == column))
    }
}

/// Whether a key's text is a value of a type.
fn fits(kind: &str, key: &str) -> bool {
    match kind {
        "uuid" => uuid::Uuid::parse_str(key).is_ok(),
        "integer" => key.parse::<i32>().is_ok(),
        "bigint" => key.parse::<i64>().is_ok(),
        "text" | "character varying" => true,
        _ => false,
    }
}

/// Whether every value of one type is, as it is written, a value of another.
fn holds(own: &str, archived: &str) -> bool {
    const WIDER: [(&str, &[&str]); 4] = [
        ("integer", &["smallint"]),
        ("bigint", &["smallint", "integer"]),
        ("numeric", &["smallint", "integer", "bigint"]),
        ("text", &["character varying"]),
    ];
    let bare = |kind: &str| kind.split('(').next().unwrap_or_default().trim_end().to_owned();
    own == archived
        || WIDER
            .iter()
            .any(|(wide, narrow)| *wide == own && narrow.contains(&bare(archived).as_str()))
}
