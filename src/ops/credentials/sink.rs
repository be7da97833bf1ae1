//! Where new passwords go, before any server knows them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::document::{Document, Pattern, SecretFormat, is_about};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::secret::{HIDDEN, Secret};

/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_mins(2);

/// So much of what a failed command said is told.
const TOLD: usize = 400;

/// Where passwords go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file, readable by its owner only, replaced as a whole.
    File(Pattern),
    /// What a shell command reads.
    Command(String),
}

/// How passwords are delivered.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Where to; all of them get everything.
    pub sinks: Vec<Sink>,
    /// In which spelling.
    pub format: SecretFormat,
    /// The name of a Kubernetes Secret; otherwise the tenant's, with `-postgres` behind it.
    pub secret_name: Option<Pattern>,
    /// The namespace of a Kubernetes Secret.
    pub namespace: Option<String>,
    /// Whether passwords are part of the answer.
    pub show: bool,
}

impl Delivery {
    /// Whether each of several tenants that use one password gets its own document.
    pub(super) fn per_tenant(&self) -> bool {
        self.secret_name.as_ref().is_some_and(Pattern::per_tenant)
            || self.sinks.iter().any(|sink| matches!(sink, Sink::File(path) if path.per_tenant()))
    }

    /// The names that a document gets: no two documents of a run may have the same.
    pub(super) fn names(&self, document: &Document<'_>) -> Vec<String> {
        let mut names: Vec<String> = self
            .sinks
            .iter()
            .filter_map(|sink| match sink {
                Sink::File(path) => Some(path.of(document)),
                Sink::Command(_) if self.format == SecretFormat::Kubernetes => {
                    let secret = document.secret_name(self.secret_name.as_ref());
                    Some(format!("Secret {secret}"))
                }
                Sink::Command(_) => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Delivers a document everywhere; says where it is, in words.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] when a file is there that is not ours; [`Code::Io`] when a file cannot be
    /// written or a command fails. What was delivered before stays.
    pub(super) async fn deliver(
        &self,
        document: &Document<'_>,
        logins: &[&Ident],
    ) -> Result<Vec<String>, Error> {
        let text =
            document.spell(self.format, self.secret_name.as_ref(), self.namespace.as_deref())?;
        let mut delivered = Vec::new();
        for sink in &self.sinks {
            match sink {
                Sink::File(pattern) => {
                    let path = PathBuf::from(pattern.of(document));
                    refuse_foreign(&path, document.entries[0].role, logins)?;
                    write_file(&path, &text)?;
                    delivered.push(path.display().to_string());
                }
                Sink::Command(command) => {
                    let secrets: Vec<&Secret> =
                        document.entries.iter().map(|entry| entry.password).collect();
                    run(command, document, &text, &secrets).await?;
                    delivered.push(format!("the command {command:?}"));
                }
            }
        }
        Ok(delivered)
    }
}

/// A file of somebody else's is not overwritten.
fn refuse_foreign(path: &Path, role: &Ident, logins: &[&Ident]) -> Result<(), Error> {
    match std::fs::read_to_string(path) {
        Ok(text) if is_about(&text, role, logins) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(Error::new(
            Code::Refused,
            format!("{} is there already, and holds no credentials of {role}", path.display()),
        )
        .hint("name another file: nothing is overwritten")),
        Err(error) => Err(Error::new(Code::Io, format!("read {}", path.display())).because(error)),
    }
}

/// Written beside, readable by its owner alone from the first byte, then renamed into place.
pub(super) fn write_file(path: &Path, text: &Secret) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::new(Code::Io, format!("write {}", path.display())).because(error)
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut beside = tempfile::Builder::new()
        .prefix(".tenantctl-credentials-")
        .tempfile_in(&directory)
        .map_err(failed)?;
    beside.write_all(text.expose().as_bytes()).map_err(failed)?;
    beside.as_file().sync_all().map_err(failed)?;
    beside.persist(path).map_err(|error| failed(error.error))?;
    // The name is in the directory, which has a cache of its own.
    std::fs::File::open(&directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(())
}

/// Runs a command and gives it the text to read: no secret is in its arguments or environment.
async fn run(
    command: &str,
    document: &Document<'_>,
    text: &Secret,
    secrets: &[&Secret],
) -> Result<(), Error> {
    let attempt = || format!("deliver to the command {command:?}");
    let failed = |error: std::io::Error| Error::new(Code::Io, attempt()).because(error);
    let tenants: Vec<&str> = document.tenants.iter().map(|id| id.as_str()).collect();
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("TENANTCTL_TENANT", tenants.join(","))
        .env("TENANTCTL_CLUSTER", document.cluster.as_str())
        .env("TENANTCTL_ROLE", document.entries[0].role.as_str())
        .env("TENANTCTL_LOGIN", document.entries[0].login.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let work = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // Whoever does not read to the end says by its status how it went.
                if let Err(error) = stdin.write_all(text.expose().as_bytes()).await {
                    log::debug!("{command:?} did not read to the end: {error}");
                }
            }
        };
        tokio::join!(write, child.wait_with_output()).1
    };
    let output = tokio::time::timeout(COMMAND_LIMIT, work)
        .await
        .map_err(|_| {
            Error::new(
                Code::Io,
                format!("{}: it took longer than {} s", attempt(), COMMAND_LIMIT.as_secs()),
            )
        })?
        .map_err(failed)?;
    let said = |bytes: &[u8]| {
        let mut said = String::from_utf8_lossy(bytes).into_owned();
        for secret in secrets {
            said = said.replace(secret.expose(), HIDDEN);
        }
        said.trim().to_owned()
    };
    log::debug!("{command:?} says {}", said(&output.stdout));
    if output.status.success() {
        return Ok(());
    }
    let words: String = said(&output.stderr).chars().take(TOLD).collect();
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    Err(Error::new(Code::Io, format!("{} ({}){words}", attempt(), output.status))
        .hint("the server was not told of the new password: run it again when the command works"))
}
