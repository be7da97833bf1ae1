//! Finds the PostgreSQL servers that are installed, however they were packaged.
//!
//! An installation counts when it holds `postgres` and `initdb` and its `postgres --version` says
//! a version that tenantctl supports. `TENANTCTL_PG_BIN`, when set, is the only place looked at:
//! a wrong value is an error, never a reason to fall back to another server.

use std::cmp::Reverse;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::packages::install_command;
use crate::error::{Code, Error};

/// The oldest major version that tenantctl supports.
pub const OLDEST_MAJOR: u32 = 14;

/// Names the directory of the programs to use.
const VARIABLE: &str = "TENANTCTL_PG_BIN";

/// Where packagers put the server's programs; one component may hold one `*`.
const PLACES: [&str; 22] = [
    // Debian and Ubuntu; Gentoo.
    "/usr/lib/postgresql/*/bin",
    "/usr/lib64/postgresql-*/bin",
    // RHEL and the community's RPM packages; openSUSE.
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    // Alpine.
    "/usr/libexec/postgresql*",
    "/usr/libexec/postgresql/*",
    // Fedora, Arch, FreeBSD, containers, and builds from source.
    "/usr/bin",
    "/usr/local/bin",
    "/usr/local/pgsql/bin",
    "/opt/bitnami/postgresql/bin",
    // Homebrew: Apple silicon, Intel, Linux.
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    // Postgres.app, the graphical installer, MacPorts.
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",
    "/opt/PostgreSQL/*/bin",
    "/opt/local/lib/postgresql*/bin",
    // Nix.
    "/run/current-system/sw/bin",
    "/nix/var/nix/profiles/default/bin",
    "/etc/profiles/per-user/*/bin",
    "~/.nix-profile/bin",
    "~/.local/state/nix/profile/bin",
];

/// A server's version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    text: String,
}

impl Version {
    /// The major version: 14, 15, …
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Reads the answer to `postgres --version`.
    fn parse(answer: &str) -> Option<Self> {
        let text = answer.trim().strip_prefix("postgres (PostgreSQL) ")?;
        // `15.18 (Debian …)`, `19beta1`, `18devel`: the packager's remark is not the version.
        let text = text.split_whitespace().next()?.to_owned();
        let leading = |part: &str| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u32>().ok()
        };
        let mut parts = text.split('.');
        let major = leading(parts.next()?)?;
        let minor = parts.next().and_then(leading).unwrap_or(0);
        Some(Self { major, minor, text })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A directory of programs that make and run servers of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    bin_dir: PathBuf,
    version: Version,
}

impl Installation {
    /// Checks a directory of programs; one that holds them in `bin` or `native/bin` will do too.
    ///
    /// # Errors
    /// [`Code::ToolMissing`] when it holds no `postgres` that runs, or one that is too old.
    pub fn at(directory: &Path) -> Result<Self, Error> {
        let missing = |reason: String| {
            Error::new(Code::ToolMissing, format!("use the PostgreSQL in {}", directory.display()))
                .because(reason)
        };
        let found = ["", "bin", "native/bin"].iter().find_map(|below| {
            let bin_dir = real_bin_dir(&directory.join(below))?;
            Some(version_of(&bin_dir).map(|version| Self { bin_dir, version }))
        });
        match found {
            None => Err(missing("there are no postgres and initdb".to_owned())),
            Some(Err(reason)) => Err(missing(reason)),
            Some(Ok(found)) if found.version.major < OLDEST_MAJOR => {
                Err(missing(format!("it is {}, older than {OLDEST_MAJOR}", found.version)))
            }
            Some(Ok(found)) => Ok(found),
        }
    }

