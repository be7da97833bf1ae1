//! Archives as they are written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::kept::Kept;
use super::remote::{Bucket, Upload, Url};
use crate::error::{Code, Error};
use crate::model::manifest::MANIFEST;

/// Where an archive goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A directory that does not exist yet, or is empty.
    Directory(PathBuf),
    /// A tar file.
    Tar(PathBuf),
    /// A tar file on stdout.
    Stdout,
    /// Object storage: one object that is a tar file, or one for each file.
    Remote(Url),
}

impl Destination {
    /// Reads what was typed: `-` is stdout, a name that ends in `.tar` a file, `s3://…` object
    /// storage, everything else a directory.
    ///
    /// # Errors
    ///
    /// [`Code::Usage`] for a URL that is no place of an archive.
    pub fn of(text: &str) -> Result<Self, Error> {
        if let Some(url) = Url::parse(text)? {
            return Ok(Self::Remote(url));
        }
        let path = PathBuf::from(text);
        Ok(match text {
            "-" => Self::Stdout,
            _ if path.extension().is_some_and(|end| end == "tar") => Self::Tar(path),
            _ => Self::Directory(path),
        })
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) | Self::Tar(path) => path.display().fmt(f),
            Self::Stdout => f.write_str("stdout"),
            Self::Remote(url) => url.fmt(f),
        }
    }
}

/// Writes an archive file by file. Until it is finished it stands under another name, which the next
/// run takes over; in object storage it has no manifest, or is not there.
pub struct Writer {
    to: Destination,
    /// Where bytes go; none while they do.
    sink: Option<Sink>,
    /// How many bytes were written.
    written: u64,
}

enum Sink {
    /// A directory under another name.
    Directory(PathBuf),
    /// A tar file, and what it is called until it is finished; stdout has no other name.
    Tar(tar::Builder<Box<dyn Write + Send>>, Option<PathBuf>),
    /// One object for each file.
    Objects(Bucket),
    /// A tar file whose bytes are sent on as they come.
    Object(tar::Builder<Vec<u8>>, Upload),
}

impl Writer {
    /// Begins.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] when something stands there already; [`Code::Io`] when it cannot be written;
    /// what object storage answers.
    pub async fn begin(to: Destination) -> Result<Self, Error> {
        let sink = match &to {
            Destination::Stdout => Sink::Tar(builder(Box::new(io::stdout())), None),
            Destination::Tar(path) => {
                refuse_existing(&path.display(), path.exists())?;
                let unfinished = beside(path);
                let file = private(OpenOptions::new().write(true).create(true).truncate(true))
                    .open(&unfinished)
                    .map_err(|error| io_error("write", &unfinished, error))?;
                let file = io::BufWriter::with_capacity(1 << 20, file);
                Sink::Tar(builder(Box::new(file)), Some(unfinished))
            }
            Destination::Directory(path) => {
                let holds_something =
                    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
                refuse_existing(&path.display(), path.is_file() || holds_something)?;
                let unfinished = beside(path);
                // What a killed run has left is of no use: its snapshot is gone.
                if unfinished.exists() {
                    fs::remove_dir_all(&unfinished)
                        .map_err(|error| io_error("remove", &unfinished, error))?;
                }
                make_private_directory(&unfinished)?;
                Sink::Directory(unfinished)
            }
            Destination::Remote(url) => {
                let bucket = Bucket::open(url)?;
                let whole = if url.is_tar() { None } else { Some(MANIFEST) };
                refuse_existing(url, bucket.holds(whole).await?)?;
                if url.is_tar() {
                    Sink::Object(builder(Vec::new()), bucket.upload(None)?)
                } else {
                    Sink::Objects(bucket)
                }
            }
        };
        Ok(Self { to, sink: Some(sink), written: 0 })
    }

    /// Makes a file that another program writes, in a directory that is not finished. For object
    /// storage it has no name on this machine, and is gone when it is closed.
    ///
    /// # Errors
    ///
    /// [`Code::Usage`] where files of the archive have no place of their own; [`Code::Io`] with the
    /// path.
    pub fn file(&self, name: &str) -> Result<Kept, Error> {
        match &self.sink {
            Some(Sink::Directory(directory)) => {
                let path = directory.join(name);
                let file = private(OpenOptions::new().read(true).write(true).create_new(true))
                    .open(&path)
                    .map_err(|error| io_error("write", &path, error))?;
                Ok(Kept::new(file, path.display().to_string()))
            }
            Some(Sink::Objects(_)) => Kept::nameless(format!("{name} of {}", self.to)),
            _ => {
                let what = format!("{} is one file, and {name} is to be another", self.to);
                Err(Error::new(Code::Usage, what).hint("name a directory"))
            }
        }
    }

