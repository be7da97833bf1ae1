//! PostgreSQL's own programs: `pg_dump` and `pg_restore`, found, judged and run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::server::installed;
use crate::error::{Code, Error};
use crate::model::connection::{ConnectionSettings, Host, Password, RootCertificate};
use crate::model::interrupt::Interrupt;

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
    /// `TENANTCTL_PG_BIN` names, or else on `PATH`, or else beside an installed server.
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
            found.iter().map(|tool| format!("{} {}", tool.path.display(), tool.major)).collect();
        let what = if others.is_empty() {
            format!("there is no {name}, and {at_least} or newer is needed")
        } else {
            format!("{name} {at_least} or newer is needed: there is {}", others.join(", "))
        };
        Err(Error::new(Code::ToolMissing, what)
            .hint(format!("install the client programs of PostgreSQL {at_least}, or name their directory in TENANTCTL_PG_BIN"))
            .hint("tenantctl export needs no program but this one"))
    }

    /// Runs it. The password, if there is one, is in a file that only this user reads; what it says
    /// is logged, and part of the failure.
    ///
    /// # Errors
    ///
    /// [`Code::Server`] with its last words; [`Code::Interrupted`] when somebody asked to stop: it is
    /// ended then.
    pub async fn run(
        &self,
        arguments: &[OsString],
        settings: &ConnectionSettings,
        options: &str,
        what: &str,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let surroundings = Surroundings::of(settings, options)?;
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .arg("--no-password")
            .envs(surroundings.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let attempt = || format!("{what} with {} {}", self.name, self.major);
        let child = command.spawn().map_err(|error| {
            Error::new(Code::ToolMissing, format!("run {}", self.path.display())).because(error)
        })?;
        let ended = child.wait_with_output();
        let mut ended = std::pin::pin!(ended);
        let output = loop {
            let tick = tokio::time::sleep(std::time::Duration::from_millis(200));
            tokio::select! {
                output = &mut ended => break output,
                () = tick => interrupt.check(what)?,
            }
        };
        let output = output.map_err(|error| Error::new(Code::Io, attempt()).because(error))?;
        let said = String::from_utf8_lossy(&output.stderr);
        for line in said.lines() {
            log::debug!("{line}");
        }
        if output.status.success() {
            return Ok(());
        }
        let last: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = last[last.len().saturating_sub(3)..].join("; ");
        Err(Error::new(Code::Server, format!("{}: {last}", attempt())))
    }
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
    places.retain(|path| path.is_file());
    let mut seen = Vec::new();
    places.retain(|path| {
        let new = !seen.contains(path);
        seen.push(path.clone());
        new
    });
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

/// What libpq is told by its environment, and never by arguments, which everybody can read.
struct Surroundings {
    variables: Vec<(&'static str, OsString)>,
    /// Lives as long as the program does.
    _passfile: Option<tempfile::NamedTempFile>,
}

impl Surroundings {
    fn of(settings: &ConnectionSettings, options: &str) -> Result<Self, Error> {
        let each = |spell: &dyn Fn(&crate::model::connection::Server) -> String| {
            settings.servers.iter().map(spell).collect::<Vec<_>>().join(",")
        };
        let host = each(&|server| match &server.host {
            Host::Tcp { name, .. } => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let address = each(&|server| match &server.host {
            Host::Tcp { address: Some(address), .. } => address.to_string(),
            Host::Tcp { address: None, .. } | Host::Unix(_) => String::new(),
        });
        let tls = &settings.tls;
        let mut all = settings.options.clone().unwrap_or_default();
        if !options.is_empty() {
            all = format!("{all} {options}");
        }
        let mut variables: Vec<(&'static str, OsString)> = vec![
            ("PGHOST", host.into()),
            ("PGPORT", each(&|server| server.port.to_string()).into()),
            ("PGUSER", settings.user.clone().into()),
            ("PGDATABASE", settings.database.clone().into()),
            ("PGAPPNAME", settings.application_name.clone().into()),
            ("PGSSLMODE", tls.mode.to_string().into()),
            ("PGCHANNELBINDING", settings.channel_binding.to_string().into()),
            ("PGOPTIONS", all.trim().to_owned().into()),
        ];
        if !address.trim_matches(',').is_empty() {
            variables.push(("PGHOSTADDR", address.into()));
        }
        match &tls.root_certificate {
            Some(RootCertificate::File(path)) => variables.push(("PGSSLROOTCERT", path.into())),
            Some(RootCertificate::System) => variables.push(("PGSSLROOTCERT", "system".into())),
            None => {}
        }
        let files = [("PGSSLCERT", &tls.client_certificate), ("PGSSLKEY", &tls.client_key)];
        variables.extend(
            files.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?.into()))),
        );
        if let Some(limit) = settings.connect_timeout {
            variables.push(("PGCONNECT_TIMEOUT", limit.as_secs().max(2).to_string().into()));
        }
        let passfile = passfile(settings)?;
        if let Some(file) = &passfile {
            variables.push(("PGPASSFILE", file.path().into()));
        }
        Ok(Self { variables, _passfile: passfile })
    }
}

/// A password file with what is known of each server.
fn passfile(settings: &ConnectionSettings) -> Result<Option<tempfile::NamedTempFile>, Error> {
    use std::io::Write as _;
    if settings.password == Password::Missing {
        return Ok(None);
    }
    let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let mut text = String::new();
    for server in &settings.servers {
        if let Some(password) = settings.password_for(server) {
            text.push_str(&format!(
                "{}:{}:*:{}:{}\n",
                escaped(&server.passfile_host()),
                server.port,
                escaped(&settings.user),
                escaped(password.expose())
            ));
        }
    }
    let attempt =
        |error: std::io::Error| Error::new(Code::Io, "write a password file").because(error);
    // Readable by its owner alone from its first moment on.
    let mut file = tempfile::NamedTempFile::new().map_err(attempt)?;
    file.write_all(text.as_bytes()).map_err(attempt)?;
    file.flush().map_err(attempt)?;
    Ok(Some(file))
}
