//! The files that hold the rows of one table.

use std::io::{Read as _, Write as _};

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use flate2::{Compression as Level, GzBuilder};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::write::Writer;
use crate::error::{Code, Error};
use crate::model::manifest::{Contents, Part, Rendering};

/// A part is cut at the end of the row that makes it longer than this.
const PART: usize = 8 << 20;

/// Whether parts are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// By gzip, at its fastest.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

/// Cuts the rows of a table into parts, and writes them while the next one is gathered.
pub struct Parts {
    directory: String,
    rendering: Rendering,
    compression: Compression,
    begun: BytesMut,
    rows: u64,
    number: u32,
    packing: Option<JoinHandle<Result<Packed, Error>>>,
    written: Vec<Part>,
}

struct Packed {
    file: String,
    rows: u64,
    sha256: String,
    bytes: Vec<u8>,
}

impl Parts {
    /// Begins the parts of a table.
    pub fn new(table: &Contents, rendering: Rendering, compression: Compression) -> Self {
        Self {
            directory: format!("tables/{}", file_name(&table.label())),
            rendering,
            compression,
            begun: BytesMut::new(),
            rows: 0,
            number: 0,
            packing: None,
            written: Vec::new(),
        }
    }

    /// Takes whole rows: so many of them.
    ///
    /// # Errors
    ///
    /// What the writer has to say about earlier ones.
    pub async fn take(&mut self, rows: &[u8], count: u64, to: &mut Writer) -> Result<(), Error> {
        self.begun.extend_from_slice(rows);
        self.rows += count;
        if self.begun.len() >= PART {
            self.cut(to).await?;
        }
        Ok(())
    }

    /// Writes what is left, and says which files there are.
    ///
    /// # Errors
    ///
    /// What the writer has to say.
    pub async fn end(mut self, to: &mut Writer) -> Result<Vec<Part>, Error> {
        if !self.begun.is_empty() {
            self.cut(to).await?;
        }
        self.write_packed(to).await?;
        Ok(self.written)
    }

    /// Packs on another thread: the server goes on sending meanwhile.
    async fn cut(&mut self, to: &mut Writer) -> Result<(), Error> {
        self.write_packed(to).await?;
        self.number += 1;
        let rows = std::mem::take(&mut self.rows);
        let raw = self.begun.split().freeze();
        let compression = self.compression;
        let end = match compression {
            Compression::Gzip => ".gz",
            Compression::None => "",
        };
        let file = format!("{}/{:05}.{}{end}", self.directory, self.number, self.rendering.word());
        self.packing =
            Some(tokio::task::spawn_blocking(move || pack(file, rows, &raw, compression)));
        Ok(())
    }

    async fn write_packed(&mut self, to: &mut Writer) -> Result<(), Error> {
        let Some(packing) = self.packing.take() else { return Ok(()) };
        let Packed { file, rows, sha256, bytes } = packing
            .await
            .map_err(|error| Error::new(Code::Bug, "compress rows").because(error))??;
        let size = bytes.len() as u64;
        to.put(&file, bytes).await?;
        self.written.push(Part { file, rows, size, sha256 });
        Ok(())
    }
}

fn pack(file: String, rows: u64, raw: &Bytes, compression: Compression) -> Result<Packed, Error> {
    let bytes = match compression {
        Compression::None => raw.to_vec(),
        // Without a name and a time in its header: the same rows make the same bytes.
        Compression::Gzip => {
            let mut packer = GzBuilder::new().mtime(0).write(Vec::new(), Level::fast());
            packer
                .write_all(raw)
                .and_then(|()| packer.finish())
                .map_err(|error| Error::new(Code::Io, format!("compress {file}")).because(error))?
        }
    };
    Ok(Packed { sha256: hex(&Sha256::digest(&bytes)), file, rows, bytes })
}

/// The rows of a part, as they were before they were compressed.
///
/// # Errors
///
/// [`Code::Io`] when the file is damaged.
pub fn unpacked(part: &Part, bytes: Vec<u8>) -> Result<Bytes, Error> {
    if std::path::Path::new(&part.file).extension().is_none_or(|end| end != "gz") {
        return Ok(bytes.into());
    }
    let mut rows = Vec::with_capacity(PART + (PART >> 3));
    MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut rows)
        .map_err(|error| Error::new(Code::Io, format!("unpack {}", part.file)).because(error))?;
    Ok(rows.into())
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A table's name as a file system takes it everywhere; what is no plain letter is written as its
/// bytes, so that no two names are one.
fn file_name(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => text.push(char::from(byte)),
            b'.' if !text.is_empty() => text.push('.'),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart_on_any_file_system() {
        assert_eq!(file_name("users"), "users");
        assert_eq!(file_name("Users"), "%55sers");
        assert_eq!(file_name("../x"), "%2E.%2Fx");
        assert_eq!(file_name("beside.more"), "beside.more");
        assert_eq!(file_name("ü b"), "%C3%BC%20b");
    }
}
