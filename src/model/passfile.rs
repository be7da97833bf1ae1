//! The lines of a password file (`~/.pgpass`), and which of them answers for a server.
//!
//! A connection keeps the whole file instead of one password, because the answer differs from one
//! host of a list to the next, and from one database of a cluster to the next.

use std::path::PathBuf;

use super::secret::Secret;

/// One field of a line: a text, or `*` which stands for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `*`
    Any,
    /// This text and no other.
    Exactly(String),
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(exact) => exact == text,
        }
    }
}

/// One line: `host:port:database:user:password`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassLine {
    /// Host name, address, socket directory, or `localhost` for the default socket directory.
    pub host: Pattern,
    /// Port, as text.
    pub port: Pattern,
    /// Database.
    pub database: Pattern,
    /// User.
    pub user: Pattern,
    /// What to send.
    pub password: Secret,
}

/// A password file that was read: its first matching line answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its lines, in order.
    pub lines: Vec<PassLine>,
}

impl PassFile {
    /// The password of the first line that matches all four fields.
    pub fn find(&self, host: &str, port: u16, database: &str, user: &str) -> Option<&Secret> {
        let port = port.to_string();
        self.lines
            .iter()
            .find(|line| {
                line.host.matches(host)
                    && line.port.matches(&port)
                    && line.database.matches(database)
                    && line.user.matches(user)
            })
            .map(|line| &line.password)
    }
}
