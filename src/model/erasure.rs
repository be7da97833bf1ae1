//! What somebody wants erased of one tenant: the rows of a person, and what hangs on them.

use super::ident::Ident;

/// Rows that are meant, and what becomes of rows that refer to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasure {
    /// The file, as it was named.
    pub file: String,
    /// The SHA-256 of the file. What it says is personal, and is kept nowhere.
    pub digest: String,
    /// The rows that are meant, by table.
    pub wanted: Vec<Wanted>,
    /// What becomes of rows that refer to them, by foreign key.
    pub keys: Vec<KeyChoice>,
}

/// The rows of a table that are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The table.
    pub table: Ident,
    /// The condition, as it was written.
    pub condition: String,
    /// The line in the file.
    pub line: usize,
}

/// What becomes of rows that refer to erased ones by a foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChoice {
    /// The table that refers.
    pub table: Ident,
    /// The foreign key: its name, or one of its columns.
    pub key: Ident,
    /// What becomes of its rows.
    pub fate: Fate,
    /// The line in the file.
    pub line: usize,
}

/// What becomes of a row that refers to an erased one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is erased as well.
    Delete,
    /// It stays, and refers to nothing.
    SetNull,
}

impl Fate {
    /// The word in files, JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::SetNull => "set null",
        }
    }
}

/// Rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The tenant's before.
    pub before: u64,
    /// That the condition of the file says.
    pub meant: u64,
    /// Deleted, in all.
    pub deleted: u64,
    /// That stay, and refer to nothing.
    pub nulled: u64,
    /// The tenant's afterwards.
    pub after: u64,
}
