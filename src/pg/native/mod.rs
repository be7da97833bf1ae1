//! PostgreSQL's own programs: `pg_dump` and `pg_restore`, found, judged and run.

mod dumped;
mod surroundings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use self::dumped::Counting;
use self::surroundings::Surroundings;
use super::server::installed;
use crate::error::{Code, Error};
use crate::model::connection::ConnectionSettings;
use crate::model::ident::QualifiedName;
use crate::model::interrupt::Interrupt;

/// How often it is asked whether somebody wants to stop.
const TICK: Duration = Duration::from_millis(200);

/// `pg_restore` of this version and newer sets a parameter that servers before it do not know.
const SETS_TRANSACTION_TIMEOUT: u32 = 17;

/// How `pg_restore` tells of that.
const UNKNOWN_SETTING: &str = "Command was: SET transaction_timeout = 0;";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `pg_dump`
    Dump,
    /// `pg_restore`
    Restore,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Dump => "pg_dump",
            Self::Restore => "pg_restore",
        }
    }
}

/// A program that is installed, and new enough.
#[derive(Clone, Debug)]
pub struct Tool {
    path: PathBuf,
    name: &'static str,
    /// Its major version.
    pub major: u32,
}

impl Tool {
    /// Finds a program of this major version or a newer one, the nearest first: in the directory that
    /// `TENANTCTL_PG_BIN` names, or else on `PATH`, or else beside an installed server. An older one
    /// refuses a newer server, or cannot read what a newer one has written.
    ///
    /// # Errors
    ///
    /// [`Code::ToolMissing`] with what was found instead.
    pub async fn find(program: Program, at_least: u32) -> Result<Self, Error> {
        let name = program.name();
        let mut found = Vec::new();
        for path in candidates(name) {
            if let Some(major) = major(&path).await {
                found.push(Self { path, name, major });
            }
        }
        let fits = found.iter().filter(|tool| tool.major >= at_least).min_by_key(|tool| tool.major);
        if let Some(tool) = fits {
            return Ok(tool.clone());
        }
        let others: Vec<String> =
            found.iter().map(|tool| format!("{} is {}", tool.path.display(), tool.major)).collect();
        let what = if others.is_empty() {
            format!("there is no {name}, and {at_least} or newer is needed")
        } else {
            format!("{name} {at_least} or newer is needed: {}", others.join(", "))
        };
        Err(Error::new(Code::ToolMissing, what).hint(format!(
            "install the client programs of PostgreSQL {at_least}, or name their directory in TENANTCTL_PG_BIN"
        )))
    }

    /// Writes a dump into a file that is open.
    ///
    /// # Errors
    ///
    /// [`Code::Server`] with the program's last words; [`Code::Interrupted`] when somebody asked to
    /// stop: it is ended then.
    pub async fn dump(
        &self,
        arguments: &[OsString],
        into: File,
        settings: &ConnectionSettings,
        options: &str,
        what: &str,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let mut command = self.command();
        command.args(arguments).stdout(into);
        let output = self.run(command, settings, options, what, interrupt).await?;
        if output.status.success() { Ok(()) } else { Err(self.failed(what, &output)) }
    }

    /// Restores a dump into a database of a server of this major version, and stops at the first
    /// statement that fails.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump).
    pub async fn restore(
        &self,
        dump: File,
        server: u32,
        settings: &ConnectionSettings,
        what: &str,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let too_new = self.major >= SETS_TRANSACTION_TIMEOUT && server < SETS_TRANSACTION_TIMEOUT;
        let mut command = self.command();
        command.args(["--no-owner", "--no-privileges"]).stdin(dump);
        if !too_new {
            command.arg("--exit-on-error");
        }
        // A name that is no connection string: it has been made for this.
        command.arg(format!("--dbname={}", settings.database));
        let output = self.run(command, settings, "", what, interrupt).await?;
        let forgiven = too_new && only_unknown_setting(&String::from_utf8_lossy(&output.stderr));
        if output.status.success() || forgiven { Ok(()) } else { Err(self.failed(what, &output)) }
    }

