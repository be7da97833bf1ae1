//! A file of an archive that other programs write and read.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

use sha2::{Digest as _, Sha256};

use super::parts::hex;
use crate::error::{Code, Error};

/// So much is read at once.
const PIECE: u64 = 8 << 20;

/// An open file, which need not have a name.
#[derive(Debug)]
pub struct Kept {
    file: File,
    place: String,
}

impl Kept {
    pub(super) fn new(file: File, place: String) -> Self {
        Self { file, place }
    }

    /// A new file that no directory names: it is gone when it is closed, whatever happens.
    pub(super) fn nameless(place: String) -> Result<Self, Error> {
        match tempfile::tempfile() {
            Ok(file) => Ok(Self { file, place }),
            Err(error) => {
                let what = format!("make a temporary file for {place}");
                Err(Error::new(Code::Io, what)
                    .because(error)
                    .hint("TMPDIR names a directory with room for it"))
            }
        }
    }

    /// Writes at the end, on a thread that may wait.
    pub(super) async fn append(mut self, piece: Vec<u8>) -> Result<Self, Error> {
        blocking(move || match self.file.write_all(&piece) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.failed(error)),
        })
        .await
    }

    /// The bytes of the file, piece by piece.
    pub(super) fn pieces(&self) -> Result<Pieces<'_>, Error> {
        Ok(Pieces { file: self.again()?, of: self })
    }

    /// The file, from its beginning on. One reader at a time: they share the place where they are.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] with the path.
    pub fn again(&self) -> Result<File, Error> {
        let begin = || -> io::Result<File> {
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            Ok(file)
        };
        begin().map_err(|error| self.failed(error))
    }

    /// Has the disk keep what was written, and says its length and its SHA-256.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] with the path.
    pub async fn settle(&self) -> Result<(u64, String), Error> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        self.digest().await
    }

    /// Its length and its SHA-256, read on a thread that may wait.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] with the path.
    pub async fn digest(&self) -> Result<(u64, String), Error> {
        let mut file = self.again()?;
        let mut read = move || -> io::Result<(u64, String)> {
            let (mut hasher, mut size) = (Sha256::new(), 0);
            let mut piece = vec![0; 1 << 20];
            loop {
                let length = file.read(&mut piece)?;
                if length == 0 {
                    break;
                }
                hasher.update(&piece[..length]);
                size += length as u64;
            }
            Ok((size, hex(&hasher.finalize())))
        };
        blocking(move || Ok(read())).await?.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::new(Code::Io, format!("read {}", self.place)).because(error)
    }
}

/// The bytes of a file.
pub(super) struct Pieces<'a> {
    file: File,
    of: &'a Kept,
}

impl Pieces<'_> {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let file = self.file.try_clone().map_err(|error| self.of.failed(error))?;
        let read = move || -> io::Result<Vec<u8>> {
            let mut piece = Vec::new();
            (&file).take(PIECE).read_to_end(&mut piece)?;
            Ok(piece)
        };
        let piece = blocking(move || Ok(read())).await?.map_err(|error| self.of.failed(error))?;
        Ok((!piece.is_empty()).then_some(piece))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Bug, "work on a file").because(error))?
}
