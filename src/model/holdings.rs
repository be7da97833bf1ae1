//! What a tenant has: the tables that hold its rows, how they hang together, and what else is its.

use std::collections::{BTreeMap, BTreeSet};

use super::ident::{Ident, QualifiedName};
use super::migration::{History, Version};

/// Everything that holds a tenant's data, as the catalogue says and no list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The tables with rows of the tenant. Partitions are their parents'; the history of migrations
    /// and tenantctl's own bookkeeping are no data.
    pub tables: BTreeMap<QualifiedName, HeldTable>,
    /// The foreign keys between tables of which at least the referenced one is held.
    pub edges: Vec<Edge>,
    /// The sequences in the tenant's schema, or of its owner. Tenants that share tables share them.
    pub sequences: BTreeMap<QualifiedName, HeldSequence>,
    /// Materialized views, in the order in which they were made: what each is computed from stands
    /// before it.
    pub derived: Vec<QualifiedName>,
    /// What stands in the same place and holds no rows of the tenant as far as can be told.
    pub outside: BTreeMap<QualifiedName, Outside>,
    /// Large objects of the tenant's own roles. No table holds them.
    pub large_objects: u64,
    /// What refinery recorded; none where nothing was ever applied.
    pub history: Option<History>,
}

impl Holdings {
    /// The version of the schema.
    pub fn version(&self) -> Option<Version> {
        self.history.as_ref().and_then(History::version)
    }

    /// The foreign keys from tables that are not held: something of somebody else's refers to this
    /// tenant's rows.
    pub fn from_outside(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(|edge| !self.tables.contains_key(&edge.from))
    }

    /// The foreign keys from one held table to another, or to itself.
    pub fn within(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(|edge| self.tables.contains_key(&edge.from))
    }

    /// The tables that hold rows of the tenant and have no tenant column: only a foreign key tells
    /// whose a row is.
    pub fn reached_through(&self) -> impl Iterator<Item = (&QualifiedName, &[Edge])> {
        self.tables.iter().filter_map(|(name, table)| match &table.reach {
            Reach::Through { path, .. } => Some((name, path.as_slice())),
            Reach::Whole | Reach::Column { .. } => None,
        })
    }
}

/// A table with rows of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTable {
    /// Its columns, in order.
    pub columns: Vec<HeldColumn>,
    /// The columns of its primary key, in order; empty without one.
    pub key: Vec<Ident>,
    /// Which of its rows are the tenant's.
    pub reach: Reach,
    /// Whether its rows are in partitions.
    pub partitioned: bool,
    /// Who owns it.
    pub owner: Ident,
    /// Whether row-level security is on.
    pub rls: bool,
    /// Whether it binds the owner as well.
    pub forced: bool,
    /// Who sees rows where row-level security is on: by a permissive policy for reading.
    pub seen_by: SeenBy,
    /// Who adds rows there: by a permissive policy for inserting.
    pub added_by: SeenBy,
    /// Policies that tenantctl did not make: they may hide rows of the tenant from everybody.
    pub foreign_policies: Vec<String>,
    /// Triggers of the schema's author, by name.
    pub triggers: BTreeMap<Ident, Firing>,
    /// What it takes on disk, in bytes, with indexes; of a shared table, for all tenants.
    pub bytes: u64,
    /// How many rows the server believes it has; of a shared table, of all tenants. None before the
    /// first ANALYZE.
    pub estimate: Option<u64>,
}

impl HeldTable {
    /// The columns that are stored because somebody wrote them: all but the generated ones.
    pub fn written(&self) -> impl Iterator<Item = &HeldColumn> {
        self.columns.iter().filter(|column| !column.generated)
    }

    /// A column by name.
    pub fn column(&self, name: &Ident) -> Option<&HeldColumn> {
        self.columns.iter().find(|column| column.name == *name)
    }

    /// The tenant column, where the table has one.
    pub fn tenant_column(&self) -> Option<&Ident> {
        match &self.reach {
            Reach::Column { name, .. } => Some(name),
            Reach::Whole | Reach::Through { .. } => None,
        }
    }
}

/// Which rows of a table are the tenant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All: the table is the tenant's own.
    Whole,
    /// Those with the tenant's key in a column.
    Column {
        /// The column.
        name: Ident,
        /// Its type, as the server prints it.
        kind: String,
    },
    /// Those that refer, by this foreign key, to a row of the tenant: the first edge is the table's
    /// own, the last one leads to a table with the tenant column.
    Through {
        /// The foreign keys, one after the other.
        path: Vec<Edge>,
        /// The tenant column at their end.
        column: Ident,
        /// Its type, as the server prints it.
        kind: String,
    },
}

/// A column of a held table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldColumn {
    /// Its name.
    pub name: Ident,
    /// Its type, as the server prints it with the tenant's schema as search path.
    pub kind: String,
    /// NOT NULL.
    pub required: bool,
    /// GENERATED ALWAYS AS (…): computed from other columns.
    pub generated: bool,
    /// GENERATED … AS IDENTITY.
    pub identity: bool,
    /// Whether a row that does not name it gets a value.
    pub default: bool,
}

impl HeldColumn {
    /// Whether a row may be written without it.
    pub fn may_be_left_out(&self) -> bool {
        self.generated || self.identity || self.default || !self.required
    }
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The table that refers.
    pub from: QualifiedName,
    /// The constraint's name.
    pub name: Ident,
    /// Its columns.
    pub columns: Vec<Ident>,
    /// The table that is referred to.
    pub to: QualifiedName,
    /// The columns there, in the same order.
    pub to_columns: Vec<Ident>,
    /// What happens to a row when the one that it refers to is deleted.
    pub on_delete: OnDelete,
    /// Whether the check may wait for the end of the transaction.
    pub deferrable: bool,
    /// Whether a row may refer to nothing: one of the columns may be NULL.
    pub optional: bool,
}

/// `ON DELETE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnDelete {
    /// The statement fails, at its end.
    NoAction,
    /// The statement fails, at once.
    Restrict,
    /// The row is deleted as well.
    Cascade,
    /// The columns become NULL.
    SetNull,
    /// The columns become their defaults.
    SetDefault,
}

/// A sequence in the tenant's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSequence {
    /// The column that it serves, when it belongs to one.
    pub column: Option<(QualifiedName, Ident)>,
    /// Whether it is that of an identity column.
    pub identity: bool,
    /// The value it stands at, and whether that was given out already.
    pub stands_at: (i64, bool),
}

/// Whom policies of a table with row-level security let do something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenBy {
    /// A policy says PUBLIC.
    pub everybody: bool,
    /// The roles that policies name.
    pub roles: BTreeSet<Ident>,
}

/// When a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firing {
    /// In ordinary sessions.
    Normal,
    /// In sessions that apply replicated changes alone.
    Replica,
    /// In both.
    Always,
    /// Never.
    Disabled,
}

/// Why something in the tenant's place is not among what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// A table that tenants share, without the tenant column and without a foreign key to a table
    /// that has it: its rows are nobody's.
    Nobodys,
    /// Rows of another server.
    Foreign,
    /// An extension made it, and makes it again.
    Extension,
}

impl Outside {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nobodys => "no-tenant",
            Self::Foreign => "foreign-table",
            Self::Extension => "extension",
        }
    }
}
