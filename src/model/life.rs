//! Where a tenant stands in its life, and what brings it back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::desired::Sharing;
use super::ident::{Ident, QualifiedName};
use super::moving::Phase;
use super::tenant::{State, Tenant};

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
    /// How far its move has come, while one is open.
    pub moved: Option<Phase>,
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
            moved: None,
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
    /// Who may use which of its schemas, beside their owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Usage>,
    /// Who may connect to its database, beside the owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<Grant>,
    /// Whether its rows among those of others can be reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rows: bool,
}

impl Doors {
    /// Whether nobody comes in.
    pub fn are_closed(&self) -> bool {
        *self == Self::default()
    }
}

/// A privilege that somebody has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// Who; without a name it is everybody.
    pub role: Option<Ident>,
    /// Whether with the right to pass it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub option: bool,
}

/// USAGE of a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Usage {
    /// The schema.
    pub schema: Ident,
    /// Who has it.
    #[serde(flatten)]
    pub grant: Grant,
}

/// A tenant with what its configuration and the registry say of its roles.
#[derive(Clone, Debug)]
pub struct Household {
    /// The tenant, as it is registered.
    pub tenant: Tenant,
    /// Roles that serve this tenant alone, the owner excluded.
    pub own_roles: Vec<Ident>,
    /// Second logins of those roles, as far as they are there.
    pub second_logins: Vec<Ident>,
    /// Whether the owner's role is the tenant's alone.
    pub owner_is_its_own: bool,
    /// How its rows are told apart, for shared tables.
    pub sharing: Option<Sharing>,
}

impl Household {
    /// Every role that sessions of this tenant alone begin as.
    pub fn logins(&self) -> impl Iterator<Item = &Ident> {
        self.own_roles.iter().chain(&self.second_logins)
    }
}

/// How the doors of a tenant stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenDoors {
    /// Those that are open.
    pub doors: Doors,
    /// How shared tables are closed to tenants; none for tenants that share none.
    pub shared: Option<SharedDoor>,
    /// Roles that are not there any more.
    pub gone: BTreeSet<Ident>,
}

/// How shared tables are closed to tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedDoor {
    /// Who may read which tenants are closed; none where no tenant was ever closed.
    pub readers: Option<BTreeSet<Ident>>,
    /// Whether that table is bound to the current tenant by policies.
    pub guarded: bool,
    /// Roles that have a privilege on a table with the tenant column, beside the owner.
    pub users: BTreeSet<Ident>,
    /// Tables with the tenant column that do not consult who is closed.
    pub open: Vec<QualifiedName>,
}
