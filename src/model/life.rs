//! Where a tenant stands in its life, and what brings it back.

use serde::{Deserialize, Serialize};

use super::ident::Ident;
use super::tenant::State;

/// What the registry keeps of a tenant's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it stands.
    pub state: State,
    /// What it was before it was deleted, or before it was moved.
    pub before: Option<State>,
    /// The doors that were open before they were closed.
    pub closed: Option<Doors>,
    /// When its grace ends, in UTC, as RFC 3339 has it.
    pub delete_after: Option<String>,
    /// Whether its grace is over, by the server's clock.
    pub expired: bool,
    /// What keeps it from being purged.
    pub holds: Vec<Hold>,
}

impl Life {
    /// A life without anything but a state.
    pub fn new(state: State) -> Self {
        Self {
            state,
            before: None,
            closed: None,
            delete_after: None,
            expired: false,
            holds: Vec::new(),
        }
    }
}

/// Why a tenant must be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The reason, in the words of whoever set it.
    pub reason: String,
    /// The role that set it.
    pub by: String,
    /// When, in UTC, as RFC 3339 has it.
    pub since: String,
}

/// What lets an application in: everything that is taken away while a tenant is closed, and given
/// back afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// The tenant's own roles that may log in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<Ident>,
    /// Who may use its schema, beside the owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Grant>,
    /// Who may connect to its database, beside the owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<Grant>,
    /// Whether its rows in shared tables can be reached, whose roles all tenants use.
    #[serde(default)]
    pub rows: bool,
}

/// A privilege that somebody has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// Who; nobody in particular is everybody.
    pub role: Option<Ident>,
    /// Whether with the right to pass it on.
    #[serde(default)]
    pub option: bool,
}
