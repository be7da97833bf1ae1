//! Tables that hold tenants' rows although no column of theirs says so: what hangs on a tenant's row
//! by a foreign key, what looks like a copy of a tenants' table, and what triggers copy rows into.
//! And the lists of tenants themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::survey::{Survey, Territory};
use crate::model::catalog::{Catalog, ForeignKey, Oid, Relation};
use crate::model::ident::Ident;
use crate::model::layout::{Estate, Tenancy};

/// Why a table holds tenants' rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Its rows refer to rows of this table.
    Child(Oid),
    /// Its columns are those of this table.
    Likeness(Oid),
    /// Triggers or rules of this table write into it.
    Fed(Oid),
    /// It is called after what copies are made for, and has a column for documents.
    Documents,
}

/// What was found, by table.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// Tables without the tenant column.
    pub tables: BTreeMap<Oid, Holding>,
    /// Lists of tenants, with the column that names one.
    pub registries: BTreeMap<Oid, Ident>,
}

impl Holdings {
    /// The tables that surely hold tenants' rows.
    pub fn rows(&self) -> impl Iterator<Item = Oid> + '_ {
        self.tables
            .iter()
            .filter(|(_, why)| !matches!(why, Holding::Documents))
            .map(|(oid, _)| *oid)
    }
}

/// Columns that tables have whatever they are about.
const COMMON: [&str; 12] = [
    "id",
    "uuid",
    "name",
    "title",
    "description",
    "created_at",
    "updated_at",
    "deleted_at",
    "created",
    "updated",
    "code",
    "slug",
];

/// What copies are made for, as tables are called.
const COPIES: [&str; 14] = [
    "audit", "outbox", "inbox", "queue", "log", "logs", "history", "archive", "backup", "import",
    "export", "staging", "buffer", "snapshot",
];

pub(super) fn find(
    catalog: &Catalog,
    estate: &Estate,
    tenant_tables: &BTreeSet<Oid>,
    territories: &BTreeMap<Oid, Territory<'_>>,
) -> Holdings {
    let Some(tenancy) = &estate.tenancy else {
        return Holdings {
            tables: written_by_schemas(catalog, territories),
            registries: BTreeMap::new(),
        };
    };
    let mut found = Holdings {
        tables: BTreeMap::new(),
        registries: registries(catalog, tenancy, tenant_tables),
    };
    let common = |relation: &Relation| {
        relation.kind.is_table()
            && !territories.contains_key(&relation.schema)
            && !Survey::is_history(relation)
            && relation.parent.is_none()
    };
    // What hangs on a child hangs on the tenant as well.
    let mut next: Vec<Oid> = tenant_tables.iter().chain(found.registries.keys()).copied().collect();
    let mut children: BTreeMap<Oid, Vec<&ForeignKey>> = BTreeMap::new();
    for key in &catalog.foreign_keys {
        children.entry(key.parent).or_default().push(key);
    }
    while let Some(parent) = next.pop() {
        for key in children.get(&parent).into_iter().flatten() {
            let own =
                tenant_tables.contains(&key.child) || found.registries.contains_key(&key.child);
            let hangs = catalog.relations.get(&key.child).is_some_and(common);
            if own || !hangs || found.tables.contains_key(&key.child) {
                continue;
            }
            found.tables.insert(key.child, Holding::Child(parent));
            next.push(key.child);
        }
    }
    // What tenants' tables refer to is common ground, and no copy.
    let referred: BTreeSet<Oid> = catalog.foreign_keys.iter().map(|key| key.parent).collect();
    let mut fed = fed(catalog, |source| tenant_tables.contains(&source), common);
    fed.extend(common_copies(catalog, territories));
    for (oid, relation) in &catalog.relations {
        let known = tenant_tables.contains(oid)
            || found.tables.contains_key(oid)
            || found.registries.contains_key(oid)
            || referred.contains(oid);
        if known || !common(relation) {
            continue;
        }
        let why = fed
            .get(oid)
            .map(|from| Holding::Fed(*from))
            .or_else(|| likeness(catalog, tenancy, tenant_tables, relation).map(Holding::Likeness))
            .or_else(|| documents(relation).then_some(Holding::Documents));
        if let Some(why) = why {
            found.tables.insert(*oid, why);
        }
    }
    found
}

/// The tables to which tenant columns refer.
fn registries(
    catalog: &Catalog,
    tenancy: &Tenancy,
    tenant_tables: &BTreeSet<Oid>,
) -> BTreeMap<Oid, Ident> {
    catalog
        .foreign_keys
        .iter()
        .filter(|key| tenant_tables.contains(&key.child) && !tenant_tables.contains(&key.parent))
        .filter_map(|key| match key.columns.as_slice() {
            [(own, theirs)] if *own == tenancy.column => Some((key.parent, theirs.clone())),
            _ => None,
        })
        .collect()
}

