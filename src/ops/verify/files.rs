//! Files that an audit reads and writes beside its answer. Where they are written to is tried before
//! anything is audited.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::audit::{Baseline, Remedy};
use crate::error::{Code, Error};
use crate::report::FixFile;

/// Reads the findings that were there before.
pub(super) fn read_baseline(path: &Path) -> Result<Baseline, Error> {
    let text = fs::read_to_string(path).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let code = if missing { Code::NotFound } else { Code::Io };
        let failure =
            Error::new(code, format!("read the baseline {}", path.display())).because(error);
        if missing {
            failure.hint(format!("write it first: --write-baseline {}", path.display()))
        } else {
            failure
        }
    })?;
    Baseline::read(&text).map_err(|mut error| {
        error.message = format!("{}: {}", path.display(), error.message);
        error
    })
}

/// A file that will be replaced in one step, or written to where it is no plain file.
pub(super) struct Place {
    path: PathBuf,
    beside: Option<NamedTempFile>,
}

impl Place {
    /// Finds out whether a file can be written.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] when it cannot.
    pub(super) fn at(path: &Path) -> Result<Self, Error> {
        let refused = |error: io::Error| {
            Error::new(Code::Io, format!("write {}", path.display()))
                .because(error)
                .hint("nothing was audited: name a file in a directory that can be written")
        };
        if path.is_dir() {
            return Err(refused(io::ErrorKind::IsADirectory.into()));
        }
        // A terminal or a pipe cannot be replaced.
        let special = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let beside = if special { None } else { Some(beside(path).map_err(refused)?) };
        Ok(Self { path: path.to_owned(), beside })
    }

    /// Writes it.
    pub(super) fn write(self, text: &str) -> Result<PathBuf, Error> {
        let written = match self.beside {
            Some(file) => replace(file, &self.path, text),
            None => fs::write(&self.path, text),
        };
        written.map_err(|error| {
            Error::new(Code::Io, format!("write {}", self.path.display())).because(error)
        })?;
        Ok(self.path)
    }

    /// Writes the fixes: into this file when they are for one cluster, otherwise into one file for
    /// each, which is named after it: `fix.eu-1.sql`.
    pub(super) fn write_fixes(self, remedies: Vec<Remedy>) -> Result<Vec<FixFile>, Error> {
        let several = remedies.len() > 1;
        if remedies.is_empty() {
            let nothing = "-- tenantctl verify-rls found nothing to fix.\n";
            self.write(nothing)?;
            return Ok(Vec::new());
        }
        let path = self.path.clone();
        let mut here = Some(self);
        remedies
            .into_iter()
            .map(|remedy| {
                let place = match here.take().filter(|_| !several) {
                    Some(place) => place,
                    None => Place::at(&named_after(&path, &remedy.cluster))?,
                };
                let file = place.write(&remedy.text)?;
                Ok(FixFile {
                    cluster: remedy.cluster,
                    databases: remedy.databases,
                    file,
                    statements: remedy.statements,
                    decisions: remedy.decisions,
                })
            })
            .collect()
    }
}

/// `fix.sql` for cluster `eu-1`: `fix.eu-1.sql`.
fn named_after(path: &Path, cluster: &str) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(".");
    name.push(cluster);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// A file in the directory of the one that it will replace.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tenantctl-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    builder.tempfile_in(directory)
}

fn replace(mut file: NamedTempFile, path: &Path, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_stands_before_the_ending() {
        assert_eq!(named_after(Path::new("out/fix.sql"), "eu-1"), Path::new("out/fix.eu-1.sql"));
        assert_eq!(named_after(Path::new("fix"), "eu-1"), Path::new("fix.eu-1"));
    }
}
