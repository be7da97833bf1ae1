//! Archives as they are written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::kept::Kept;
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
}

impl Destination {
    /// Reads what was typed: `-` is stdout, a name that ends in `.tar` a file, everything else a
    /// directory.
    pub fn of(text: &str) -> Self {
        let path = PathBuf::from(text);
        match text {
            "-" => Self::Stdout,
            _ if path.extension().is_some_and(|end| end == "tar") => Self::Tar(path),
            _ => Self::Directory(path),
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) | Self::Tar(path) => path.display().fmt(f),
            Self::Stdout => f.write_str("stdout"),
        }
    }
}

/// Writes an archive file by file. Until it is finished it stands under another name, which the next
/// run takes over.
pub struct Writer {
    to: Destination,
    /// The tar file that is written; none for a directory.
    tar: Option<tar::Builder<Box<dyn Write + Send>>>,
    /// What it is called until it is finished; none for stdout.
    unfinished: Option<PathBuf>,
    /// How many bytes were written.
    written: u64,
}

impl Writer {
    /// Begins.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] when something stands there already; [`Code::Io`] when it cannot be written.
    pub fn begin(to: Destination) -> Result<Self, Error> {
        let (tar, unfinished) = match &to {
            Destination::Stdout => (Some(builder(Box::new(io::stdout()))), None),
            Destination::Tar(path) => {
                refuse_existing(path, path.exists())?;
                let unfinished = beside(path);
                let file = private(OpenOptions::new().write(true).create(true).truncate(true))
                    .open(&unfinished)
                    .map_err(|error| io_error("write", &unfinished, error))?;
                (
                    Some(builder(Box::new(io::BufWriter::with_capacity(1 << 20, file)))),
                    Some(unfinished),
                )
            }
            Destination::Directory(path) => {
                let holds_something =
                    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
                refuse_existing(path, path.is_file() || holds_something)?;
                let unfinished = beside(path);
                // What a killed run has left is of no use: its snapshot is gone.
                if unfinished.exists() {
                    fs::remove_dir_all(&unfinished)
                        .map_err(|error| io_error("remove", &unfinished, error))?;
                }
                make_private_directory(&unfinished)?;
                (None, Some(unfinished))
            }
        };
        Ok(Self { to, tar, unfinished, written: 0 })
    }

    /// Makes a file that another program writes, in a directory that is not finished.
    ///
    /// # Errors
    ///
    /// [`Code::Usage`] where the archive is no directory; [`Code::Io`] with the path.
    pub fn file(&self, name: &str) -> Result<Kept, Error> {
        let (None, Some(directory)) = (&self.tar, &self.unfinished) else {
            return Err(Error::new(Code::Usage, format!("{} is no directory", self.to)));
        };
        let path = directory.join(name);
        let file = private(OpenOptions::new().read(true).write(true).create_new(true))
            .open(&path)
            .map_err(|error| io_error("write", &path, error))?;
        Ok(Kept::new(file, path.display().to_string()))
    }

    /// How many bytes were written until now.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes a file, on a thread that may wait.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] with the path.
    pub async fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        let name = name.to_owned();
        match (self.tar.take(), self.unfinished.clone()) {
            (Some(mut tar), _) => {
                let place = self.to.to_string();
                let (tar, done) = blocking(move || {
                    let done = append(&mut tar, &name, &bytes);
                    (tar, done)
                })
                .await?;
                self.tar = Some(tar);
                done.map_err(|error| Error::new(Code::Io, format!("write {place}")).because(error))
            }
            (None, Some(directory)) => {
                let path = directory.join(&name);
                blocking(move || {
                    let parent = path.parent().unwrap_or(&directory);
                    make_private_directory(parent)?;
                    let write = || -> io::Result<()> {
                        let mut file =
                            private(OpenOptions::new().write(true).create_new(true)).open(&path)?;
                        file.write_all(&bytes)?;
                        file.sync_all()
                    };
                    write().map_err(|error| io_error("write", &path, error))
                })
                .await?
            }
            (None, None) => Err(Error::new(Code::Bug, "write an archive that is finished")),
        }
    }

    /// Writes the manifest, and gives the archive its name.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] with the path.
    pub async fn finish(mut self, manifest: Vec<u8>) -> Result<u64, Error> {
        self.put(MANIFEST, manifest).await?;
        let Self { to, tar, unfinished, written } = self;
        blocking(move || {
            if let Some(tar) = tar {
                let mut out = tar
                    .into_inner()
                    .map_err(|error| Error::new(Code::Io, format!("finish {to}")).because(error))?;
                out.flush()
                    .map_err(|error| Error::new(Code::Io, format!("finish {to}")).because(error))?;
            }
            let (Some(unfinished), Destination::Directory(path) | Destination::Tar(path)) =
                (unfinished, &to)
            else {
                return Ok(());
            };
            if unfinished.is_file() {
                File::open(&unfinished)
                    .and_then(|file| file.sync_all())
                    .map_err(|error| io_error("write", &unfinished, error))?;
            }
            // An empty directory may stand there.
            drop(fs::remove_dir(path));
            fs::rename(&unfinished, path).map_err(|error| io_error("rename to", path, error))
        })
        .await??;
        Ok(written)
    }
}

fn builder(out: Box<dyn Write + Send>) -> tar::Builder<Box<dyn Write + Send>> {
    let mut builder = tar::Builder::new(out);
    builder.mode(tar::HeaderMode::Deterministic);
    builder
}

fn append(
    tar: &mut tar::Builder<Box<dyn Write + Send>>,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
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

fn refuse_existing(path: &Path, exists: bool) -> Result<(), Error> {
    if exists {
        return Err(Error::new(Code::Refused, format!("{} is there already", path.display()))
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
