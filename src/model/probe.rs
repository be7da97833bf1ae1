//! What a live probe tried, and what it observed. Judging it is the audit's business.

use super::ident::{Ident, QualifiedName};
use super::tenant::{Isolation, TenantId};

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attempt {
    /// A tenant looked for its own row: without it, seeing nothing proves nothing.
    Control,
    /// Read another tenant's rows.
    Read,
    /// Change rows without naming any.
    Update,
    /// Remove rows without naming any.
    Delete,
    /// Add a row in another tenant's name.
    Insert,
    /// Give one's own rows to another tenant.
    Move,
}

impl Attempt {
    /// The SQL command.
    pub fn word(self) -> &'static str {
        match self {
            Self::Control | Self::Read => "SELECT",
            Self::Update | Self::Move => "UPDATE",
            Self::Delete => "DELETE",
            Self::Insert => "INSERT",
        }
    }
}

/// In which tenant's name a session spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    /// The acting tenant's.
    Own,
    /// A tenant's that does not exist, so that every row it touches is somebody else's.
    Stranger,
    /// Nobody's: the setting was never set in the session.
    Unset,
    /// Nobody's: the setting is the empty string, which is what a pooled session is left with.
    Empty,
    /// The role alone says who it is (a schema or a database of its own).
    Role,
}

impl Context {
    /// How a message says it.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Own => "in its own context",
            Self::Stranger => "in the context of a tenant that does not exist",
            Self::Unset => "with the tenant setting never set",
            Self::Empty => "with the tenant setting empty",
            Self::Role => "under its role",
        }
    }
}

/// How it was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The statement ran, and was rolled back.
    Statement,
    /// The effective policy was evaluated over a made-up row of the target.
    Predicate,
}

/// What was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many rows that are not the acting tenant's (for [`Attempt::Control`]: its own).
    Rows(u64),
    /// The server let the statement through; it was written so as to touch no row.
    Allowed,
    /// The server refused, by privilege or by policy (SQLSTATE 42501).
    Refused,
    /// The row got past privileges and policies, and broke on a constraint.
    Constraint(String),
    /// It failed for a reason that says nothing about isolation.
    Failed {
        /// SQLSTATE.
        sqlstate: String,
        /// The server's message.
        message: String,
    },
    /// It was not tried.
    NotProbed(String),
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The isolation model under which the target lives.
    pub isolation: Isolation,
    /// Who acted.
    pub acting: TenantId,
    /// Whose data was aimed at.
    pub target: TenantId,
    /// The role under which the attempt ran.
    pub role: Ident,
    /// The relation.
    pub relation: QualifiedName,
    /// What was tried.
    pub attempt: Attempt,
    /// In whose name.
    pub context: Context,
    /// How.
    pub method: Method,
    /// What was observed.
    pub outcome: Outcome,
}

impl Probe {
    /// Whether something was observed that must not be possible.
    pub fn crossed(&self) -> bool {
        self.attempt != Attempt::Control
            && match self.outcome {
                Outcome::Rows(rows) => rows > 0,
                Outcome::Allowed | Outcome::Constraint(_) => true,
                Outcome::Refused | Outcome::Failed { .. } | Outcome::NotProbed(_) => false,
            }
    }
}
