//! The same test on the oldest, the installed and the newest PostgreSQL.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tenantctl::pg::server::{Installation, OLDEST_MAJOR, Options, installed};

use super::World;

/// The newest major version that tenantctl is tested on.
const NEWEST_MAJOR: u32 = 18;

/// Runs a test once on every major version at hand.
///
/// Versions come from `TENANTCTL_PG_MATRIX` (directories of programs, separated by colons), or
/// else from `target/pg/*`, where `scripts/test` puts them, and from what is installed. When the
/// oldest or newest supported version is missing, that is said on stderr; with
/// `TENANTCTL_REQUIRE_MATRIX=1` it fails the test.
pub fn on_every_version(test: impl Fn(World)) {
    on_every_version_with(|options| options, test);
}

/// As [`on_every_version`], on servers with other options.
pub fn on_every_version_with(change: impl Fn(Options) -> Options, test: impl Fn(World)) {
    let installations = installations();
    let majors: Vec<u32> = installations.iter().map(|one| one.version().major()).collect();
    for wanted in [OLDEST_MAJOR, NEWEST_MAJOR] {
        if !majors.contains(&wanted) {
            let missing = format!(
                "not tested on PostgreSQL {wanted}, which is not at hand: run scripts/test"
            );
            assert!(std::env::var_os("TENANTCTL_REQUIRE_MATRIX").is_none(), "{missing}");
            // Straight to the stream: the test runner swallows what a passing test prints.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "warning: {missing}").unwrap();
        }
    }
    for installation in installations {
        let place = installation.bin_dir().to_path_buf();
        // The runner shows this when the test fails, and only then.
        #[allow(clippy::print_stderr, reason = "names the version that failed")]
        {
            eprintln!("on PostgreSQL {} in {}", installation.version(), place.display());
        }
        test(World::on_with(&place, &change));
    }
}

/// One installation per major version, oldest first.
pub fn installations() -> Vec<Installation> {
    let mut found: Vec<Installation> = match std::env::var_os("TENANTCTL_PG_MATRIX") {
        // Somebody chose these: one that cannot be used is a failure.
        Some(list) => std::env::split_paths(&list)
            .map(|directory| Installation::at(&directory).unwrap())
            .collect(),
        None => downloaded()
            .iter()
            .filter_map(|directory| Installation::at(directory).ok())
            .chain(installed())
            .collect(),
    };
    found.sort_by_key(|one| one.version().major());
    found.dedup_by_key(|one| one.version().major());
    found
}

/// The directories that `scripts/test` fills.
fn downloaded() -> Vec<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let Ok(entries) = target.join("pg").read_dir() else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}
