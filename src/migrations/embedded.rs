//! The migration sets that are compiled into the binary: a starting schema to try, copy or keep.
//!
//! They pass the same preflight as a team's own files, and keep their file names, so that refinery
//! reads a copy of the directory as the same history.

use std::borrow::Cow;

use crate::error::Error;
use crate::migrations::preflight::{File, check};
use crate::model::migration::MigrationSet;

/// The path and text of each named file of a directory of this repository.
macro_rules! files {
    ($directory:literal: $($file:literal),+ $(,)?) => {
        &[$((
            concat!($directory, "/", $file),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $directory, "/", $file)),
        )),+]
    };
}

const TENANT: &[(&str, &str)] = files!(
    "migrations/tenant":
    "V1__organisation_and_users.sql",
    "V2__api_keys.sql",
    "V3__documents_and_tags.sql",
    "V4__events.sql",
    "V5__embeddings.sql",
    "V6__settings.sql",
    "V7__audit_log.sql",
);

const SHARED: &[(&str, &str)] = files!(
    "migrations/shared":
    "V1__organisation_and_users.sql",
    "V2__api_keys.sql",
    "V3__documents_and_tags.sql",
    "V4__events.sql",
    "V5__embeddings.sql",
    "V6__settings.sql",
    "V7__audit_log.sql",
);

const REGISTRY: &[(&str, &str)] = files!(
    "migrations/registry":
    "V1__tenants.sql",
    "V2__events.sql",
    "V3__runs.sql",
    "V4__trail.sql",
    "V5__life.sql",
    "V6__credentials.sql",
    "V7__moves.sql",
);

/// tenantctl's own tables.
pub fn registry() -> Result<MigrationSet, Error> {
    set("the registry's own set", REGISTRY)
}

/// The set for a tenant that has a schema or a database of its own.
pub fn tenant() -> Result<MigrationSet, Error> {
    set("the embedded tenant set", TENANT)
}

/// The set for the schema whose tables tenants share.
pub fn shared() -> Result<MigrationSet, Error> {
    set("the embedded shared set", SHARED)
}

fn set(name: &str, files: &[(&'static str, &'static str)]) -> Result<MigrationSet, Error> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| File {
            path: (*path).to_owned(),
            bytes: Cow::Borrowed(text.as_bytes()),
        })
        .collect();
    check(name, &files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::migrations::directory;
    use std::path::Path;

    /// The set as its directory holds it, so that no file can be left out of the lists above.
    fn on_disk(directory: &str) -> Vec<(String, u64)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        stems(&directory::read(&root.join(directory)).unwrap())
    }

    fn stems(set: &MigrationSet) -> Vec<(String, u64)> {
        set.migrations().iter().map(|one| (one.stem(), one.checksum)).collect()
    }

    #[test]
    fn every_file_of_the_directories_is_compiled_in() {
        assert_eq!(stems(&tenant().unwrap()), on_disk("migrations/tenant"));
        assert_eq!(stems(&shared().unwrap()), on_disk("migrations/shared"));
    }

    #[test]
    fn the_two_sets_have_the_same_versions_and_names() {
        let names = |set: MigrationSet| -> Vec<String> {
            set.migrations().iter().map(crate::model::migration::Migration::stem).collect()
        };
        assert_eq!(names(tenant().unwrap()), names(shared().unwrap()));
    }

    #[test]
    fn the_files_are_plain_ascii_so_that_any_database_encoding_takes_them() {
        for set in [tenant().unwrap(), shared().unwrap()] {
            for migration in set.migrations() {
                assert!(migration.sql.is_ascii(), "{}", migration.path);
            }
        }
    }
}
