//! An ephemeral PostgreSQL: started from whatever is installed, gone without a trace.
//!
//! [`Server::launch`] finds an installation, makes a data directory in a private temporary
//! directory and starts `postgres` on a Unix socket inside it, so that several servers, and one
//! that the machine already runs, never meet. Dropping the [`Server`] stops it and removes the
//! directory; so does the death of this process, SIGKILL included (see `watchdog`).
//!
//! It refuses to connect to, stop or clean up any server that it did not start, it opens no TCP
//! port unless [`Listen::Loopback`] asks for one, and it never runs the server as root.
//!
//! Everything here blocks: call it through `spawn_blocking` from asynchronous code.

mod data;
mod directory;
mod discover;
mod packages;
mod watchdog;

use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use self::directory::Directory;
use self::watchdog::{Failure, Watchdog};
use crate::error::{Code, Error};

pub use self::discover::{Installation, OLDEST_MAJOR, Version, installed, newest};

/// The superuser of every ephemeral server.
pub const SUPERUSER: &str = "postgres";

/// The port of a server that listens on its socket alone. Only the socket's file name carries it.
const SOCKET_PORT: u16 = 5432;

/// How often a TCP port that somebody else took in the meantime is replaced by another.
const PORT_ATTEMPTS: usize = 5;

/// How a server is made and started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    installation: Option<Installation>,
    template: Option<PathBuf>,
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    listen: Listen,
    durability: Durability,
    place: Option<PathBuf>,
}

/// Where a server takes connections.
#[derive(Clone, Debug, Default)]
pub enum Listen {
    /// On a Unix socket in a directory that only its owner can enter.
    #[default]
    Socket,
    /// On the socket, and on a free port of 127.0.0.1 where every role needs a SCRAM password;
    /// with a certificate, TLS is the only way in.
    Loopback(Option<Certificate>),
}

/// What a server shows to its TLS clients.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate chain, PEM.
    pub chain: String,
    /// The private key, PEM.
    pub key: String,
    /// The authority that client certificates are checked against, PEM.
    pub client_authority: Option<String>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// What a server does to survive a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: its data goes away with it.
    #[default]
    None,
    /// All that PostgreSQL does by default; for measurements.
    Full,
}

impl Options {
    /// Makes the server's directory in this one, where it can, and otherwise where temporary files
    /// are. One that survives a power cut pays no heed to it: the place may be in memory.
    #[must_use]
    pub fn place(mut self, directory: impl Into<PathBuf>) -> Self {
        self.place = Some(directory.into());
        self
    }

    /// Uses this installation instead of the newest that is found.
    #[must_use]
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Starts from a copy of a data directory that [`Server::save`] left there: an order of
    /// magnitude faster than `initdb`. It must come from the same major version.
    #[must_use]
    pub fn template(mut self, saved: impl Into<PathBuf>) -> Self {
        self.template = Some(saved.into());
        self
    }

    /// Starts the server with a setting; the last word on a name wins.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Puts a line in front of `pg_hba.conf`, which otherwise trusts the socket (nobody else can
    /// reach it) and asks for SCRAM passwords on the loopback.
    #[must_use]
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// Chooses where connections are taken.
    #[must_use]
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// Chooses what a power cut may destroy.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

/// A running server that ends with this value.
#[derive(Debug)]
pub struct Server {
    // Dropped in this order: first the server stops, then its directory goes.
    watchdog: Watchdog,
    directory: Directory,
    installation: Installation,
    port: u16,
    tcp: bool,
    pid: u32,
}

/// A server that outlives this process, until somebody stops it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The directory that holds its data, socket and log; it goes away when the server stops.
    pub directory: PathBuf,
    /// Where its socket is: `PGHOST` for a client.
    pub socket_dir: PathBuf,
    /// The port: `PGPORT` for a client.
    pub port: u16,
    /// The process to stop.
    pub pid: u32,
}

impl Kept {
    /// The command that stops the server, which then removes its directory.
    pub fn stop_command(&self) -> String {
        format!("kill -INT {}", self.pid)
    }
}

impl Server {
    /// Starts a server and returns when it takes connections.
    ///
    /// # Errors
    /// [`Code::ToolMissing`] when no PostgreSQL is installed, [`Code::Config`] when
    /// `TENANTCTL_PG_BIN` names none, [`Code::Io`] when there is no place for its directory, and
    /// [`Code::Server`], with the end of the log, when it does not start.
    pub fn launch(options: &Options) -> Result<Self, Error> {
        let installation = match &options.installation {
            Some(installation) => installation.clone(),
            None => newest()?,
        };
        let passing = options.durability == Durability::None;
        let directory = Directory::create(options.place.as_deref().filter(|_| passing))?;
        match &options.template {
            Some(template) => data::copy(template, &directory)?,
            None => data::initdb(&installation, &directory)?,
        }
        data::write_hba(&hba_lines(options), &directory)?;
        let mut settings = server_settings(options, &directory);
        if let Listen::Loopback(Some(certificate)) = &options.listen {
            settings.extend(data::write_certificate(certificate, &directory)?);
        }
        settings.extend(options.settings.iter().cloned());

        let tcp = matches!(options.listen, Listen::Loopback(_));
        let mut attempt = 1;
        loop {
            let port = if tcp { free_port()? } else { SOCKET_PORT };
            let arguments = arguments(&directory, port, &settings);
            match Watchdog::start(&installation.program("postgres"), &arguments, &directory) {
                Ok((watchdog, pid)) => {
                    return Ok(Self { watchdog, directory, installation, port, tcp, pid });
                }
                Err(Failure::PortTaken(_)) if tcp && attempt < PORT_ATTEMPTS => attempt += 1,
                Err(Failure::PortTaken(error) | Failure::Other(error)) => return Err(error),
            }
        }
    }

