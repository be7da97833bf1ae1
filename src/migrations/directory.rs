//! A team's own migration files, in a directory and the directories below it.
//!
//! As in refinery, directories carry no meaning, but for `down/`, which holds the ways back: the
//! versions of all other files are one sequence. Hidden directories are left alone; links to
//! directories are not followed.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use crate::error::{Code, Error};
use crate::migrations::file_name;
use crate::migrations::preflight::{File, check};
use crate::model::migration::MigrationSet;

/// Reads a directory into a set that is named after it. A directory without migrations is refused,
/// because it is more often a wrong path than a new beginning.
pub fn read(directory: &Path) -> Result<MigrationSet, Error> {
    let set = display(directory);
    let migrations = check(&set, &files(directory)?)?;
    if migrations.migrations().is_empty() {
        return Err(Error::new(Code::Migrations, format!("use {set}: it holds no migrations"))
            .hint("name the directory of the V<version>__<name>.sql files in [migrations]")
            .hint("write the first one: V1__<name>.sql"));
    }
    Ok(migrations)
}

/// Every file below a directory that is, or tries to be, a migration, repeatable or a way back;
/// sorted by path.
pub fn files(directory: &Path) -> Result<Vec<File>, Error> {
    let mut found = Vec::new();
    walk(directory, &display(directory), "", &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A path as it is shown, with `/` between its parts on every system.
fn display(path: &Path) -> String {
    let shown = path.display().to_string();
    if cfg!(windows) { shown.replace('\\', "/") } else { shown }
}

/// Reads one directory; `below` is its path from the set's own, which says what its files are.
fn walk(directory: &Path, shown: &str, below: &str, found: &mut Vec<File>) -> Result<(), Error> {
    let entries = fs::read_dir(directory).map_err(|error| unreadable(shown, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(shown, error))?;
        let path = entry.path();
        let name = entry.file_name();
        // A name that is not UTF-8 is refused for the character that replaces its odd bytes.
        let name = name.to_string_lossy();
        let shown = format!("{}/{name}", shown.trim_end_matches('/'));
        let below = if below.is_empty() { name.to_string() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(|error| unreadable(&shown, error))?;
        if kind.is_dir() {
            if !name.starts_with('.') {
                walk(&path, &shown, &below, found)?;
            }
        } else if !path.is_dir() && file_name::role(&below) != Ok(None) {
            let bytes = fs::read(&path).map_err(|error| unreadable(&shown, error))?;
            found.push(File { path: shown, bytes: Cow::Owned(bytes) });
        }
    }
    Ok(())
}

fn unreadable(shown: &str, error: std::io::Error) -> Error {
    Error::new(Code::Migrations, format!("read {shown}"))
        .because(error)
        .hint("check the path of --migrations, or those under [migrations]")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::migration::Version;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn folders_are_walked_and_carry_no_meaning() {
        let directory = written(&[
            ("V2__b.sql", "SELECT 2;\n"),
            ("older/deep/V1__a.sql", "SELECT 1;\n"),
            ("down/2__b.sql", "SELECT -2;\n"),
            ("R__views.sql", "SELECT 3;\n"),
            (".hidden/odd.sql", ""),
            ("README.md", "notes"),
        ]);
        let set = read(directory.path()).unwrap();
        let first = set.get(Version(1)).unwrap();
        assert!(first.path.ends_with("/older/deep/V1__a.sql"), "{}", first.path);
        assert_eq!(set.migrations().len(), 2);
        assert_eq!(set.undo(Version(2)).unwrap().sql, "SELECT -2;\n");
        assert!(set.undo(Version(1)).is_none());
        assert_eq!(set.repeatables().len(), 1);
    }

    #[test]
    fn a_set_may_stand_in_a_directory_that_is_called_down() {
        let directory = written(&[("down/V1__a.sql", "SELECT 1;\n")]);
        assert_eq!(read(&directory.path().join("down")).unwrap().head(), Some(Version(1)));
    }

    #[test]
    fn sql_that_refinery_would_skip_is_an_error() {
        let directory = written(&[("V1__a.sql", "SELECT 1;\n"), ("sub/seed.sql", "SELECT 1;\n")]);
        assert_eq!(read(directory.path()).unwrap_err().code, Code::Migrations);
    }

    #[test]
    fn an_empty_or_missing_directory_is_refused() {
        let directory = written(&[("README.md", "notes")]);
        assert!(read(directory.path()).unwrap_err().message.contains("no migrations"));
        assert_eq!(read(&directory.path().join("none")).unwrap_err().code, Code::Migrations);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let directory = written(&[]);
        let name = std::ffi::OsStr::from_bytes(b"V1__\xff.sql");
        fs::write(directory.path().join(name), "SELECT 1;\n").unwrap();
        assert_eq!(read(directory.path()).unwrap_err().code, Code::Migrations);
    }
}
