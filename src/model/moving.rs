//! A tenant on its way to another isolation model, database or cluster.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

use super::ident::Ident;
use super::migration::Version;
use super::tenant::{Isolation, Placement, Tenant, TenantId};
use crate::error::{Code, Error};

/// One of the two places of a move, and who works there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The isolation model there.
    pub isolation: Isolation,
    /// Where it is.
    pub placement: Placement,
    /// Who owns the objects there.
    pub owner: Ident,
    /// What the application becomes there.
    pub roles: Vec<Ident>,
}

impl Home {
    /// The tenant as it is, or would be, in this place.
    #[must_use]
    pub fn tenant(&self, tenant: &Tenant) -> Tenant {
        Tenant {
            isolation: self.isolation,
            placement: self.placement.clone(),
            owner: self.owner.clone(),
            roles: self.roles.clone(),
            ..tenant.clone()
        }
    }
}

impl From<&Tenant> for Home {
    fn from(tenant: &Tenant) -> Self {
        Self {
            isolation: tenant.isolation,
            placement: tenant.placement.clone(),
            owner: tenant.owner.clone(),
            roles: tenant.roles.clone(),
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.placement, self.isolation)
    }
}

/// How rows get to the new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// They are copied while the tenant writes; what it wrote meanwhile is read from the server's
    /// log and applied. The tenant cannot write while the last of it is applied and all is compared.
    Replication,
    /// The tenant cannot write while they are copied and compared.
    Freeze,
}

/// How far a move has come, as the registry records it. What was done within a phase is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The registry says the old place.
    Moving,
    /// The registry says the new place; the old one is closed and kept.
    Kept,
    /// The old place is being removed.
    Finishing,
    /// The registry says the old place (again); the new one is being removed.
    Aborting,
    /// The tenant lives in the new place, and only there.
    Done,
    /// The tenant lives in the old place, and only there.
    Aborted,
}

macro_rules! words {
    ($name:ident, $what:literal, $($variant:ident => $word:literal),* $(,)?) => {
        impl $name {
            /// The word in JSON and the registry.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(word: &str) -> Result<Self, Error> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Error::new(
                        Code::RegistryNewer,
                        format!("{word:?} is not a {} of a move", $what),
                    )),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words!(Method, "method", Replication => "replication", Freeze => "freeze");
words!(
    Phase, "phase",
    Moving => "moving",
    Kept => "kept",
    Finishing => "finishing",
    Aborting => "aborting",
    Done => "done",
    Aborted => "aborted",
);

/// The rows of one table, in both places the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The table.
    pub table: Ident,
    /// How many rows.
    pub rows: i64,
    /// A hash over all of them that does not depend on their order.
    pub hash: String,
}

/// A move as the registry records it.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// Its id: a UUID of version 7.
    pub id: Uuid,
    /// Who moves.
    pub tenant: TenantId,
    /// From where.
    pub source: Home,
    /// To where.
    pub target: Home,
    /// How rows get there.
    pub method: Method,
    /// How far it has come.
    pub phase: Phase,
    /// The version of the schema in both places.
    pub version: Option<Version>,
    /// Whether the new place holds a complete copy.
    pub loaded: bool,
    /// What the copy saw, as the server printed it, where changes are followed from there.
    pub snapshot: Option<String>,
    /// The tables that were compared while nobody could write; none before that.
    pub sums: Option<Vec<Sum>>,
    /// What closing the old place to readers took away, to be given back by an abort.
    pub sealed: Option<serde_json::Value>,
    /// Since when the tenant cannot write, for as long as it cannot.
    pub frozen_for: Option<Duration>,
    /// How long it could not write before that, in all.
    pub unwritable: Duration,
    /// How long ago it began.
    pub age: Duration,
}

impl Move {
    /// How long the tenant could not write, until now.
    pub fn could_not_write(&self) -> Duration {
        self.unwritable + self.frozen_for.unwrap_or_default()
    }
}
