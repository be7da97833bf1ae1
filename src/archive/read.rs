//! Archives as they are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::kept::Kept;
use super::parts::{hex, unpacked};
use super::remote::{Bucket, Ranges, Url};
use crate::error::{Code, Error};
use crate::model::manifest::{Contents, MANIFEST, Manifest, Part};

/// So much is fetched at once of a file that is kept.
const PIECE: u64 = 8 << 20;

/// Where an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory or a tar file.
    Path(PathBuf),
    /// Object storage.
    Remote(Url),
}

impl Source {
    /// Reads what was typed.
    ///
    /// # Errors
    ///
    /// [`Code::Usage`] for a URL that is no place of an archive.
    pub fn of(text: &str) -> Result<Self, Error> {
        Ok(match Url::parse(text)? {
            Some(url) => Self::Remote(url),
            None => Self::Path(PathBuf::from(text)),
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Remote(url) => url.fmt(f),
        }
    }
}

/// An archive that is whole, as far as its manifest says.
pub struct Reader {
    manifest: Manifest,
    place: String,
    files: Arc<Files>,
}

/// Where in a tar file each file begins, and its length.
type Index = BTreeMap<String, (u64, u64)>;

/// How a file of the archive is found.
enum Files {
    Directory(PathBuf),
    Tar(PathBuf, Index),
    Objects(Bucket),
    Object(Ranges, Index),
}

impl Reader {
    /// Opens an archive and reads its manifest.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] when there is none, or when it is not whole; as [`Manifest::read`]; what
    /// object storage answers.
    pub async fn open(source: &Source) -> Result<Self, Error> {
        let place = source.to_string();
        let files = Files::open(source, &place).await?;
        let bytes = files.get(MANIFEST).await.map_err(|error| match error.code {
            Code::NotFound => Error::new(
                Code::NotFound,
                format!("{place} is no whole archive: it has no {MANIFEST}"),
            )
            .hint("an export that was stopped leaves no manifest: export the tenant again"),
            _ => error,
        })?;
        let manifest = Manifest::read(&bytes, &place)?;
        Ok(Self { manifest, place, files: Arc::new(files) })
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
        let damaged = |why: String| {
            Error::new(Code::Io, format!("read {} of {}: {why}", part.file, self.place))
                .hint("the archive is damaged: nothing was changed; take another copy of it")
        };
        let bytes = self.files.get(&part.file).await.map_err(|error| match error.code {
            Code::NotFound => damaged("it is not there".to_owned()),
            _ => error,
        })?;
        let length = bytes.len() as u64;
        let wanted = part.clone();
        let (found, rows) = blocking(move || {
            let found = hex(&Sha256::digest(&bytes));
            let same = bytes.len() as u64 == wanted.size && found == wanted.sha256;
            Ok((found, same.then(|| unpacked(&wanted, bytes)).transpose()?))
        })
        .await?;
        rows.ok_or_else(|| {
            damaged(format!(
                "it has {length} bytes and SHA-256 {found}, not {} and {}",
                part.size, part.sha256
            ))
        })
    }

    /// Opens a file that another program reads. One from object storage is fetched first, and has no
    /// name on this machine.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] where files of the archive have no place of their own, or the file would not
    /// be in it; [`Code::Io`] when it cannot be opened; what object storage answers.
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
            Files::Objects(bucket) if is_within(name) => {
                let object = bucket.ranges(Some(name)).await?;
                let mut kept = Kept::nameless(place)?;
                let mut at = 0;
                loop {
                    let piece = object.get(at, PIECE).await?;
                    if piece.is_empty() {
                        return Ok(kept);
                    }
                    at += piece.len() as u64;
                    kept = kept.append(piece).await?;
                }
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
    async fn open(source: &Source, place: &str) -> Result<Self, Error> {
        let unread = |place: &str, error: io::Error| {
            Error::new(Code::Io, format!("read {place} as an archive"))
                .because(error)
                .hint("an archive is a directory or a tar file that tenantctl export wrote")
        };
        let place = place.to_owned();
        match source {
            Source::Path(path) if path.is_dir() => Ok(Self::Directory(path.clone())),
            Source::Path(path) => {
                let path = path.clone();
                blocking(move || match File::open(&path).and_then(|mut file| index(&mut file)) {
                    Ok(index) => Ok(Self::Tar(path, index)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        Err(Error::new(Code::NotFound, format!("there is no {place}")))
                    }
                    Err(error) => Err(unread(&place, error)),
                })
                .await
            }
            Source::Remote(url) if url.is_tar() => {
                let mut object = Bucket::open(url)?.ranges(None).await?;
                blocking(move || {
                    let index = index(&mut object).map_err(|error| unread(&place, error))?;
                    Ok(Self::Object(object, index))
                })
                .await
            }
            Source::Remote(url) => Ok(Self::Objects(Bucket::open(url)?)),
        }
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        let not_there = || Error::new(Code::NotFound, format!("there is no file {name}"));
        if !is_within(name) {
            return Err(not_there());
        }
        let place = |index: &Index| index.get(name).copied().ok_or_else(not_there);
        let (path, from) = match self {
            Self::Objects(bucket) => return bucket.get(name).await,
            Self::Object(object, index) => {
                let (at, length) = place(index)?;
                return object.get(at, length).await;
            }
            Self::Directory(directory) => (directory.join(name), None),
            Self::Tar(path, index) => (path.clone(), Some(place(index)?)),
        };
        let read = move || -> io::Result<Vec<u8>> {
            let Some((at, length)) = from else { return std::fs::read(path) };
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(at))?;
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        blocking(move || Ok(read())).await?.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_there(),
            _ => Error::new(Code::Io, format!("read {name}")).because(error),
        })
    }
}

/// Finds the files of a tar file without reading them.
fn index(tar: &mut (impl Read + Seek)) -> io::Result<Index> {
    let mut archive = tar::Archive::new(tar);
    let mut index = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        index.insert(name, (entry.raw_file_position(), entry.size()));
    }
    Ok(index)
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