    /// The directory of the socket: `host` in a connection string.
    pub fn socket_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The port, of the socket and of the loopback alike.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The connection string for a role and a database, through the socket.
    pub fn url(&self, database: &str, user: &str) -> String {
        format!(
            "postgres:///{}?host={}&port={}&user={}",
            percent_encoded(database),
            percent_encoded(&self.socket_dir().to_string_lossy()),
            self.port,
            percent_encoded(user)
        )
    }

    /// The connection string for a role and a database through TCP, without a password; `None`
    /// when the server listens on its socket alone.
    pub fn loopback_url(&self, database: &str, user: &str) -> Option<String> {
        self.tcp.then(|| {
            format!(
                "postgres://{}@127.0.0.1:{}/{}",
                percent_encoded(user),
                self.port,
                percent_encoded(database)
            )
        })
    }

    /// What kind of PostgreSQL this is.
    pub fn version(&self) -> &Version {
        self.installation.version()
    }

    /// The directory of the installation's programs.
    pub fn bin_dir(&self) -> &Path {
        self.installation.bin_dir()
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.directory.log_text()
    }

    /// Puts a file into the server's directory, with the directories above it: it goes away with
    /// the server. `place` is relative.
    ///
    /// # Errors
    /// [`Code::Io`] when it cannot be written.
    pub fn put(&self, place: &Path, text: &str) -> Result<PathBuf, Error> {
        let path = self.directory.path().join(place);
        // The watchdog removes the directory as the account that the server runs as, which must
        // therefore own every directory in it.
        let written = self.directory.make_parents(place).and_then(|()| {
            fs::write(&path, text)?;
            self.directory.hand_over(&path)
        });
        written.map_err(|source| {
            Error::new(Code::Io, format!("write {}", path.display())).because(source)
        })?;
        Ok(path)
    }

    /// Lets the server survive this process. It removes its directory when it is stopped.
    ///
    /// # Errors
    /// [`Code::Io`] when the process that watches over the server is gone.
    pub fn keep(self) -> Result<Kept, Error> {
        let Self { watchdog, directory, port, pid, .. } = self;
        watchdog.keep()?;
        let path = directory.leave();
        Ok(Kept { socket_dir: path.clone(), directory: path, port, pid })
    }

    /// Stops the server and leaves its data in a new directory, from which
    /// [`Options::template`] starts others.
    ///
    /// # Errors
    /// [`Code::Server`] when it does not stop in time; [`Code::Io`] when `into` exists already or
    /// the data cannot be written there.
    pub fn save(self, into: &Path) -> Result<(), Error> {
        let Self { watchdog, directory, .. } = self;
        watchdog.stop()?;
        data::save(&directory, into)
    }
}

/// The settings that make a server ours; those of the caller follow and may overrule them.
fn server_settings(options: &Options, directory: &Directory) -> Vec<(String, String)> {
    let mut settings = vec![
        ("unix_socket_directories", directory.path().to_string_lossy().into_owned()),
        // The log is read for its reasons: they must be in English, and in the one log.
        ("lc_messages", "C".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        (
            "listen_addresses",
            match options.listen {
                Listen::Socket => String::new(),
                Listen::Loopback(_) => "127.0.0.1".to_owned(),
            },
        ),
    ];
    if options.durability == Durability::None {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            settings.push((name, "off".to_owned()));
        }
    }
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `pg_hba.conf`: the caller's lines, then the socket, then the loopback.
fn hba_lines(options: &Options) -> Vec<String> {
    let mut lines = options.hba.clone();
    lines.push("local all all trust".to_owned());
    match &options.listen {
        Listen::Socket => {}
        Listen::Loopback(None) => lines.push("host all all 127.0.0.1/32 scram-sha-256".to_owned()),
        Listen::Loopback(Some(_)) => {
            lines.push("hostssl all all 127.0.0.1/32 scram-sha-256".to_owned());
        }
    }
    lines
}

fn arguments(directory: &Directory, port: u16, settings: &[(String, String)]) -> Vec<String> {
    let mut arguments = vec![
        "-D".to_owned(),
        directory.data().to_string_lossy().into_owned(),
        "-p".to_owned(),
        port.to_string(),
    ];
    for (name, value) in settings {
        arguments.push("-c".to_owned());
        arguments.push(format!("{name}={value}"));
    }
    arguments
}

/// Asks the kernel for a port that is free now. Another process may take it before the server
/// does, which is why the caller tries again.
fn free_port() -> Result<u16, Error> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::new(Code::Io, "find a free port on 127.0.0.1").because(source))
}

/// Encodes all that could mean something else inside a connection string.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
