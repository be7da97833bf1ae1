//! What a live probe tried, and what it observed. Judging it is the audit's business.

use super::ident::Ident;
use super::layout::Setting;
use super::tenant::{Isolation, TenantId};

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attempt {
    /// A tenant looked for its own row: without it, seeing nothing proves nothing.
    Control,
    /// Log in to another tenant's database.
    Connect,
    /// Read another tenant's rows.
    Read,
    /// Export them.
    Copy,
    /// See them from inside a condition, before a filter removes them.
    Peek,
    /// Lock them.
    Lock,
    /// Learn something from them: what one sees is not the same without them.
    Influence,
    /// Change rows without naming any.
    Update,
    /// Remove rows without naming any.
    Delete,
    /// Change rows without naming any, by `MERGE`.
    Merge,
    /// Change a row by adding one with the same key.
    Upsert,
    /// Add a row in another tenant's name.
    Insert,
    /// Add a row in nobody's name, which everybody sees.
    InsertForAll,
    /// Add a row with a key that another tenant has, or one that points at another tenant's.
    Collide,
    /// Give one's own rows to another tenant.
    Move,
    /// Empty the table.
    Truncate,
    /// Call a routine.
    Call,
    /// Write rows of one's own, and see whether another tenant's change.
    SideEffect,
}

impl Attempt {
    /// The SQL command.
    pub fn word(self) -> &'static str {
        match self {
            Self::Control | Self::Read | Self::Peek | Self::Influence => "SELECT",
            Self::Connect => "CONNECT",
            Self::Copy => "COPY",
            Self::Lock => "SELECT FOR UPDATE",
            Self::Update | Self::Move => "UPDATE",
            Self::Delete => "DELETE",
            Self::Merge => "MERGE",
            Self::Upsert => "INSERT ON CONFLICT",
            Self::Insert | Self::InsertForAll | Self::Collide => "INSERT",
            Self::Truncate => "TRUNCATE",
            Self::Call => "EXECUTE",
            Self::SideEffect => "WRITE",
        }
    }
}

/// In which tenant's name a session spoke.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    /// The acting tenant's.
    Own,
    /// The acting tenant's, by a statement that was prepared when the session was another's.
    Prepared,
    /// A tenant's that does not exist, so that every row it touches is somebody else's.
    Stranger,
    /// Nobody's: the setting was never set in the session.
    Unset,
    /// Nobody's: the setting is the empty string, which is what a pooled session is left with.
    Empty,
    /// Nobody's: the setting holds what is no tenant's key.
    Malformed,
    /// A tenant's whose key has something in common with the target's: one is the beginning of the
    /// other, or they differ in case.
    Alike,
    /// The acting tenant's, with another setting that a policy reads.
    Switched(Setting, String),
    /// The acting tenant's, after `SET ROLE` to another role that the application can become.
    Became(Ident),
    /// The role alone says who it is (a schema or a database of its own).
    Role,
}

impl Context {
    /// How a message says it.
    pub fn phrase(&self) -> String {
        match self {
            Self::Own => "in its own context".to_owned(),
            Self::Prepared => "in its own context, by a statement prepared in another's".to_owned(),
            Self::Stranger => "in the context of a tenant that does not exist".to_owned(),
            Self::Unset => "with the tenant setting never set".to_owned(),
            Self::Empty => "with the tenant setting empty".to_owned(),
            Self::Malformed => "with a tenant setting that is nobody's".to_owned(),
            Self::Alike => "in the context of a tenant whose key is much like it".to_owned(),
            Self::Switched(setting, value) => format!("once {setting} is {value:?}"),
            Self::Became(role) => format!("after SET ROLE {role}"),
            Self::Role => "under its role".to_owned(),
        }
    }

    /// Whether nobody's name is spoken in.
    pub fn open(&self) -> bool {
        matches!(self, Self::Unset | Self::Empty | Self::Malformed)
    }

    /// Whether a sound policy may stumble over it: it is no tenant's.
    pub fn nobodys(&self) -> bool {
        self.open() || matches!(self, Self::Alike | Self::Stranger)
    }

    /// Whether it takes a statement that the application may issue, and ordinarily does not.
    pub fn contrived(&self) -> bool {
        matches!(self, Self::Malformed | Self::Switched(..) | Self::Became(_))
    }
}

/// How it was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The statement ran, and was rolled back.
    Statement,
    /// The effective policy was evaluated over made-up rows of the target.
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
    /// What it is that was tried: `table`, `view`, `function`, `database`, …
    pub kind: &'static str,
    /// Its name, as SQL reads it.
    pub object: String,
    /// What was tried.
    pub attempt: Attempt,
    /// In whose name.
    pub context: Context,
    /// How.
    pub method: Method,
    /// What was observed.
    pub outcome: Outcome,
    /// The statements that show it, from `BEGIN` to `ROLLBACK`; empty when there is nothing to show.
    pub reproduce: String,
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

    /// Why it says nothing; `None` when it says something.
    pub fn silent(&self) -> Option<String> {
        match &self.outcome {
            Outcome::NotProbed(reason) => Some(reason.clone()),
            Outcome::Failed { sqlstate, message } => Some(format!("{message} ({sqlstate})")),
            Outcome::Rows(0) if self.attempt == Attempt::Control => {
                Some("the tenant does not see its own row".to_owned())
            }
            Outcome::Rows(_) | Outcome::Allowed | Outcome::Refused | Outcome::Constraint(_) => None,
        }
    }

    /// Whether another probe answers what this one could not: the same was tried on the same object,
    /// as the same role and in the same name.
    pub fn answers(&self, silent: &Self) -> bool {
        self.silent().is_none()
            && self.attempt != Attempt::Control
            && (self.object.as_str(), &self.role, self.attempt, &self.context)
                == (silent.object.as_str(), &silent.role, silent.attempt, &silent.context)
    }
}
