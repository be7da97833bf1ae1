//! A PgBouncer before a server, on a socket in the server's own directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::postgres::{DATABASE, OPERATOR, Postgres};

/// How long it may take to start.
const LIMIT: Duration = Duration::from_secs(20);

/// A running PgBouncer, which ends with this value, or with the test's process.
pub struct PgBouncer {
    /// A shell that ends PgBouncer when its input ends.
    keeper: Child,
    url: String,
}

impl PgBouncer {
    /// Stands before a server in a pool mode: `session`, `transaction` or `statement`. Trusts the
    /// operator and the superuser. None when it is not installed, which is said on stderr; under
    /// `CI=true` it fails the test.
    pub fn start(server: &Postgres, mode: &str) -> Option<Self> {
        let Some(program) = installed() else {
            let missing =
                "not tested with PgBouncer, which is not installed: run scripts/setup --tests";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
            // Straight to the stream: the test runner swallows what a passing test prints.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "warning: {missing}").unwrap();
            return None;
        };
        let directory = server.server().socket_dir();
        let behind = server.server().port();
        // A socket's number, in a directory of our own.
        let port = behind - 1;
        let users = server
            .server()
            .put("pgbouncer/users.txt".as_ref(), "\"platform\" \"\"\n\"postgres\" \"\"\n")
            .unwrap();
        let settings = format!(
            "[databases]\n* = host={directory} port={behind}\n[pgbouncer]\nlisten_addr =\n\
             unix_socket_dir = {directory}\nlisten_port = {port}\nauth_type = trust\n\
             auth_file = {users}\npool_mode = {mode}\nmax_client_conn = 100\n",
            directory = directory.display(),
            users = users.display(),
        );
        let settings = server.server().put("pgbouncer/settings.ini".as_ref(), &settings).unwrap();
        let log = server.server().put("pgbouncer/log".as_ref(), "").unwrap();
        let owner = fs::metadata(directory).unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "\"$0\" -q \"$1\" & read -r _; kill $!"])
            .arg(program)
            .arg(settings)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::options().append(true).open(&log).unwrap());
        // It refuses to run as root; the server's account owns the directory.
        if owner.uid() != fs::metadata("/proc/self").map_or(owner.uid(), |own| own.uid()) {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let keeper = command.spawn().unwrap();
        let socket = directory.join(format!(".s.PGSQL.{port}"));
        let started = Instant::now();
        while !socket.exists() {
            let said = fs::read_to_string(&log).unwrap();
            assert!(started.elapsed() < LIMIT, "PgBouncer did not start:\n{said}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let direct = server.url(DATABASE, OPERATOR);
        let url = direct.replace(&format!("port={behind}"), &format!("port={port}"));
        assert_ne!(url, direct);
        Some(Self { keeper, url })
    }

    /// The operator's connection string through PgBouncer.
    pub fn operator_url(&self) -> &str {
        &self.url
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // The shell has ended what it kept; there is nobody to tell if it could not.
        self.keeper.wait().ok();
    }
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|directory| directory.join("pgbouncer"))
        .find(|program| program.is_file())
}