    /// The directory of its programs.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The path of one of its programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// All servers that are installed and supported, newest first.
pub fn installed() -> Vec<Installation> {
    Search::of_this_machine().installed()
}

/// The server to use: the one that `TENANTCTL_PG_BIN` names, or else the newest installed.
///
/// # Errors
/// [`Code::Config`] when `TENANTCTL_PG_BIN` names none; [`Code::ToolMissing`], with the command
/// that installs one, when there is none.
pub fn newest() -> Result<Installation, Error> {
    Search::of_this_machine().newest()
}

/// Where to look; a test looks elsewhere.
struct Search {
    /// The value of `TENANTCTL_PG_BIN`.
    named: Option<PathBuf>,
    /// The entries of `PATH`.
    path: Vec<PathBuf>,
    home: Option<PathBuf>,
    /// What the absolute places are below of.
    root: PathBuf,
}

impl Search {
    fn of_this_machine() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            named: variable(VARIABLE).map(PathBuf::from),
            path: variable("PATH")
                .map(|path| std::env::split_paths(&path).collect())
                .unwrap_or_default(),
            home: variable("HOME").map(PathBuf::from),
            root: PathBuf::from("/"),
        }
    }

    fn newest(&self) -> Result<Installation, Error> {
        if let Some(named) = &self.named {
            return Installation::at(named).map_err(|error| {
                Error::new(Code::Config, format!("use {VARIABLE}")).because(error).hint(format!(
                    "unset {VARIABLE}, or name the directory that holds postgres and initdb"
                ))
            });
        }
        self.installed().into_iter().next().ok_or_else(|| {
            let release = fs::read_to_string(self.root.join("etc/os-release")).unwrap_or_default();
            Error::new(
                Code::ToolMissing,
                format!("find a PostgreSQL server, {OLDEST_MAJOR} or newer"),
            )
            .hint(format!("install one: {}", install_command(&release, std::env::consts::OS)))
            .hint(format!(
                "or name the directory that holds postgres and initdb: {VARIABLE}=/path/to/bin"
            ))
        })
    }

    fn installed(&self) -> Vec<Installation> {
        let places = PLACES.iter().flat_map(|place| self.expand(place));
        let mut found: Vec<Installation> = Vec::new();
        for directory in self.named.iter().cloned().chain(self.path.iter().cloned()).chain(places) {
            // A directory that was seen under another name need not answer for its version again.
            if real_bin_dir(&directory)
                .is_some_and(|real| found.iter().any(|one| one.bin_dir == real))
            {
                continue;
            }
            // Most places hold nothing, which is no news.
            found.extend(Installation::at(&directory));
        }
        // The sort is stable: of equals, the one found first is preferred.
        found.sort_by_key(|one| Reverse((one.version.major, one.version.minor)));
        found
    }

    /// The directories that a place with at most one `*` stands for.
    fn expand(&self, place: &str) -> Vec<PathBuf> {
        let mut found = match place.strip_prefix("~/") {
            Some(_) => self.home.iter().cloned().collect(),
            None => vec![self.root.clone()],
        };
        for component in Path::new(place.trim_start_matches("~/")).components() {
            let Component::Normal(name) = component else { continue };
            let name = name.to_string_lossy();
            match name.split_once('*') {
                None => found.iter_mut().for_each(|path| path.push(name.as_ref())),
                Some((before, after)) => {
                    found = found.iter().flat_map(|path| matching(path, before, after)).collect();
                }
            }
        }
        found
    }
}