/// Where tenants have schemas, what their tables' triggers write into outside of all schemas.
fn written_by_schemas(
    catalog: &Catalog,
    territories: &BTreeMap<Oid, Territory<'_>>,
) -> BTreeMap<Oid, Holding> {
    let copies = common_copies(catalog, territories).into_iter();
    copies.map(|(oid, from)| (oid, Holding::Fed(from))).collect()
}

fn common_copies(
    catalog: &Catalog,
    territories: &BTreeMap<Oid, Territory<'_>>,
) -> BTreeMap<Oid, Oid> {
    let own = |relation: Oid| {
        let schema = catalog.relations.get(&relation).map(|relation| relation.schema);
        schema.is_some_and(|schema| territories.contains_key(&schema))
    };
    fed(catalog, own, |relation| {
        relation.kind.is_table() && !territories.contains_key(&relation.schema)
    })
}

/// The common tables that triggers and rules of some tables write into, and from which.
fn fed(
    catalog: &Catalog,
    source: impl Fn(Oid) -> bool,
    common: impl Fn(&Relation) -> bool,
) -> BTreeMap<Oid, Oid> {
    let mut by_name: BTreeMap<&str, Vec<Oid>> = BTreeMap::new();
    for (oid, relation) in catalog.relations.iter().filter(|(_, relation)| common(relation)) {
        by_name.entry(relation.name.name.as_str()).or_default().push(*oid);
    }
    let mut found = BTreeMap::new();
    for rule in catalog.around.rewrites.iter().filter(|rule| source(rule.relation)) {
        let into =
            rule.reads.iter().filter(|into| catalog.relations.get(into).is_some_and(&common));
        found.extend(into.map(|into| (*into, rule.relation)));
    }
    let mut read: BTreeMap<Oid, Vec<String>> = BTreeMap::new();
    for trigger in catalog.triggers.iter().filter(|trigger| source(trigger.relation)) {
        let Some(function) = catalog.functions.get(&trigger.function) else { continue };
        let names = read.entry(trigger.function).or_insert_with(|| written_into(&function.body));
        for oid in names.iter().filter_map(|name| by_name.get(name.as_str())).flatten() {
            found.entry(*oid).or_insert(trigger.relation);
        }
    }
    found
}

/// The names after INSERT INTO in a function's text, without their schemas.
pub(super) fn written_into(body: &str) -> Vec<String> {
    let words: Vec<&str> = body
        .split(|c: char| c.is_whitespace() || "(),;".contains(c))
        .filter(|word| !word.is_empty())
        .collect();
    words
        .windows(3)
        .filter(|three| {
            three[0].eq_ignore_ascii_case("insert") && three[1].eq_ignore_ascii_case("into")
        })
        .map(|three| three[2].rsplit('.').next().unwrap_or_default().trim_matches('"').to_owned())
        .collect()
}

/// The tenants' table of which a table is a copy, by its columns or by its name.
fn likeness(
    catalog: &Catalog,
    tenancy: &Tenancy,
    tenant_tables: &BTreeSet<Oid>,
    relation: &Relation,
) -> Option<Oid> {
    tenant_tables.iter().copied().find(|oid| {
        let Some(table) = catalog.relations.get(oid) else { return false };
        let own: Vec<_> = table.columns.iter().filter(|c| c.name != tenancy.column).collect();
        let shared: Vec<_> = own
            .iter()
            .filter(|own| {
                relation.column(&own.name).is_some_and(|other| other.type_name == own.type_name)
            })
            .collect();
        let telling =
            shared.iter().filter(|column| !COMMON.contains(&column.name.as_str())).count();
        let named = words(relation).any(|word| word == table.name.name.as_str())
            || relation.name.name.as_str().starts_with(&format!("{}_", table.name.name.as_str()))
            || relation.name.name.as_str().ends_with(&format!("_{}", table.name.name.as_str()));
        let most = shared.len() * 5 >= own.len() * 4;
        (telling >= 2 && most) || (named && telling >= 1 && shared.len() * 2 >= own.len())
    })
}

fn documents(relation: &Relation) -> bool {
    words(relation).any(|word| COPIES.contains(&word))
        && relation
            .columns
            .iter()
            .any(|column| ["json", "jsonb"].contains(&column.type_name.as_str()))
}

fn words(relation: &Relation) -> impl Iterator<Item = &str> {
    relation.name.name.as_str().split('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_writes_into_is_read_from_its_text() {
        let body = "BEGIN INSERT INTO app.audit_log(tenant, row)\n VALUES (1, 2); insert into \"Out\" SELECT 1; RETURN NEW; END";
        assert_eq!(written_into(body), ["audit_log", "Out"]);
    }
}
