//! What `erase` did, or would do.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::model::erasure::{Fate, Rows};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::tenant::TenantId;

/// Rows that were erased, or would be.
#[derive(Clone, Debug)]
pub struct Erasing {
    /// The tenant.
    pub tenant: TenantId,
    /// Its uuid.
    pub uuid: Uuid,
    /// Nothing was erased.
    pub dry_run: bool,
    /// The file that said which rows.
    pub file: String,
    /// Its SHA-256.
    pub file_digest: String,
    /// The tables, by name.
    pub tables: Vec<ErasedTable>,
    /// The keys along which it went on.
    pub links: Vec<ErasedLink>,
    /// How long it took.
    pub took: Duration,
}

/// A table of which rows are erased or let go.
#[derive(Clone, Debug)]
pub struct ErasedTable {
    /// Its name.
    pub name: QualifiedName,
    /// How many rows.
    pub rows: Rows,
    /// Triggers that fire when a row is deleted or let go.
    pub triggers: Vec<Ident>,
}

/// A foreign key along which it goes on.
#[derive(Clone, Debug)]
pub struct ErasedLink {
    /// The key.
    pub key: Ident,
    /// The table that refers.
    pub from: QualifiedName,
    /// The table that is referred to.
    pub to: QualifiedName,
    /// What becomes of the rows; nobody has said.
    pub fate: Option<Fate>,
    /// How many.
    pub rows: u64,
}

impl Erasing {
    /// How many rows are deleted.
    pub fn deleted(&self) -> u64 {
        self.tables.iter().map(|table| table.rows.deleted).sum()
    }

    /// How many rows stay and refer to nothing.
    pub fn nulled(&self) -> u64 {
        self.tables.iter().map(|table| table.rows.nulled).sum()
    }

    /// A SHA-256 over tenant, file and numbers: who has the answer can show that it is this one.
    pub fn receipt(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(format!("{}\0{}\0{}", self.tenant, self.uuid, self.file_digest));
        for table in &self.tables {
            let Rows { before, meant, deleted, nulled, after } = table.rows;
            let line = format!("\0{} {before} {meant} {deleted} {nulled} {after}", table.name);
            hasher.update(line);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
