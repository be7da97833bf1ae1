//! Archives as they are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::kept::Kept;
use super::parts::{hex, unpacked};
use crate::error::{Code, Error};
use crate::model::manifest::{Contents, MANIFEST, Manifest, Part};

/// Where an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory or a tar file.
    Path(PathBuf),
}

impl Source {
    /// Reads what was typed.
    pub fn of(text: &str) -> Self {
        Self::Path(PathBuf::from(text))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// An archive that is whole, as far as its manifest says.
pub struct Reader {
    manifest: Manifest,
    place: String,
    files: Arc<Files>,
}

/// How a file of the archive is found.
enum Files {
    Directory(PathBuf),
    /// Where in the tar file each one begins, and its length.
    Tar(PathBuf, BTreeMap<String, (u64, u64)>),
}

impl Reader {
    /// Opens an archive and reads its manifest.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] when there is none, or when it is not whole; and as [`Manifest::read`].
    pub async fn open(source: &Source) -> Result<Self, Error> {
        let Source::Path(path) = source;
        let (path, place) = (path.clone(), source.to_string());
        blocking(move || {
            let files = Files::open(&path)?;
            let bytes = files.get(MANIFEST).map_err(|error| match error.code {
                Code::NotFound => Error::new(
                    Code::NotFound,
                    format!("{place} is no whole archive: it has no {MANIFEST}"),
                )
                .hint("an export that was stopped leaves no manifest: export the tenant again"),
                _ => error,
            })?;
            let manifest = Manifest::read(&bytes, &place)?;
            Ok(Self { manifest, place, files: Arc::new(files) })
        })
        .await
    }

    /// What the archive says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it is.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Reads a part, and refuses it unless it is what the manifest says.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] when it is damaged or gone.
    pub async fn part(&self, part: &Part) -> Result<Bytes, Error> {
        let (files, part, place) = (Arc::clone(&self.files), part.clone(), self.place.clone());
        blocking(move || {
            let damaged = |why: String| {
                Error::new(Code::Io, format!("read {} of {place}: {why}", part.file))
                    .hint("the archive is damaged: nothing was changed; take another copy of it")
            };
            let bytes = files.get(&part.file).map_err(|error| match error.code {
                Code::NotFound => damaged("it is not there".to_owned()),
                _ => error,
            })?;
            let found = hex(&Sha256::digest(&bytes));
            if bytes.len() as u64 != part.size || found != part.sha256 {
                return Err(damaged(format!(
                    "it has {} bytes and SHA-256 {found}, not {} and {}",
                    bytes.len(),
                    part.size,
                    part.sha256
                )));
            }
            unpacked(&part, bytes)
        })
        .await
    }

    /// Opens a file that another program reads.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] where the archive is no directory, or the file would not be in it;
    /// [`Code::Io`] when it cannot be opened.
    pub async fn file(&self, name: &str) -> Result<Kept, Error> {
        let place = format!("{name} of {}", self.place);
        match &*self.files {
            Files::Directory(directory) if is_within(name) => {
                let path = directory.join(name);
                blocking(move || {
                    let file = File::open(path).map_err(|error| {
                        Error::new(Code::Io, format!("read {place}")).because(error)
                    })?;
                    Ok(Kept::new(file, place))
                })
                .await
            }
            _ => Err(Error::new(Code::Refused, format!("there is no {place}"))),
        }
    }

    /// The rows of a table, part by part.
    pub fn rows<'a>(&'a self, table: &'a Contents) -> TableRows<'a> {
        TableRows { reader: self, parts: table.parts.iter() }
    }
}

/// The rows of one table of an archive.
pub struct TableRows<'a> {
    reader: &'a Reader,
    parts: std::slice::Iter<'a, Part>,
}

impl TableRows<'_> {
    /// The next part; none at the end.
    ///
    /// # Errors
    ///
    /// As [`Reader::part`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.parts.next() {
            Some(part) => self.reader.part(part).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Files {
    fn open(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_path_buf()));
        }
        let index = || -> io::Result<BTreeMap<String, (u64, u64)>> {
            let mut archive = tar::Archive::new(File::open(path)?);
            let mut index = BTreeMap::new();
            for entry in archive.entries_with_seek()? {
                let entry = entry?;
                let name = entry.path()?.to_string_lossy().into_owned();
                index.insert(name, (entry.raw_file_position(), entry.size()));
            }
            Ok(index)
        };
        match index() {
            Ok(index) => Ok(Self::Tar(path.to_path_buf(), index)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::new(Code::NotFound, format!("there is no {}", path.display())))
            }
            Err(error) => {
                Err(Error::new(Code::Io, format!("read {} as an archive", path.display()))
                    .because(error)
                    .hint("an archive is a directory or a tar file that tenantctl export wrote"))
            }
        }
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        let not_there = || Error::new(Code::NotFound, format!("there is no file {name}"));
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => not_there(),
            _ => Error::new(Code::Io, format!("read {name}")).because(error),
        };
        if !is_within(name) {
            return Err(not_there());
        }
        match self {
            Self::Directory(directory) => std::fs::read(directory.join(name)).map_err(failed),
            Self::Tar(path, index) => {
                let (at, length) = index.get(name).copied().ok_or_else(not_there)?;
                let read = || -> io::Result<Vec<u8>> {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(at))?;
                    let mut bytes = Vec::new();
                    file.take(length).read_to_end(&mut bytes)?;
                    Ok(bytes)
                };
                read().map_err(failed)
            }
        }
    }
}

/// A manifest names files of its archive, and nothing outside of it.
fn is_within(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Bug, "read an archive").because(error))?
}
