//! What becomes of a history otherwise than by going forward: adopted, mended, taken back.
//!
//! Each decision names the rows that change, with what they were and what they will be: that is
//! what a person agrees to, and what the audit trail keeps.

mod baseline;
mod repair;
mod undo;

pub use baseline::baseline;
pub use repair::{Mending, repair};
pub use undo::{Goal, take_back};

use crate::model::migration::{Applied, Difference, Migration, Version};

/// What a row of a history says of its migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name.
    pub name: String,
    /// refinery's checksum.
    pub checksum: u64,
}

impl From<&Applied> for Row {
    fn from(applied: &Applied) -> Self {
        Self { name: applied.name.clone(), checksum: applied.checksum }
    }
}

impl From<&Migration> for Row {
    fn from(migration: &Migration) -> Self {
        Self { name: migration.name.clone(), checksum: migration.checksum }
    }
}

/// One row of a history that changes, comes or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The version.
    pub version: Version,
    /// The row before; none when there was none.
    pub was: Option<Row>,
    /// The row afterwards; none when it is gone.
    pub now: Option<Row>,
    /// Why.
    pub why: Why,
    /// The file that stands behind it, when there is one.
    pub file: Option<String>,
}

/// Why a row of a history changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// What the migration makes stands there already.
    Baseline,
    /// The row differs from its file.
    Differs(Difference),
    /// There is no file for it.
    NoFile,
    /// The migration is taken back.
    TakenBack,
}

impl Why {
    /// The word in JSON, on screen and in the audit trail.
    pub fn word(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Differs(difference) => difference.word(),
            Self::NoFile => "no-file",
            Self::TakenBack => "taken-back",
        }
    }
}

/// The newest version of a list of rows to which changes were made.
pub fn version_after(before: &[Applied], changes: &[RowChange]) -> Option<Version> {
    let gone = |version: Version| {
        changes.iter().any(|change| change.version == version && change.now.is_none())
    };
    let kept = before.iter().map(|row| row.version).filter(|version| !gone(*version));
    let came = changes.iter().filter(|change| change.now.is_some()).map(|change| change.version);
    kept.chain(came).max()
}
