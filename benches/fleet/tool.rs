//! The binary, run as a pipeline runs it: a process, its answer read from a pipe.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a process is looked at by who watches it.
const LOOK: Duration = Duration::from_millis(20);

/// A process that ended.
pub struct Ran {
    pub status: ExitStatus,
    pub took: Duration,
    /// Every line of the answer, with the time at which it came.
    pub lines: Vec<(Duration, String)>,
    pub story: String,
}

impl Ran {
    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.answer(), self.story);
        self
    }

    pub fn answer(&self) -> String {
        self.lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// Runs a program to its end in a directory, with nothing in its environment but what is given.
/// Who wants to `watch` is shown its process id, again and again.
pub fn run<A: AsRef<OsStr>>(
    program: &Path,
    directory: &Path,
    args: impl IntoIterator<Item = A>,
    environment: &[(&str, &str)],
    watch: Option<&mut dyn FnMut(u32)>,
) -> Ran {
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory)
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines = thread::spawn(move || {
        stdout.lines().map(|line| (started.elapsed(), line.unwrap())).collect::<Vec<_>>()
    });
    let mut stderr = child.stderr.take().unwrap();
    let story = thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    if let Some(watch) = watch {
        while child.try_wait().unwrap().is_none() {
            watch(child.id());
            thread::sleep(LOOK);
        }
    }
    let status = child.wait().unwrap();
    let took = started.elapsed();
    Ran { status, took, lines: lines.join().unwrap(), story: story.join().unwrap() }
}

/// The most memory that a process has held so far, in kB.
pub fn peak_kb(pid: u32) -> Option<u64> {
    field(pid, "VmHWM:")
}

/// The memory of a process that is its own, in kB.
pub fn private_kb(pid: u32) -> Option<u64> {
    field(pid, "RssAnon:")
}

fn field(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
