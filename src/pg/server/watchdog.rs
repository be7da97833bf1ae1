//! Keeps a server's life tied to ours.
//!
//! A tiny shell is the server's parent and reads a pipe whose other end only this process holds.
//! However this process ends, the kernel closes the pipe; the shell then stops the server and
//! removes its directory. `PR_SET_PDEATHSIG` would need unsafe code, exists on Linux alone, fires
//! when the *thread* that forked ends (any worker of an asynchronous runtime may), and could not
//! remove the directory. The shell leads a process group of its own, so neither Ctrl-C nor a
//! signal to our group reaches the server before we have decided what to do with it.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::directory::{Account, Directory};
use crate::error::{Code, Error};

/// Runs `$2 …` in the directory `$1`, then does what the pipe says: `keep` waits for the server's
/// own end, `stop` stops it, and the end of the pipe stops it and removes the directory.
///
/// SIGINT is PostgreSQL's fast shutdown; it is repeated because one that comes before the server
/// has installed its handlers is lost. SIGQUIT follows after about eight seconds. `ended` is the
/// one proof that the server is gone: process ids are reused.
const SCRIPT: &str = r#"
dir=$1
shift
exec 3<&0
{ "$@" </dev/null 3<&-; : >ended; } &
job=$!
word=
read -r word <&3
if [ "$word" = keep ]; then
    wait "$job"
else
    tries=0
    signal=INT
    while [ ! -e ended ] && [ "$tries" -lt 600 ]; do
        { read -r pid <data/postmaster.pid && kill -s "$signal" "$pid"; } 2>/dev/null
        tries=$((tries + 1))
        if [ "$tries" -ge 400 ]; then signal=QUIT; fi
        sleep 0.02
    done
fi
if [ "$word" != stop ]; then
    cd / && rm -rf -- "$dir"
fi
"#;

/// How long a server may take to accept connections: `initdb` is already done by then.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long the shell may take to stop the server; longer than its own patience.
const STOP_LIMIT: Duration = Duration::from_secs(25);

const POLL: Duration = Duration::from_millis(4);

/// Why a server did not start.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody else listens on the port; another one may be free.
    PortTaken(Error),
    /// Trying again would not help.
    Other(Error),
}

/// The shell that watches over a server.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts a server, and returns its process id once it takes connections.
    pub(super) fn start(
        postgres: &Path,
        arguments: &[String],
        directory: &Directory,
    ) -> Result<(Self, u32), Failure> {
        let logged_before = directory.log_text().len();
        let ended = directory.path().join("ended");
        if ended.exists() {
            fs::remove_file(&ended)
                .map_err(|source| Failure::Other(unusable(directory, source)))?;
        }
        let mut command = command(Path::new("/bin/sh"), directory).map_err(Failure::Other)?;
        command.args(["-c", SCRIPT, "tenantctl-watchdog"]);
        command.arg(directory.path()).arg(postgres).args(arguments);
        command.stdin(Stdio::piped());
        let mut shell =
            command.spawn().map_err(|source| Failure::Other(unusable(directory, source)))?;
        let pipe = shell.stdin.take();
        let watchdog = Self { shell, pipe };

        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(pid) = ready_pid(&directory.data().join("postmaster.pid")) {
                return Ok((watchdog, pid));
            }
            let gone = ended.exists();
            if gone || Instant::now() > deadline {
                let error = Error::new(Code::Server, "start an ephemeral PostgreSQL")
                    .because(directory.log_tail());
                // The directory must survive: another port may be tried in it.
                watchdog.stop().map_err(Failure::Other)?;
                let log = directory.log_text();
                let taken = log
                    .get(logged_before..)
                    .is_some_and(|new| new.contains("could not bind") && gone);
                return Err(if taken { Failure::PortTaken(error) } else { Failure::Other(error) });
            }
            thread::sleep(POLL);
        }
    }

    /// Lets the server outlive this process.
    pub(super) fn keep(mut self) -> Result<(), Error> {
        self.say("keep\n")?;
        // From here on nothing of ours may wait for the shell.
        self.pipe = None;
        Ok(())
    }

    /// Stops the server and leaves its directory alone.
    pub(super) fn stop(mut self) -> Result<(), Error> {
        self.say("stop\n")?;
        self.pipe = None;
        if self.wait() {
            Ok(())
        } else {
            Err(Error::new(Code::Server, "stop an ephemeral PostgreSQL in time"))
        }
    }

    fn say(&mut self, word: &str) -> Result<(), Error> {
        let Some(pipe) = &mut self.pipe else {
            return Err(Error::new(Code::Bug, "tell the watchdog of a server what to do twice"));
        };
        pipe.write_all(word.as_bytes()).map_err(|source| {
            Error::new(Code::Io, "tell the watchdog of a server what to do").because(source)
        })
    }

    /// Waits for the shell's end; false when it takes too long.
    fn wait(&mut self) -> bool {
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            match self.shell.try_wait() {
                Ok(Some(_)) | Err(_) => return true,
                Ok(None) if Instant::now() > deadline => return false,
                Ok(None) => thread::sleep(POLL),
            }
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if self.pipe.take().is_some() {
            self.wait();
        }
    }
}

/// A program that runs in the directory, as the server's account, with output to the log.
///
/// The environment is ours to give: `PGDATA`, `PGPORT` and friends would steer the server
/// elsewhere, and connection strings with passwords are none of its business.
pub(super) fn command(program: &Path, directory: &Directory) -> Result<Command, Error> {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C");
    for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ", "TZDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let log = || directory.log().map_err(|source| unusable(directory, source));
    command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
    command.current_dir(directory.path()).process_group(0);
    if let Some(Account { uid, gid }) = directory.account() {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// The failure to do something in the server's directory.
pub(super) fn unusable(directory: &Directory, source: std::io::Error) -> Error {
    Error::new(Code::Io, format!("use {} for a server", directory.path().display())).because(source)
}

/// The process id, once the server's own status file says that connections are taken.
fn ready_pid(postmaster: &Path) -> Option<u32> {
    // The first line is the process id; the eighth is `starting`, `ready`, `stopping` or `standby`.
    let text = fs::read_to_string(postmaster).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    (lines.nth(6)?.trim() == "ready").then_some(pid)
}
