//! What the statements of migration files do, as far as a rule asks.
//!
//! Names are as PostgreSQL folds them: lower case unless quoted. Ranges are bytes of the file.

use std::ops::Range;

/// A name as a statement writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectName {
    /// The schema before the dot, if it is written.
    pub(super) schema: Option<String>,
    /// The name itself.
    pub(super) name: String,
    /// Where it stands.
    pub(super) range: Range<usize>,
}

/// Something that a statement does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    CreateTable(NewTable),
    AlterTable {
        table: ObjectName,
        action: Action,
        range: Range<usize>,
    },
    DropTable(ObjectName),
    CreateIndex(NewIndex),
    DropIndex(ObjectName),
    CreatePolicy(ObjectName),
    DropPolicy(ObjectName),
    CreateExtension {
        name: ObjectName,
        schema: Option<String>,
    },
    CreateRoutine(Routine),
    AlterRoutine {
        name: ObjectName,
        definer: Option<bool>,
        pinned: bool,
    },
    CreateMaterializedView(ObjectName),
    CreateSchema(ObjectName),
    /// A privilege for every role, also those that are made later.
    GrantToPublic {
        range: Range<usize>,
        routines: bool,
    },
    /// A role, database or tablespace, which belong to the whole cluster.
    Cluster {
        range: Range<usize>,
        what: String,
    },
}

/// What `CREATE TABLE` says.
#[derive(Clone, Debug)]
pub(super) struct NewTable {
    pub(super) name: ObjectName,
    pub(super) parts: Parts,
    /// Tables whose columns it takes over: `LIKE`, `INHERITS`.
    pub(super) copied: Vec<ObjectName>,
    /// Whether there are columns that the statement does not list (`AS SELECT`, `OF type`).
    pub(super) open: bool,
    pub(super) partition: bool,
    pub(super) temporary: bool,
}

/// Columns and what binds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<Key>,
    pub(super) foreign_keys: Vec<ForeignKey>,
}

/// One column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its type in lower case, with single blanks.
    pub(super) ty: String,
    pub(super) not_null: bool,
    /// The text of its default.
    pub(super) default: Option<String>,
}

/// A primary key or a unique constraint.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: Option<String>,
    pub(super) primary: bool,
    pub(super) columns: Vec<String>,
    /// The index that becomes the constraint.
    pub(super) from_index: Option<String>,
    pub(super) range: Range<usize>,
}

/// A foreign key.
#[derive(Clone, Debug)]
pub(super) struct ForeignKey {
    pub(super) name: Option<String>,
    pub(super) columns: Vec<String>,
    pub(super) target: ObjectName,
    pub(super) range: Range<usize>,
}

/// What `CREATE INDEX` says.
#[derive(Clone, Debug)]
pub(super) struct NewIndex {
    pub(super) name: Option<ObjectName>,
    pub(super) table: ObjectName,
    /// Its columns in order; none for an expression.
    pub(super) columns: Vec<Option<String>>,
    pub(super) unique: bool,
    pub(super) concurrently: bool,
    pub(super) method: String,
    /// The text behind `WHERE`.
    pub(super) predicate: Option<String>,
    pub(super) range: Range<usize>,
}

/// A function or procedure.
#[derive(Clone, Debug)]
pub(super) struct Routine {
    pub(super) name: ObjectName,
    pub(super) definer: bool,
    /// Whether it carries its own `search_path`.
    pub(super) pinned: bool,
    /// Whether names in its body are looked up when it runs.
    pub(super) late: bool,
}

/// One action of `ALTER TABLE`.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A column or a constraint, or both.
    Add(Parts),
    DropColumn(String),
    DropConstraint(String),
    RenameColumn(String, String),
    RenameTable(String),
    NotNull(String, bool),
    Default(String, Option<String>),
    Type(String, String),
    RowSecurity(bool),
    ForceRowSecurity(bool),
    AttachPartition(ObjectName),
}

impl Column {
    pub(super) fn is_timestamptz(&self) -> bool {
        self.ty.starts_with("timestamptz")
            || (self.ty.starts_with("timestamp") && self.ty.ends_with("with time zone"))
    }
}