/// The entries of a directory whose names start and end like that.
fn matching(directory: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The directory in which `postgres` and `initdb` really are, links followed.
///
/// PostgreSQL finds its libraries and its other programs relative to where it is, and a link of
/// `postgres` alone says nothing about `initdb`, so the target's directory is preferred.
fn real_bin_dir(directory: &Path) -> Option<PathBuf> {
    let complete = |directory: &Path| {
        ["postgres", "initdb"].iter().all(|program| directory.join(program).is_file())
    };
    let target = fs::canonicalize(directory.join("postgres")).ok()?;
    let real = target.parent().filter(|parent| complete(parent)).map(Path::to_path_buf);
    real.or_else(|| fs::canonicalize(directory).ok().filter(|own| complete(own)))
}

/// Asks `postgres` for its version, or says why it did not answer.
fn version_of(bin_dir: &Path) -> Result<Version, String> {
    let postgres = bin_dir.join("postgres");
    let output = Command::new(&postgres)
        .arg("--version")
        .output()
        .map_err(|error| format!("run {}: {error}", postgres.display()))?;
    Version::parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("{} --version said no version: {}", postgres.display(), complaint.trim())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Makes a directory of programs that answer with a version.
    fn plant(directory: &Path, answer: &str) {
        fs::create_dir_all(directory).unwrap();
        for program in ["postgres", "initdb"] {
            let path = directory.join(program);
            fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn search(root: &Path) -> Search {
        Search {
            named: None,
            path: vec![root.join("usr/local/bin")],
            home: Some(root.join("home/me")),
            root: fs::canonicalize(root).unwrap(),
        }
    }

    fn versions(found: &[Installation]) -> Vec<String> {
        found.iter().map(|one| one.version().to_string()).collect()
    }

    #[test]
    fn packagers_remarks_and_betas_do_not_hide_a_version() {
        let parse = |text| Version::parse(text).map(|version| (version.major, version.minor));
        assert_eq!(parse("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some((15, 18)));
        assert_eq!(parse("postgres (PostgreSQL) 19beta1"), Some((19, 0)));
        assert_eq!(parse("postgres (PostgreSQL) 18devel"), Some((18, 0)));
        assert_eq!(parse("initdb (PostgreSQL) 15.18"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn every_packaging_is_found_and_the_newest_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let at = |place: &str, version: &str| {
            plant(&root.path().join(place), &format!("postgres (PostgreSQL) {version}"));
        };
        at("usr/lib/postgresql/15/bin", "15.9 (Debian 15.9-1)");
        at("usr/pgsql-17/bin", "17.10");
        at("usr/libexec/postgresql16", "16.2");
        at("opt/homebrew/opt/postgresql@18/bin", "18.0");
        at("home/me/.nix-profile/bin", "17.9");
        at("usr/lib/postgresql/9.6/bin", "9.6.24");
        at("usr/pgsql-13/bin", "13.20");
        assert_eq!(
            versions(&search(root.path()).installed()),
            ["18.0", "17.10", "17.9", "16.2", "15.9"]
        );
    }

    #[test]
    fn a_link_on_the_path_is_the_installation_it_points_to() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("usr/lib/postgresql/15/bin");
        plant(&real, "postgres (PostgreSQL) 15.9");
        let linked = root.path().join("usr/local/bin");
        fs::create_dir_all(&linked).unwrap();
        symlink(real.join("postgres"), linked.join("postgres")).unwrap();
        let found = search(root.path()).installed();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bin_dir(), fs::canonicalize(&real).unwrap());
    }

    #[test]
    fn a_package_that_was_only_unpacked_is_found_by_its_top() {
        let root = tempfile::tempdir().unwrap();
        plant(&root.path().join("native/bin"), "postgres (PostgreSQL) 14.23");
        assert_eq!(Installation::at(root.path()).unwrap().version().major(), 14);
    }

    #[test]
    fn a_wrong_name_is_an_error_even_when_another_server_is_installed() {
        let root = tempfile::tempdir().unwrap();
        plant(&root.path().join("usr/pgsql-17/bin"), "postgres (PostgreSQL) 17.1");
        let mut search = search(root.path());
        search.named = Some(root.path().join("nowhere"));
        assert_eq!(search.newest().unwrap_err().code, Code::Config);
    }

    #[test]
    fn a_machine_without_a_server_is_told_what_to_type() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/os-release"), "ID=alpine\n").unwrap();
        let error = search(root.path()).newest().unwrap_err();
        assert_eq!(error.code, Code::ToolMissing);
        #[cfg(target_os = "linux")]
        assert_eq!(error.hints[0], "install one: sudo apk add postgresql");
    }

    #[test]
    fn a_server_that_is_too_old_says_so() {
        let root = tempfile::tempdir().unwrap();
        plant(root.path(), "postgres (PostgreSQL) 13.20");
        let error = Installation::at(root.path()).unwrap_err();
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(reason, "it is 13.20, older than 14");
    }
}
