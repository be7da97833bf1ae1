//! Files beside the answer: a summary and metrics. They are opened before anything is touched, so
//! that a place where nothing can be written stops a command and not its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::{metrics, summary};
use crate::error::{Code, Error};
use crate::report::Report;

/// The files that a command was asked for.
#[derive(Debug)]
pub struct Artefacts {
    command: &'static str,
    summary: Option<(PathBuf, File)>,
    metrics: Option<(PathBuf, NamedTempFile)>,
}

impl Artefacts {
    /// Opens them. A summary says from now on that the command has not ended; metrics stay as they
    /// are until there are new ones.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] for a file that cannot be written.
    pub fn open(
        command: &'static str,
        summary: Option<PathBuf>,
        metrics: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let refused = |path: &Path, error: io::Error| {
            Error::new(Code::Io, format!("write {}", path.display()))
                .because(error)
                .hint("nothing was touched: name a file in a directory that can be written")
        };
        let summary = match summary {
            Some(path) => match begin(&path, command) {
                Ok(file) => Some((path, file)),
                Err(error) => return Err(refused(&path, error)),
            },
            None => None,
        };
        let metrics = match metrics {
            Some(path) => match beside(&path) {
                Ok(file) => Some((path, file)),
                Err(error) => return Err(refused(&path, error)),
            },
            None => None,
        };
        Ok(Self { command, summary, metrics })
    }

    /// Writes them, also for a command that failed.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] for a file that could not be written after all, such as on a disk that is full.
    pub fn write(self, answer: &anyhow::Result<Report>, took: Duration) -> Result<(), Error> {
        let run = match answer {
            Ok(Report::Migration(run)) => Ok(run),
            Ok(_) => return Ok(()),
            Err(error) => Err(error),
        };
        let verdict = answer.as_ref().ok().map(Report::verdict);
        if let Some((path, mut file)) = self.summary {
            let text = match (run, verdict) {
                (Ok(run), Some(verdict)) => summary::summary(run, verdict),
                (Ok(_), None) => String::new(),
                (Err(error), _) => summary::failed(self.command, error, took),
            };
            written(&path, rewrite(&mut file, &text))?;
        }
        if let Some((path, file)) = self.metrics {
            let took = run.map_or(took, |run| run.took);
            let text = metrics::of_command(run, verdict, took, jiff::Timestamp::now());
            written(&path, replace(&path, file, &text))?;
        }
        Ok(())
    }
}

fn written(path: &Path, outcome: io::Result<()>) -> Result<(), Error> {
    outcome.map_err(|error| {
        Error::new(Code::Io, format!("write {}", path.display()))
            .because(error)
            .hint("what the command did stays done; its answer is on stdout")
    })
}

/// Opens a summary, which may be a file that the CI server made, or a pipe.
fn begin(path: &Path, command: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.is_file() {
        rewrite(&mut file, &summary::begun(command))?;
    }
    Ok(file)
}

fn rewrite(file: &mut File, text: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
        file.rewind()?;
    }
    file.write_all(text.as_bytes())?;
    file.flush()
}

/// A file in the directory of the one that it will replace.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tenantctl-");
    #[cfg(unix)]
    {
        // The collector reads as somebody else.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o644));
    }
    builder.tempfile_in(directory)
}

/// Puts a file into its place in one step: a reader sees the old metrics or the new ones.
fn replace(path: &Path, mut file: NamedTempFile, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
