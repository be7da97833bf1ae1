//! What `migrate new` answers.

use std::path::PathBuf;

use crate::model::migration::Version;
use crate::model::tenant::Isolation;

/// A migration file that was written.
#[derive(Clone, Debug)]
pub struct NewMigration {
    /// The file.
    pub path: PathBuf,
    /// Its version: the next one of its directory.
    pub version: Version,
    /// The isolation models that run it.
    pub isolations: Vec<Isolation>,
}
