//! What tenantctl computes about a migration file is what refinery computes about it.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use refinery::Migration as Theirs;
use tenantctl::migrations::file_name::Role;
use tenantctl::migrations::{embedded, file_name};
use tenantctl::model::migration::{Migration as Ours, Prefix, Version};

fn ours(version: i64, name: &str, sql: &str) -> Ours {
    Ours::new(Prefix::Versioned, Version(version), name, sql, "path", vec![])
}

proptest! {
    #[test]
    fn the_checksum_is_refinerys(version in 0_i64.., name in "[a-zA-Z0-9_é]{1,30}", sql in "(?s).{0,200}") {
        let ours = ours(version, &name, &sql);
        let theirs = Theirs::unapplied(&ours.stem(), &sql).unwrap();
        prop_assert_eq!(ours.checksum, theirs.checksum());
        prop_assert_eq!(ours.version.0, theirs.version());
        prop_assert_eq!(ours.name.as_str(), theirs.name());
    }

    #[test]
    fn a_name_that_is_accepted_means_the_same_to_refinery(
        file in prop_oneof![
            "[VUvR|]?[0-9.]{0,3}_{0,3}[a-z0-9_ü²\u{308}-]{0,6}\\.sql",
            "[VU][0-9]{1,20}__\\PC{1,6}\\.sql",
        ]
    ) {
        if let Ok(Some(name)) = file_name::parse(&file) {
            let theirs = Theirs::unapplied(file.strip_suffix(".sql").unwrap(), "").unwrap();
            prop_assert_eq!(theirs.version(), name.version.0);
            prop_assert_eq!(theirs.name(), name.name);
            prop_assert_eq!(theirs.prefix().to_string(), name.prefix.letter().to_string());
        }
    }
}

#[test]
fn no_file_is_accepted_that_refinery_would_not_find() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["V1__a.sql", "V02__b.sql", "U3__c.sql", "V4__d-e.sql", "v5__f.sql", "V6__ü.sql"];
    for name in names {
        std::fs::write(directory.path().join(name), "SELECT 1;\n").unwrap();
    }
    let accepted: Vec<i64> = names
        .iter()
        .filter_map(|name| file_name::parse(name).ok().flatten())
        .map(|name| name.version.0)
        .collect();
    let found: Vec<i64> = refinery::load_sql_migrations(directory.path())
        .unwrap()
        .iter()
        .map(Theirs::version)
        .collect();
    assert_eq!(accepted, found);
}

#[test]
fn refinery_takes_the_embedded_sets() {
    for set in [embedded::tenant().unwrap(), embedded::shared().unwrap()] {
        for migration in set.migrations() {
            let theirs = Theirs::unapplied(&migration.stem(), &migration.sql).unwrap();
            assert_eq!(theirs.checksum(), migration.checksum, "{}", migration.path);
        }
    }
}

/// The stems that refinery finds in a directory of these files.
fn found(files: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "SELECT 1;\n").unwrap();
    }
    let found = refinery::load_sql_migrations(directory.path()).unwrap();
    found.iter().map(|one| format!("{}{}__{}", one.prefix(), one.version(), one.name())).collect()
}

#[test]
fn what_refinery_does_not_know_it_passes_over() {
    let files = ["V1__a.sql", "R__views.sql", "down/1__a.sql", "down/1.sql", "R__b/V2__b.sql"];
    assert_eq!(found(&files), ["V1__a", "V2__b"]);
    for file in &files[1..4] {
        assert!(!matches!(file_name::role(file), Ok(None | Some(Role::Migration(_)))), "{file}");
    }
    // It would apply this one right after the migration that it takes back.
    assert_eq!(found(&["V1__a.sql", "down/V1__a.sql"]), ["V1__a", "V1__a"]);
    assert!(file_name::role("down/V1__a.sql").is_err());
}
