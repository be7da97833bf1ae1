//! The files and what they leave behind, as rules ask for it.

use super::Ground;
use super::deed::Deed;
use super::schema::{Schema, Switch, Table};
use super::script::{Place, Script, Source};
use super::statement::Act;
use crate::model::layout::Tenancy;
use crate::model::tenant::Isolation;

/// What rules look at.
pub(super) struct Survey<'a> {
    pub(super) ground: &'a Ground,
    pub(super) scripts: Vec<Script<'a>>,
    pub(super) schema: Schema,
}

impl<'a> Survey<'a> {
    pub(super) fn new(sources: &[Source<'a>], ground: &'a Ground) -> Self {
        let scripts: Vec<Script<'a>> = sources.iter().map(|source| Script::read(*source)).collect();
        Self { schema: Schema::of(&scripts), scripts, ground }
    }

    /// How rows say whose they are, when the files are for tables that tenants share.
    pub(super) fn tenancy(&self) -> Option<&'a Tenancy> {
        self.ground.tenancy.as_ref().filter(|_| self.ground.isolation == Isolation::Shared)
    }

    /// The tables that the files make and keep, partitions and temporary ones left out.
    pub(super) fn made(&self) -> impl Iterator<Item = (&Place, &Table)> {
        self.schema.tables().filter_map(|table| {
            let plain = !table.partition && !table.temporary && !table.materialized;
            table.made.as_ref().filter(|_| plain).map(|made| (made, table))
        })
    }

    /// Shared tables whose rows say whose they are.
    pub(super) fn tenant_tables(&self) -> impl Iterator<Item = (&Place, &Table, &'a str)> {
        self.tenancy().into_iter().flat_map(move |tenancy| {
            let column = tenancy.column.as_str();
            self.made()
                .filter(move |(_, table)| table.column(column).is_some())
                .map(move |(made, table)| (made, table, column))
        })
    }

    /// Where row security, or its force, was switched off for good, in shared tables.
    pub(super) fn switched_off(&self, switch: fn(&Table) -> &Switch) -> Vec<(&Table, &Place)> {
        let shared = self.tenancy().is_some();
        self.schema
            .tables()
            .filter(|_| shared)
            .filter_map(|table| match switch(table) {
                Switch::Off(place) => Some((table, place)),
                Switch::On | Switch::Untouched => None,
            })
            .collect()
    }

    pub(super) fn acts(&self) -> impl Iterator<Item = (usize, &Act)> {
        self.scripts
            .iter()
            .enumerate()
            .flat_map(|(file, script)| script.reading.acts.iter().map(move |act| (file, act)))
    }

    pub(super) fn deeds(&self) -> impl Iterator<Item = (&Script<'a>, Place, &Deed)> {
        self.scripts.iter().enumerate().flat_map(|(file, script)| {
            script
                .statements
                .iter()
                .flat_map(|statement| &statement.deeds)
                .map(move |deed| (script, Place { file, range: deed.range.clone() }, deed))
        })
    }

    /// The path of a file.
    pub(super) fn path(&self, file: usize) -> &str {
        self.scripts.get(file).map_or("", |script| script.source.path)
    }
}
