//! Runs the binary as a user would, and says everything when it surprises.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::World;
use super::snapshot;

/// How long any invocation may take.
const LIMIT: Duration = Duration::from_mins(2);

/// A command line and its environment, not yet run.
#[must_use = "nothing happens until it is run or spawned"]
pub struct Invocation {
    args: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    stdin: Vec<u8>,
    redactions: Vec<(String, &'static str)>,
}

impl Invocation {
    pub(super) fn new<A: AsRef<OsStr>>(world: &World, args: impl IntoIterator<Item = A>) -> Self {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(world.server().bin_dir().to_path_buf())
            .chain(std::env::split_paths(&inherited));
        let mut invocation = Self {
            args: Vec::new(),
            environment: BTreeMap::new(),
            directory: world.work_dir(),
            stdin: Vec::new(),
            redactions: snapshot::redactions_of(world),
        }
        .args(args)
        .env("PATH", std::env::join_paths(path).unwrap())
        .env("HOME", world.home())
        .env("DATABASE_URL", world.operator_url());
        // Where temporary files go and where coverage is written is the runner's business.
        for name in ["TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                invocation = invocation.env(name, value);
            }
        }
        invocation
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Takes a variable out of the environment.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(OsStr::new(name));
        self
    }

    /// Runs in another directory.
    pub fn in_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Gives the program something to read; by default it reads the end of the file.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Runs to the end.
    #[must_use = "say which exit code is expected: .ok() or .code(n)"]
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Starts, for a test that stops it half way.
    pub fn spawn(self) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenantctl"))
            .args(&self.args)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = self.stdin;
        // A program that does not read its input is no failure of the test.
        thread::spawn(move || stdin.write_all(&input));
        let stdout = Collected::from(child.stdout.take().unwrap());
        let stderr = Collected::from(child.stderr.take().unwrap());
        let argv = self.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Running {
            child,
            argv,
            stdout: Some(stdout),
            stderr: Some(stderr),
            redactions: self.redactions,
            started: Instant::now(),
        }
    }
}

/// A stream that is read as it is written.
struct Collected {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, reader }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn all(self) -> String {
        self.reader.join().unwrap();
        // Output that is not UTF-8 is a failure of the binary, whatever the test is about.
        String::from_utf8(Arc::into_inner(self.text).unwrap().into_inner().unwrap()).unwrap()
    }
}

/// A program that runs; it is killed when the test loses interest.
pub struct Running {
    child: Child,
    argv: Vec<String>,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    redactions: Vec<(String, &'static str)>,
    started: Instant,
}

impl Running {
    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends SIGTERM, as a machine that shuts down does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Sends SIGKILL, which no program can answer.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// What was written to stderr until now.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.as_ref().map(Collected::so_far).unwrap_or_default()
    }

    /// What was written to stdout until now.
    pub fn stdout_so_far(&self) -> String {
        self.stdout.as_ref().map(Collected::so_far).unwrap_or_default()
    }

    /// Waits until something holds, for example that the server has got so far.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        while !holds() {
            assert!(self.started.elapsed() < LIMIT, "{what} did not come true");
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended ({status}) before {what}:\n{}", self.stderr_so_far());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end.
    #[must_use = "say which exit code is expected: .ok() or .code(n)"]
    pub fn wait(mut self) -> Outcome {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                self.started.elapsed() <= LIMIT,
                "still running after {LIMIT:?}: {:?}\n{}",
                self.argv,
                self.stderr_so_far()
            );
            thread::sleep(Duration::from_millis(2));
        };
        Outcome {
            argv: std::mem::take(&mut self.argv),
            status,
            stdout: self.stdout.take().map(Collected::all).unwrap_or_default(),
            stderr: self.stderr.take().map(Collected::all).unwrap_or_default(),
            elapsed: self.started.elapsed(),
            redactions: std::mem::take(&mut self.redactions),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// What a finished program did.
pub struct Outcome {
    argv: Vec<String>,
    status: ExitStatus,
    stdout: String,
    stderr: String,
    elapsed: Duration,
    redactions: Vec<(String, &'static str)>,
}

impl Outcome {
    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// It must have ended with this exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert!(
            self.status.code() == Some(expected),
            "expected exit {expected}\n{}",
            self.transcript()
        );
        self
    }

    /// It must have been ended by this signal.
    #[track_caller]
    pub fn signal(self, expected: i32) -> Self {
        assert!(
            self.status.signal() == Some(expected),
            "expected signal {expected}\n{}",
            self.transcript()
        );
        self
    }

    /// The answer.
    pub fn stdout(&self) -> &str {
        &self.stdout
    }

    /// The story.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// How long it took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The answer as one JSON document, and nothing but that.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{}", self.transcript()))
    }

    /// The answer as JSON documents, one per line.
    #[track_caller]
    pub fn ndjson(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| {
                    panic!("not JSON: {error}: {line}\n{}", self.transcript())
                })
            })
            .collect()
    }

    /// Compares everything a user sees with `tests/it/snapshots/<name>.snap`, redacted.
    #[track_caller]
    pub fn snapshot(self, name: &str) -> Self {
        snapshot::compare(name, &self.transcript(), &self.redactions);
        self
    }

    /// Everything a user sees.
    pub fn transcript(&self) -> String {
        let mut text = String::from("$ tenantctl");
        for arg in &self.argv {
            text.push(' ');
            if arg.is_empty() || arg.contains(char::is_whitespace) {
                write!(text, "{arg:?}").unwrap();
            } else {
                text.push_str(arg);
            }
        }
        match self.status.code() {
            Some(code) => writeln!(text, "\nexit {code}").unwrap(),
            None => writeln!(text, "\n{}", self.status).unwrap(),
        }
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                writeln!(text, "--- {name}\n{}", stream.trim_end_matches('\n')).unwrap();
            }
        }
        text
    }
}
