//! What a black-box test stands on.
//!
//! A [`World`] is a private PostgreSQL, an empty working directory and the binary:
//!
//! ```ignore
//! let world = World::new();
//! world.run(["create", "acme", "--isolation", "schema"]).ok();
//! assert_eq!(world.rows("SELECT nspname FROM pg_namespace WHERE nspname = 'tenant_acme'"), [["tenant_acme"]]);
//! ```
//!
//! Every world has a server of its own, so roles and databases need no prefixes and a test may do
//! to its cluster what it likes. That is affordable because servers start from a copy of a saved
//! data directory (about 0.15 s, against 1 s for `initdb`), and it is what keeps tests apart under
//! any runner, one process per test included. Nothing survives a test, a killed one included.
//!
//! Sessions block, so a test is a plain `#[test]`, never an asynchronous one.
#![allow(dead_code, unused_imports, reason = "each capability uses the parts that it needs")]

mod binary;
mod catalog;
mod content;
mod directory;
mod matrix;
mod model;
mod pgbouncer;
mod postgres;
mod proxy;
mod seed;
mod session;
mod snapshot;

mod tls;

use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use tenantctl::pg::server::{Listen, Options};

use self::directory::Directory;

pub use self::binary::{Invocation, Outcome, Running};
pub use self::catalog::catalog;
pub use self::content::Contents;
pub use self::matrix::{installations, on_every_version, on_every_version_with};
pub use self::model::{Model, SHARED_ROLE, SHARED_SCHEMA};
pub use self::pgbouncer::PgBouncer;
pub use self::postgres::{DATABASE, OPERATOR, OPERATOR_PASSWORD, Postgres};
pub use self::proxy::{Proxy, Turn};
pub use self::seed::Seed;
pub use self::session::{Session, SqlFailure};
pub use self::tls::{Authority, Pair};

/// A private server, an empty working directory, and the binary.
///
/// It dereferences to its [`Postgres`]: `world.sql(…)`, `world.rows(…)`, `world.url(…)`.
pub struct World {
    postgres: Postgres,
    directory: Directory,
    authority: Option<Authority>,
}

impl World {
    /// On the newest installed version.
    pub fn new() -> Self {
        Self::of(Postgres::start())
    }

    /// On the installation in a directory of programs.
    pub fn on(bin_dir: &Path) -> Self {
        Self::of(Postgres::on(bin_dir))
    }

    /// On the installation in a directory of programs, with other options.
    pub fn on_with(bin_dir: &Path, change: impl FnOnce(Options) -> Options) -> Self {
        Self::of(Postgres::on_with(bin_dir, change))
    }

    /// On a server with other options, for example settings.
    pub fn with(change: impl FnOnce(Options) -> Options) -> Self {
        Self::of(Postgres::with(change))
    }

    /// On a server that listens on 127.0.0.1 with TLS and SCRAM, its certificate signed by an
    /// [`Authority`] of this world, which also signs what client certificates are checked against.
    pub fn tls() -> Self {
        Self::tls_with(|options| options)
    }

    /// As [`World::tls`], with other options, for example `hba` lines that want client
    /// certificates.
    pub fn tls_with(change: impl FnOnce(Options) -> Options) -> Self {
        let authority = Authority::new("tenantctl tests");
        let certificate = authority.server_certificate();
        let postgres =
            Postgres::with(|options| change(options.listen(Listen::Loopback(Some(certificate)))));
        let mut world = Self::of(postgres);
        world.file("ca.crt", &authority.pem());
        world.authority = Some(authority);
        world
    }

    /// Stops it, so that others may start from what it holds.
    pub fn save(self) -> Saved {
        let bin_dir = self.server().bin_dir().to_path_buf();
        let data = self.path("saved");
        self.postgres.save(&data);
        Saved { bin_dir, data, _directory: self.directory }
    }

    fn of(postgres: Postgres) -> Self {
        Self { postgres, directory: Directory::create(), authority: None }
    }

    /// The authority that signed the server's certificate.
    ///
    /// # Panics
    /// When the world has none: use [`World::tls`].
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().unwrap()
    }

    /// The file that `sslrootcert` should name.
    pub fn authority_file(&self) -> PathBuf {
        assert!(self.authority.is_some(), "only World::tls has an authority");
        self.path("ca.crt")
    }

    /// The operator's connection string through TLS; the password is [`OPERATOR_PASSWORD`], to be
    /// given as `PGPASSWORD`.
    pub fn tls_url(&self, sslmode: &str) -> String {
        format!(
            "{}?sslmode={sslmode}&sslrootcert={}",
            self.server().loopback_url(DATABASE, OPERATOR).unwrap(),
            self.authority_file().display()
        )
    }

    /// The directory in which the binary runs.
    pub fn work_dir(&self) -> PathBuf {
        self.directory.work()
    }

    /// The binary's `HOME`.
    pub fn home(&self) -> PathBuf {
        self.directory.home()
    }

    /// A path in the working directory.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.work_dir().join(relative)
    }

    /// Writes a file in the working directory, and the directories above it.
    pub fn file(&self, relative: &str, text: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes `tenants.toml`: cluster `main` in region `eu`, as the operator, then the rest.
    pub fn config(&self, rest: &str) -> PathBuf {
        let cluster = self.cluster_toml("main", "eu");
        self.file("tenants.toml", &format!("{cluster}\n{rest}"))
    }

    /// An invocation of the binary, to be refined and then run or spawned.
    ///
    /// Its environment is empty but for `PATH` (the server's programs first), `HOME` and
    /// `DATABASE_URL` (the operator's, which a `tenants.toml` overrules).
    pub fn tenantctl<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Invocation {
        Invocation::new(self, args)
    }

    /// Compares a text, for example a file that the binary wrote, with
    /// `tests/it/snapshots/<name>.snap`, redacted.
    #[track_caller]
    pub fn snapshot(&self, name: &str, text: &str) {
        snapshot::compare(name, text, &snapshot::redactions_of(self));
    }

    /// Runs the binary to its end.
    #[must_use = "say which exit code is expected: .ok() or .code(n)"]
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Outcome {
        self.tenantctl(args).run()
    }
}

/// What a world held, to start others from: much faster than making it again.
pub struct Saved {
    bin_dir: PathBuf,
    data: PathBuf,
    _directory: Directory,
}

impl Saved {
    /// A world that holds the same, with an empty working directory.
    pub fn world(&self) -> World {
        World::of(Postgres::on_with(&self.bin_dir, |options| options.template(&self.data)))
    }
}

impl Deref for World {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.postgres
    }
}
