//! What the files make, statement by statement: tables, their keys, indexes and row security.
//!
//! Names are looked up without their schema: a file that is run for every tenant means the tenant's
//! own. A table that no file makes is there already, and nothing is known of its columns.

use std::collections::BTreeMap;
use std::ops::Range;

use super::deed::DeedKind;
use super::script::{Place, Script, Statement};
use super::statement::{
    Act, Action, Column, ForeignKey, Key, NewIndex, NewTable, ObjectName, Parts, Routine,
};

/// A table at the end of all files.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) name: String,
    /// The statement that makes it; none when it was there before all files.
    pub(super) made: Option<Place>,
    pub(super) columns: Vec<Column>,
    /// Whether it may have columns that no file lists.
    pub(super) open: bool,
    pub(super) keys: Vec<Placed<Key>>,
    pub(super) indexes: Vec<Placed<NewIndex>>,
    pub(super) foreign_keys: Vec<Placed<ForeignKey>>,
    pub(super) row_security: Switch,
    pub(super) forced: Switch,
    pub(super) policies: usize,
    pub(super) partition: bool,
    pub(super) temporary: bool,
    /// Whether it is a materialized view, which takes part as far as indexes go.
    pub(super) materialized: bool,
}

/// Something with the place of the statement that made it.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) what: T,
    pub(super) at: Place,
}

/// Whether something was switched on or off, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Switch {
    #[default]
    Untouched,
    On,
    Off(Place),
}

/// An index, with how its table stood when it was made.
#[derive(Clone, Debug)]
pub(super) struct IndexMade {
    pub(super) index: NewIndex,
    pub(super) at: Place,
    pub(super) table_made: Option<Place>,
}

/// A change of rows, with how its table stood at that moment.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) verb: &'static str,
    pub(super) table: ObjectName,
    pub(super) at: Place,
    pub(super) made: Option<Place>,
    pub(super) columns: Option<Vec<String>>,
    pub(super) forced: Switch,
    pub(super) temporary: bool,
    /// Settings that the file had changed for the transaction by then.
    pub(super) bound: Vec<String>,
}

/// Everything that the files leave behind.
#[derive(Debug, Default)]
pub(super) struct Schema {
    tables: BTreeMap<String, Table>,
    pub(super) indexes_made: Vec<IndexMade>,
    pub(super) writes: Vec<Write>,
    /// Functions with the place that made them, as they are at the end.
    pub(super) routines: BTreeMap<String, Placed<Routine>>,
    /// Schemas that extensions are installed into.
    pub(super) extension_schemas: Vec<String>,
}