    /// Counts the rows of each table in a dump, which is read to its end. Rows of partitions count as
    /// they were written down.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump), for a dump that is damaged as well.
    pub async fn count(
        &self,
        dump: File,
        what: &str,
        interrupt: &Interrupt,
    ) -> Result<BTreeMap<QualifiedName, u64>, Error> {
        let mut command = self.command();
        command.args(["--data-only", "--file=-"]).stdin(dump).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_run(error))?;
        let (rows, said) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let mut counting = Counting::default();
            let mut piece = vec![0; 1 << 16];
            let reading = async {
                if let Some(mut rows) = rows {
                    loop {
                        match rows.read(&mut piece).await? {
                            0 => break,
                            read => counting.take(&piece[..read]),
                        }
                    }
                }
                Ok(counting)
            };
            let (counting, stderr) = tokio::try_join!(reading, all(said))?;
            Ok((counting, Output { status: child.wait().await?, stdout: Vec::new(), stderr }))
        };
        let (counting, output) = self.watched(work, what, interrupt).await?;
        if output.status.success() { counting.end() } else { Err(self.failed(what, &output)) }
    }

    /// Runs it. The password, if there is one, is in no argument; what it says is logged.
    async fn run(
        &self,
        mut command: Command,
        settings: &ConnectionSettings,
        options: &str,
        what: &str,
        interrupt: &Interrupt,
    ) -> Result<Output, Error> {
        let surroundings = Surroundings::of(settings, options)?;
        command.arg("--no-password").envs(surroundings.variables());
        let child = command.spawn().map_err(|error| self.not_run(error))?;
        self.watched(child.wait_with_output(), what, interrupt).await
    }

    /// Nothing that this process was told about connections reaches it but what is told on purpose,
    /// and it speaks the language that its words are judged in.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn watched<T>(
        &self,
        work: impl Future<Output = std::io::Result<T>>,
        what: &str,
        interrupt: &Interrupt,
    ) -> Result<T, Error> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    return done.map_err(|error| Error::new(Code::Io, self.attempt(what)).because(error));
                }
                () = tokio::time::sleep(TICK) => interrupt.check(what)?,
            }
        }
    }

    fn attempt(&self, what: &str) -> String {
        format!("{what} with {} {}", self.name, self.major)
    }

    fn not_run(&self, error: std::io::Error) -> Error {
        Error::new(Code::ToolMissing, format!("run {}", self.path.display())).because(error)
    }

    /// The failure of a program, with its last words.
    fn failed(&self, what: &str, output: &Output) -> Error {
        let said = String::from_utf8_lossy(&output.stderr);
        for line in said.lines() {
            log::debug!("{line}");
        }
        let words: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = match words[words.len().saturating_sub(3)..].join("; ") {
            last if last.is_empty() => output.status.to_string(),
            last => last,
        };
        Error::new(Code::Server, format!("{}: {last}", self.attempt(what)))
    }
}

/// Whether nothing failed but the parameter that an older server does not know.
fn only_unknown_setting(said: &str) -> bool {
    let count = |begins: &str| said.lines().filter(|line| line.starts_with(begins)).count();
    let unknown = said.lines().filter(|line| *line == UNKNOWN_SETTING).count();
    unknown > 0
        && count("pg_restore: error: ") == unknown
        && count("Command was: ") == unknown
        && said.lines().any(|line| {
            line == format!("pg_restore: warning: errors ignored on restore: {unknown}")
        })
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn candidates(name: &str) -> Vec<PathBuf> {
    if let Some(directory) = std::env::var_os("TENANTCTL_PG_BIN").filter(|value| !value.is_empty())
    {
        return vec![PathBuf::from(directory).join(name)];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> =
        std::env::split_paths(&path).map(|directory| directory.join(name)).collect();
    places.extend(installed().iter().map(|one| one.bin_dir().join(name)));
    let mut seen = std::collections::BTreeSet::new();
    places.retain(|path| path.is_file() && seen.insert(path.clone()));
    places
}

/// `pg_dump (PostgreSQL) 15.14 (Debian …)`: the major version.
async fn major(path: &Path) -> Option<u32> {
    let output = Command::new(path).arg("--version").output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("(PostgreSQL) ").nth(1)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::only_unknown_setting;

    const SAID: &str = "pg_restore: while INITIALIZING:\n\
        pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\n\
        Command was: SET transaction_timeout = 0;\n\n\
        pg_restore: warning: errors ignored on restore: 1\n";

    #[test]
    fn a_parameter_of_newer_servers_is_forgiven_and_nothing_beside_it() {
        assert!(only_unknown_setting(SAID));
        assert!(!only_unknown_setting(""));
        let more = "pg_restore: error: could not execute query: ERROR:  no\nCommand was: CREATE TABLE x ();\n";
        let two = SAID.replace("restore: 1", "restore: 2");
        assert!(!only_unknown_setting(&format!("{more}{two}")));
        assert!(!only_unknown_setting(&two));
        assert!(!only_unknown_setting(&SAID.replace("transaction_timeout = 0", "role = 'x'")));
    }
}