    /// Keeps a file that another program has written. Returns its length and its SHA-256.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn keep(&mut self, name: &str, file: &Kept) -> Result<(u64, String), Error> {
        let (size, sha256) = file.settle().await?;
        self.written += size;
        if let Some(Sink::Objects(bucket)) = &self.sink {
            let mut upload = bucket.upload(Some(name))?;
            let sent = async {
                let mut pieces = file.pieces()?;
                while let Some(piece) = pieces.next().await? {
                    upload.put(piece).await?;
                }
                Ok(())
            };
            match sent.await {
                Ok(()) => upload.finish().await?,
                Err(error) => {
                    upload.abandon().await;
                    return Err(error);
                }
            }
        }
        Ok((size, sha256))
    }

    /// How many bytes were written until now.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes a file.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] with the path; what object storage answers.
    pub async fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        let sink = self.sink.take().ok_or_else(|| {
            Error::new(Code::Bug, format!("write {name} of an archive that is given up"))
        })?;
        let place = self.to.to_string();
        self.sink = Some(sink.put(place, name.to_owned(), bytes).await?);
        Ok(())
    }

    /// Writes the manifest, and gives the archive its name.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub async fn finish(mut self, manifest: Vec<u8>) -> Result<u64, Error> {
        self.put(MANIFEST, manifest).await?;
        let Self { to, sink, written } = self;
        let failed =
            |to: &Destination, error| Error::new(Code::Io, format!("finish {to}")).because(error);
        match sink {
            None | Some(Sink::Objects(_)) => {}
            Some(Sink::Object(tar, mut upload)) => {
                upload.put(tar.into_inner().map_err(|error| failed(&to, error))?).await?;
                upload.finish().await?;
            }
            Some(Sink::Directory(unfinished)) => {
                blocking(move || rename(&unfinished, &to)).await??;
            }
            Some(Sink::Tar(tar, unfinished)) => {
                blocking(move || {
                    tar.into_inner()
                        .and_then(|mut out| out.flush())
                        .map_err(|error| failed(&to, error))?;
                    let Some(unfinished) = unfinished else { return Ok(()) };
                    File::open(&unfinished)
                        .and_then(|file| file.sync_all())
                        .map_err(|error| io_error("write", &unfinished, error))?;
                    rename(&unfinished, &to)
                })
                .await??;
            }
        }
        Ok(written)
    }

    /// Gives up: object storage forgets what it was sent. Files stay under their other name.
    pub async fn abandon(self) {
        if let Some(Sink::Object(_, upload)) = self.sink {
            upload.abandon().await;
        }
    }
}

impl Sink {
    /// Writes a file, on a thread that may wait.
    async fn put(self, place: String, name: String, bytes: Vec<u8>) -> Result<Self, Error> {
        let failed =
            |place: &str, error| Error::new(Code::Io, format!("write {place}")).because(error);
        match self {
            Self::Objects(bucket) => {
                bucket.put(&name, bytes).await?;
                Ok(Self::Objects(bucket))
            }
            Self::Object(mut tar, mut upload) => {
                append(&mut tar, &name, &bytes).map_err(|error| failed(&place, error))?;
                drop(bytes);
                upload.put(std::mem::take(tar.get_mut())).await?;
                Ok(Self::Object(tar, upload))
            }
            Self::Tar(mut tar, unfinished) => {
                blocking(move || {
                    append(&mut tar, &name, &bytes).map_err(|error| failed(&place, error))?;
                    Ok(Self::Tar(tar, unfinished))
                })
                .await?
            }
            Self::Directory(directory) => {
                blocking(move || {
                    let path = directory.join(&name);
                    make_private_directory(path.parent().unwrap_or(&directory))?;
                    let write = || -> io::Result<()> {
                        let mut file =
                            private(OpenOptions::new().write(true).create_new(true)).open(&path)?;
                        file.write_all(&bytes)?;
                        file.sync_all()
                    };
                    write().map_err(|error| io_error("write", &path, error))?;
                    Ok(Self::Directory(directory))
                })
                .await?
            }
        }
    }
}

/// Gives what is finished its name.
fn rename(unfinished: &Path, to: &Destination) -> Result<(), Error> {
    let (Destination::Directory(path) | Destination::Tar(path)) = to else { return Ok(()) };
    // An empty directory may stand there.
    drop(fs::remove_dir(path));
    fs::rename(unfinished, path).map_err(|error| io_error("rename to", path, error))
}

fn builder<W: Write>(out: W) -> tar::Builder<W> {
    let mut builder = tar::Builder::new(out);
    builder.mode(tar::HeaderMode::Deterministic);
    builder
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(0);
    tar.append_data(&mut header, name, bytes)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Bug, "write an archive").because(error))
}

/// The name of what is not finished.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".unfinished");
    path.with_file_name(name)
}

fn refuse_existing(place: &impl std::fmt::Display, exists: bool) -> Result<(), Error> {
    if exists {
        return Err(Error::new(Code::Refused, format!("{place} is there already"))
            .hint("name another place, or remove it"));
    }
    Ok(())
}

fn io_error(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::new(Code::Io, format!("{verb} {}", path.display())).because(error)
}

/// Archives hold what tenants entrust: nobody else reads them.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn make_private_directory(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| io_error("make", path, error))
}