impl Schema {
    pub(super) fn of(scripts: &[Script<'_>]) -> Self {
        let mut schema = Self::default();
        for (file, script) in scripts.iter().enumerate() {
            let mut acts = script.reading.acts.iter().peekable();
            let mut bound = Vec::new();
            for statement in &script.statements {
                while let Some(act) = acts.next_if(|act| start(act) < statement.range.end) {
                    schema.take(act, file, &statement.range);
                }
                schema.run(statement, file, &mut bound);
            }
        }
        schema
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    pub(super) fn table(&self, name: &ObjectName) -> Option<&Table> {
        self.tables.get(&name.name)
    }

    fn run(&mut self, statement: &Statement, file: usize, bound: &mut Vec<String>) {
        // A block that binds one tenant after the other does so before each of its writes.
        for deed in &statement.deeds {
            if let DeedKind::Set { setting, .. } = &deed.kind {
                bound.push(setting.clone());
            }
        }
        for deed in &statement.deeds {
            let DeedKind::Write { verb, table } = &deed.kind else { continue };
            let known = self.tables.get(&table.name);
            self.writes.push(Write {
                verb,
                table: table.clone(),
                at: Place { file, range: deed.range.clone() },
                made: known.and_then(|known| known.made.clone()),
                columns: known
                    .filter(|known| known.made.is_some() && !known.open)
                    .map(|known| known.columns.iter().map(|column| column.name.clone()).collect()),
                forced: known.map_or(Switch::Untouched, |known| known.forced.clone()),
                temporary: known.is_some_and(|known| known.temporary),
                bound: bound.clone(),
            });
        }
    }

    fn take(&mut self, act: &Act, file: usize, statement: &Range<usize>) {
        let at = |range: &Range<usize>| Place { file, range: range.clone() };
        match act {
            Act::CreateTable(new) => self.create_table(new, file),
            Act::AlterTable { table, action, range } => self.alter_table(table, action, &at(range)),
            Act::DropTable(name) => {
                self.tables.remove(&name.name);
            }
            Act::CreateIndex(index) => {
                let table = self.entry(&index.table);
                let placed = Placed { what: index.clone(), at: at(&index.range) };
                table.indexes.push(placed);
                let table_made = table.made.clone();
                self.indexes_made.push(IndexMade {
                    index: index.clone(),
                    at: at(&index.range),
                    table_made,
                });
            }
            Act::DropIndex(name) => {
                for table in self.tables.values_mut() {
                    table.indexes.retain(|index| {
                        index.what.name.as_ref().is_none_or(|own| own.name != name.name)
                    });
                }
            }
            Act::CreatePolicy(table) => self.entry(table).policies += 1,
            Act::DropPolicy(table) => {
                let table = self.entry(table);
                table.policies = table.policies.saturating_sub(1);
            }
            Act::CreateExtension { schema, .. } => self.extension_schemas.extend(schema.clone()),
            Act::CreateRoutine(routine) => {
                let placed = Placed { what: routine.clone(), at: at(&routine.name.range) };
                self.routines.insert(routine.name.name.clone(), placed);
            }
            Act::AlterRoutine { name, definer, pinned } => {
                if let Some(routine) = self.routines.get_mut(&name.name) {
                    routine.what.definer = definer.unwrap_or(routine.what.definer);
                    routine.what.pinned |= pinned;
                }
            }
            Act::CreateMaterializedView(name) => {
                let table = Table {
                    name: name.name.clone(),
                    made: Some(at(statement)),
                    open: true,
                    materialized: true,
                    ..Table::default()
                };
                self.tables.insert(name.name.clone(), table);
            }
            Act::CreateSchema(_) | Act::GrantToPublic { .. } | Act::Cluster { .. } => {}
        }
    }

    fn entry(&mut self, name: &ObjectName) -> &mut Table {
        self.tables.entry(name.name.clone()).or_insert_with(|| Table {
            name: name.name.clone(),
            open: true,
            ..Table::default()
        })
    }

    fn create_table(&mut self, new: &NewTable, file: usize) {
        let mut table = Table {
            name: new.name.name.clone(),
            made: Some(Place { file, range: new.name.range.clone() }),
            open: new.open,
            partition: new.partition,
            temporary: new.temporary,
            ..Table::default()
        };
        for copied in &new.copied {
            match self.tables.get(&copied.name) {
                Some(source) if !source.open => table.columns.extend(source.columns.clone()),
                _ => table.open = true,
            }
        }
        table.add(&new.parts, file);
        self.tables.insert(table.name.clone(), table);
    }

    fn alter_table(&mut self, name: &ObjectName, action: &Action, at: &Place) {
        if let Action::RenameTable(to) = action {
            if let Some(mut table) = self.tables.remove(&name.name) {
                table.name.clone_from(to);
                self.tables.insert(to.clone(), table);
            }
            return;
        }
        if let Action::AttachPartition(child) = action {
            self.entry(child).partition = true;
            return;
        }
        self.entry(name).alter(action, at);
    }
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The lists of columns that an index of any kind is led by, those with a predicate left out.
    pub(super) fn leads(&self) -> impl Iterator<Item = Vec<Option<&str>>> {
        let keys = self
            .keys
            .iter()
            .map(|key| key.what.columns.iter().map(|column| Some(column.as_str())).collect());
        let indexes = self
            .indexes
            .iter()
            .filter(|index| index.what.predicate.as_deref().is_none_or(only_excludes_nulls))
            .map(|index| index.what.columns.iter().map(Option::as_deref).collect());
        keys.chain(indexes)
    }

    fn add(&mut self, parts: &Parts, file: usize) {
        let at = |range: &Range<usize>| Place { file, range: range.clone() };
        self.columns.extend(parts.columns.iter().cloned());
        for key in &parts.keys {
            let mut what = key.clone();
            if let Some(index) = &key.from_index {
                let found = self
                    .indexes
                    .iter()
                    .find(|known| known.what.name.as_ref().is_some_and(|name| name.name == *index));
                what.columns = found
                    .map(|known| known.what.columns.iter().flatten().cloned().collect())
                    .unwrap_or_default();
            }
            if what.primary {
                for column in &mut self.columns {
                    column.not_null |= what.columns.contains(&column.name);
                }
            }
            self.keys.push(Placed { at: at(&key.range), what });
        }
        for key in &parts.foreign_keys {
            self.foreign_keys.push(Placed { at: at(&key.range), what: key.clone() });
        }
    }

    fn alter(&mut self, action: &Action, at: &Place) {
        let switch = |on: bool| if on { Switch::On } else { Switch::Off(at.clone()) };
        match action {
            Action::Add(parts) => self.add(parts, at.file),
            Action::DropColumn(name) => self.drop_column(name),
            Action::DropConstraint(name) => self.drop_constraint(name),
            Action::RenameColumn(from, to) => self.rename_column(from, to),
            Action::NotNull(name, not_null) => {
                self.change(name, |column| column.not_null = *not_null);
            }
            Action::Default(name, value) => {
                self.change(name, |column| column.default.clone_from(value));
            }
            Action::Type(name, ty) => self.change(name, |column| column.ty.clone_from(ty)),
            Action::RowSecurity(on) => self.row_security = switch(*on),
            Action::ForceRowSecurity(on) => self.forced = switch(*on),
            // Both are the schema's.
            Action::RenameTable(_) | Action::AttachPartition(_) => {}
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Column)) {
        if let Some(column) = self.columns.iter_mut().find(|column| column.name == name) {
            change(column);
        }
    }

    /// Keys and indexes that hold a column go with it.
    fn drop_column(&mut self, name: &str) {
        let is = |column: &String| column == name;
        self.columns.retain(|column| column.name != name);
        self.keys.retain(|key| !key.what.columns.iter().any(is));
        self.foreign_keys.retain(|key| !key.what.columns.iter().any(is));
        self.indexes.retain(|index| !index.what.columns.iter().flatten().any(is));
    }

    fn drop_constraint(&mut self, name: &str) {
        let table = self.name.clone();
        let called = |own: Option<&String>, columns: &[String], suffix: &str| match own {
            Some(own) => own == name,
            None if suffix == "pkey" => name == format!("{table}_pkey"),
            None => name == format!("{table}_{}_{suffix}", columns.join("_")),
        };
        self.keys.retain(|key| {
            let suffix = if key.what.primary { "pkey" } else { "key" };
            !called(key.what.name.as_ref(), &key.what.columns, suffix)
        });
        self.foreign_keys.retain(|key| !called(key.what.name.as_ref(), &key.what.columns, "fkey"));
    }

    fn rename_column(&mut self, from: &str, to: &str) {
        let columns = self.columns.iter_mut().map(|column| &mut column.name);
        let keys = self.keys.iter_mut().flat_map(|key| key.what.columns.iter_mut());
        let foreign = self.foreign_keys.iter_mut().flat_map(|key| key.what.columns.iter_mut());
        let indexes = self.indexes.iter_mut().flat_map(|i| i.what.columns.iter_mut().flatten());
        for name in columns.chain(keys).chain(foreign).chain(indexes) {
            if name == from {
                to.clone_into(name);
            }
        }
    }
}

/// Whether every row that a look-up by value could want is in the index.
fn only_excludes_nulls(predicate: &str) -> bool {
    predicate
        .trim_start_matches("( ")
        .trim_end_matches(" )")
        .split_once(' ')
        .is_some_and(|(_, rest)| rest == "is not null")
}

/// Where an act begins in its file.
fn start(act: &Act) -> usize {
    match act {
        Act::CreateTable(table) => table.name.range.start,
        Act::AlterTable { range, .. }
        | Act::GrantToPublic { range, .. }
        | Act::Cluster { range, .. } => range.start,
        Act::CreateIndex(index) => index.range.start,
        Act::CreateRoutine(routine) => routine.name.range.start,
        Act::DropTable(name)
        | Act::DropIndex(name)
        | Act::CreatePolicy(name)
        | Act::DropPolicy(name)
        | Act::CreateExtension { name, .. }
        | Act::AlterRoutine { name, .. }
        | Act::CreateMaterializedView(name)
        | Act::CreateSchema(name) => name.range.start,
    }
}
