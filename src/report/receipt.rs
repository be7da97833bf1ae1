//! What is left of a tenant that was purged: the proof that nothing else is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A receipt, as it is written to a file. It holds no data of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The layout of this document.
    pub format: u32,
    /// The id, which stays the tenant's own.
    pub tenant: String,
    /// Its identity.
    pub uuid: String,
    /// How it was isolated.
    pub isolation: String,
    /// Where it lived.
    pub cluster: String,
    /// The database there.
    pub database: String,
    /// The schema there.
    pub schema: String,
    /// The version of its schema.
    pub version: Option<i64>,
    /// When the end began, in UTC.
    pub begun_at: String,
    /// When nothing was left, in UTC.
    pub purged_at: String,
    /// The role that did it.
    pub by: String,
    /// The deed in the audit log.
    pub deed: String,
    /// The tables, by name, with their rows.
    pub tables: Vec<ReceiptTable>,
    /// Everything else that is gone: schemas, databases, roles, large objects.
    pub removed: Vec<String>,
    /// What was looked at and had nothing of the tenant.
    pub checked: Vec<String>,
}

/// A table of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTable {
    /// Its name, as SQL reads it.
    pub name: String,
    /// How many rows of the tenant it had.
    pub rows_before: u64,
    /// How many it has: none.
    pub rows_after: u64,
}

/// Where a receipt is.
#[derive(Clone, Debug)]
pub struct PurgeReceipt {
    /// The receipt.
    pub receipt: Receipt,
    /// The file.
    pub file: PathBuf,
    /// The SHA-256 of the file, which the audit log keeps.
    pub sha256: String,
}

impl Receipt {
    /// The bytes of the file: the same receipt makes the same bytes.
    pub fn document(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// All rows that there were.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_before).sum()
    }
}
