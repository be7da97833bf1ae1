//! A file of an archive that other programs write and read.

use std::fs::File;
use std::io::{self, Seek as _};

use sha2::{Digest as _, Sha256};

use super::parts::hex;
use crate::error::{Code, Error};

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
        let read = move || -> io::Result<(u64, String)> {
            let mut hasher = Sha256::new();
            let size = io::copy(&mut file, &mut hasher)?;
            Ok((size, hex(&hasher.finalize())))
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| Error::new(Code::Bug, "read a file").because(error))?
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::new(Code::Io, format!("read {}", self.place)).because(error)
    }
}
