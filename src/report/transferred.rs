//! What became of a tenant's data that were copied.

use std::time::Duration;

use crate::model::migration::Version;
use crate::model::tenant::Tenant;

/// A tenant that was written down, or filled.
#[derive(Debug)]
pub struct Transferred {
    /// `export`, `import`, `clone`.
    pub verb: &'static str,
    /// The tenant.
    pub tenant: Tenant,
    /// The tenant that the data are of, where it is filled from another.
    pub from: Option<String>,
    /// The archive.
    pub place: Option<String>,
    /// The version of the schema.
    pub version: Option<Version>,
    /// What names the content: equal archives have equal ones.
    pub fingerprint: Option<String>,
    /// How large the archive is, in bytes, where one was written.
    pub size: Option<u64>,
    /// Whether all had been done before.
    pub unchanged: bool,
    /// The tables, in the order in which they were copied.
    pub tables: Vec<CopiedTable>,
    /// The steps that made the tenant, in words.
    pub steps: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// The rows of a table that were copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTable {
    /// The table.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// Their length as the server writes them, in bytes.
    pub bytes: u64,
}

impl Transferred {
    /// All rows.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Their length, in bytes.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }
}
