//! A private server with an operator role and a database, and SQL straight to it.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tenantctl::pg::server::{Installation, Options, SUPERUSER, Server, newest};

use super::session::Session;

/// The role that the binary connects as: what a managed service gives, never a superuser.
pub const OPERATOR: &str = "platform";

/// The operator's password, which only the loopback asks for.
pub const OPERATOR_PASSWORD: &str = "operator-secret";

/// The database of the application, in which the operator may create schemas.
pub const DATABASE: &str = "app";

/// So much must be left in memory, in KiB: a server of a test holds 50 MB, that of a large fleet
/// hundreds.
const MEMORY_KIB: u64 = 6 << 20;

/// What every server holds when a test meets it.
const PREPARE: [&str; 3] = [
    "CREATE ROLE platform LOGIN NOSUPERUSER CREATEROLE CREATEDB PASSWORD 'operator-secret'",
    "CREATE DATABASE app",
    "GRANT CREATE ON DATABASE app TO platform",
];

/// A server of one test.
pub struct Postgres {
    server: Server,
}

impl Postgres {
    /// Starts the newest installed version.
    pub fn start() -> Self {
        Self::with(|options| options)
    }

    /// Starts the version in a directory of programs.
    pub fn on(bin_dir: &Path) -> Self {
        Self::launch(&Installation::at(bin_dir).unwrap(), |options| options)
    }

    /// Starts the version in a directory of programs with other options.
    pub fn on_with(bin_dir: &Path, change: impl FnOnce(Options) -> Options) -> Self {
        Self::launch(&Installation::at(bin_dir).unwrap(), change)
    }

    /// Starts the newest installed version with other options.
    pub fn with(change: impl FnOnce(Options) -> Options) -> Self {
        Self::launch(&newest().unwrap(), change)
    }

    fn launch(installation: &Installation, change: impl FnOnce(Options) -> Options) -> Self {
        let mut options = small(Options::default().installation(installation.clone()));
        if let Some(memory) = memory() {
            options = options.place(memory);
        }
        if let Some(template) = template(installation) {
            return Self { server: Server::launch(&change(options.template(template))).unwrap() };
        }
        let server = Server::launch(&change(options)).unwrap();
        prepare(&server);
        Self { server }
    }

    /// Stops the server and leaves its data in a directory, to be the template of others.
    pub(super) fn save(self, into: &Path) {
        self.server.save(into).unwrap();
    }

    /// The server itself: its version, socket, port and process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A connection string through the socket, which trusts every role.
    pub fn url(&self, database: &str, user: &str) -> String {
        self.server.url(database, user)
    }

    /// The operator's connection string.
    pub fn operator_url(&self) -> String {
        self.url(DATABASE, OPERATOR)
    }

    /// This server as a cluster in `tenants.toml`, used as the operator.
    pub fn cluster_toml(&self, name: &str, region: &str) -> String {
        format!("[clusters.{name}]\nurl = \"{}\"\nregion = \"{region}\"\n", self.operator_url())
    }

    /// Opens a session of a role, which must be allowed to log in.
    pub fn session(&self, database: &str, user: &str) -> Session {
        Session::open(&self.url(database, user))
    }

    /// Runs statements as the superuser in the application's database.
    pub fn sql(&self, sql: &str) {
        self.session(DATABASE, SUPERUSER).sql(sql);
    }

    /// Runs statements as the superuser in a database.
    pub fn sql_in(&self, database: &str, sql: &str) {
        self.session(database, SUPERUSER).sql(sql);
    }

    /// Runs a query as the superuser in the application's database; every value as text, a null
    /// as `NULL`.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.session(DATABASE, SUPERUSER).rows(sql)
    }

    /// Runs a query as the superuser in a database.
    pub fn rows_in(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        self.session(database, SUPERUSER).rows(sql)
    }
}

/// A server that needs little, and does nothing that the test did not ask for.
fn small(options: Options) -> Options {
    [
        ("shared_buffers", "16MB"),
        ("max_connections", "50"),
        ("max_locks_per_transaction", "256"),
        ("autovacuum", "off"),
    ]
    .into_iter()
    .fold(options, |options, (name, value)| options.setting(name, value))
}

/// A directory in memory with room for the servers of many tests: a server copies, writes and removes
/// thousands of small files that nobody keeps. `None` where there is none.
fn memory() -> Option<&'static Path> {
    static ROOM: OnceLock<bool> = OnceLock::new();
    let place = Path::new("/dev/shm");
    let has_room = || {
        let said = Command::new("df").arg("-Pk").arg(place).output().ok()?;
        let said = String::from_utf8(said.stdout).ok()?;
        // Size, used and available, in KiB, after the name of the file system.
        let available: u64 = said.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
        Some(available >= MEMORY_KIB)
    };
    ROOM.get_or_init(|| has_room().unwrap_or(false) && has_memory().unwrap_or(false))
        .then_some(place)
}

/// Whether the machine has as much memory to spare, and whoever runs here may use it.
fn has_memory() -> Option<bool> {
    let said = fs::read_to_string("/proc/meminfo").ok()?;
    let line = said.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    // Bytes, or `max`; absent outside of containers.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    let limit: u64 = limit.trim().parse().map_or(u64::MAX, |bytes: u64| bytes / 1024);
    Some(available.min(limit) >= MEMORY_KIB)
}

fn prepare(server: &Server) {
    let mut session = Session::open(&server.url("postgres", SUPERUSER));
    for statement in PREPARE {
        session.sql(statement);
    }
}

/// The saved data directory that servers of an installation start from, made by whoever needs it
/// first. `None` when the build directory is not ours to write to: `initdb` does it then.
fn template(installation: &Installation) -> Option<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (installation.bin_dir(), PREPARE).hash(&mut hasher);
    let name = format!("pg-{}-{:016x}", installation.version(), hasher.finish());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let lock = File::create(path.with_extension("lock")).ok()?;
    lock.lock().unwrap();
    if !path.exists() {
        // One that was half written when its maker was killed.
        let unfinished = path.with_extension("new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).unwrap();
        }
        let options = small(Options::default().installation(installation.clone()));
        let server = Server::launch(&options).unwrap();
        prepare(&server);
        server.save(&unfinished).unwrap();
        fs::rename(&unfinished, &path).unwrap();
    }
    // The lock ends here: from now on the directory is only read.
    Some(path)
}
