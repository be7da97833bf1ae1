//! The one typed failure of the crate.
//!
//! `anyhow` carries failures through `ops` and `cli`; [`Error`] is for those that somebody acts on:
//! a caller, a script, or the exit status. [`Error::find`] is the only downcast in the crate.

use std::fmt;
use std::sync::Arc;

/// What went wrong, as a stable word that scripts and the exit status rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The command line asks for something that cannot be meant.
    Usage,
    /// `tenants.toml`, an environment variable or a connection string is wrong.
    Config,
    /// A migration file or directory cannot be used as it is.
    Migrations,
    /// A tenant, cluster or file that was named does not exist.
    NotFound,
    /// The server refused a statement for a reason that has no code of its own.
    Server,
    /// The server denied a privilege (SQLSTATE 42501).
    Permission,
    /// No connection to the cluster could be made.
    Unreachable,
    /// The cluster answered, and refused the credentials or the TLS handshake.
    AuthFailed,
    /// Another session holds the lock, and did not give it back in time.
    LockBusy,
    /// Applied migrations and the files disagree.
    HistoryDiverged,
    /// An object that would be used belongs to somebody else.
    OwnershipConflict,
    /// A name is taken, reserved, too long, or collides with another tenant's.
    NameTaken,
    /// A newer tenantctl wrote the registry.
    RegistryNewer,
    /// Policy, safety or residency forbids it.
    Refused,
    /// A program that is needed is not installed.
    ToolMissing,
    /// A file could not be read or written.
    Io,
    /// The user asked to stop.
    Interrupted,
    /// A promise that this program makes to itself was broken.
    Bug,
}

impl Code {
    /// Every code, in the order in which the README lists them.
    pub const ALL: [Self; 18] = [
        Self::Usage,
        Self::Config,
        Self::Migrations,
        Self::NotFound,
        Self::Server,
        Self::Permission,
        Self::Unreachable,
        Self::AuthFailed,
        Self::LockBusy,
        Self::HistoryDiverged,
        Self::OwnershipConflict,
        Self::NameTaken,
        Self::RegistryNewer,
        Self::Refused,
        Self::ToolMissing,
        Self::Io,
        Self::Interrupted,
        Self::Bug,
    ];

    /// The word as it is printed and written to JSON.
    pub fn id(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Migrations => "migrations",
            Self::NotFound => "not-found",
            Self::Server => "server",
            Self::Permission => "permission",
            Self::Unreachable => "unreachable",
            Self::AuthFailed => "auth-failed",
            Self::LockBusy => "lock-busy",
            Self::HistoryDiverged => "history-diverged",
            Self::OwnershipConflict => "ownership-conflict",
            Self::NameTaken => "name-taken",
            Self::RegistryNewer => "registry-newer",
            Self::Refused => "refused",
            Self::ToolMissing => "tool-missing",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// What the server said, in its own words. Its detail may quote a row; no statement of ours puts a
/// password into one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerAnswer {
    /// SQLSTATE, five characters.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// DETAIL, when there is one.
    pub detail: Option<String>,
    /// HINT, when there is one.
    pub hint: Option<String>,
    /// CONTEXT, when there is one (a PL/pgSQL call stack).
    pub context: Option<String>,
}

/// A place in a file that a person can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file, as it was named to us.
    pub file: String,
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A failure that says what was attempted, why it did not work, and what to type next.
///
/// `Display` is this layer only: the source is printed by whoever walks the chain.
#[derive(Debug)]
pub struct Error {
    /// What kind of failure this is.
    pub code: Code,
    /// What was attempted, on what: lower case, no full stop.
    pub message: String,
    /// What to do next: commands or edits that can be pasted.
    pub hints: Vec<String>,
    /// What the server answered, when it was the server that refused.
    pub answer: Option<Box<ServerAnswer>>,
    /// Where in a file the cause stands, when it stands in a file.
    pub location: Option<Location>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes a failure of a kind with what was attempted.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hints: Vec::new(),
            answer: None,
            location: None,
            source: None,
        }
    }

    /// Adds something to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What to do next: what was said, otherwise what is always worth a try after such a failure.
    pub fn advice(&self) -> Vec<String> {
        match (self.hints.as_slice(), self.code) {
            ([], Code::Permission) => {
                vec!["see what the operator may do, and lacks: tenantctl doctor".to_owned()]
            }
            (said, _) => said.to_vec(),
        }
    }

    /// Adds the server's own words.
    #[must_use]
    pub fn answered(mut self, answer: ServerAnswer) -> Self {
        self.answer = Some(Box::new(answer));
        self
    }

    /// Adds the place in a file where the cause stands.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Adds the failure that caused this one.
    #[must_use]
    pub fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same failure once more, for one of several who share it.
    #[must_use]
    pub fn again(failure: &Arc<Self>) -> Self {
        let mut error = Self::new(failure.code, failure.message.clone());
        error.hints.clone_from(&failure.hints);
        error.answer.clone_from(&failure.answer);
        error.location.clone_from(&failure.location);
        error.because(Arc::clone(failure))
    }

    /// Finds the outermost typed failure in a chain.
    pub fn find(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|cause| cause.downcast_ref::<Self>())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.id()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }

    #[test]
    fn a_typed_failure_is_found_under_context() {
        let error = anyhow::Error::new(Error::new(Code::LockBusy, "lock tenant acme"))
            .context("create tenant acme");
        assert_eq!(Error::find(&error).map(|found| found.code), Some(Code::LockBusy));
    }
}
