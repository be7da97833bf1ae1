//! Archives of tenants as files: a directory, a tar file, a stream.
//!
//! ```text
//! manifest.json                      what it holds; written last
//! tables/users/00001.copy.gz         whole rows, at most 8 MiB of them before compression
//! tables/users/00002.copy.gz
//! ```
//!
//! A part is a file of its own that `zcat` and COPY read. It is small enough to be held in memory, so
//! an archive of any size is written to a pipe, or to storage that wants to know lengths beforehand,
//! without a copy on disk. What is not finished has another name, and no manifest. In object storage an
//! archive is one object that is a tar file, or one object for each file.

mod kept;
mod parts;
mod read;
mod remote;
mod write;

pub use kept::Kept;
pub use parts::{Compression, Parts, unpacked};
pub use read::{Reader, Source, TableRows};
pub use remote::Url;
pub use write::{Destination, Writer};
