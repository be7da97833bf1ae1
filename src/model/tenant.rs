//! Tenants: who they are, how they are isolated, and where they live.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ident::Ident;
use crate::error::{Code, Error};

/// A customer's slug: `[a-z][a-z0-9_-]{0,47}`. Never a SQL name itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TenantId(String);

impl TenantId {
    /// The longest id, in characters.
    pub const MAX: usize = 48;

    /// Checks a slug.
    ///
    /// # Errors
    ///
    /// [`Code::Usage`] with the first thing that is wrong with it.
    pub fn new(id: impl Into<String>) -> Result<Self, Error> {
        let id = id.into();
        let refused = |why: &str| {
            Err(Error::new(Code::Usage, format!("{id:?} is not a tenant id: {why}")).hint(
                "an id is 1 to 48 characters: a lower-case letter, then lower-case letters, digits, '-' or '_'",
            ))
        };
        let Some(first) = id.chars().next() else {
            return refused("it is empty");
        };
        if !first.is_ascii_lowercase() {
            return refused("it must begin with a lower-case letter a-z");
        }
        if let Some(wrong) = id
            .chars()
            .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(*c)))
        {
            return refused(&format!("it holds {wrong:?}"));
        }
        if id.len() > Self::MAX {
            return refused(&format!("it is {} characters long", id.len()));
        }
        Ok(Self(id))
    }

    /// The slug.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The slug as naming templates use it: `-` becomes `_`.
    pub fn in_names(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self, Error> {
        Self::new(id)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// How a tenant is kept apart from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Rows in shared tables, guarded by row-level security.
    Shared,
    /// A schema of its own.
    Schema,
    /// A database of its own.
    Database,
}

impl Isolation {
    /// All models, cheapest first.
    pub const ALL: [Self; 3] = [Self::Shared, Self::Schema, Self::Database];

    /// The word in flags, TOML, JSON and the registry.
    pub fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Schema => "schema",
            Self::Database => "database",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Isolation {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|isolation| isolation.word() == word).ok_or_else(|| {
            Error::new(Code::Usage, format!("{word:?} is not an isolation model"))
                .hint("use shared, schema or database")
        })
    }
}

/// Where a tenant stands in its life. Only a plan moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being made: never routable.
    Provisioning,
    /// Ready.
    Active,
    /// Kept, and closed to its application.
    Suspended,
    /// On its way to another place.
    Moving,
    /// Closed, and kept until its grace is over.
    Deleting,
    /// Being removed: there is no way back, and what is left of it is nobody's.
    Deleted,
    /// Gone. Its id stays its own.
    Purged,
}

impl State {
    /// All states, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Provisioning,
        Self::Active,
        Self::Suspended,
        Self::Moving,
        Self::Deleting,
        Self::Deleted,
        Self::Purged,
    ];

    /// The word in JSON and the registry.
    pub fn word(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Moving => "moving",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Purged => "purged",
        }
    }

    /// Whether its data are there to be worked on: of the others nothing is left, or nothing whole.
    pub fn has_data(self) -> bool {
        !matches!(self, Self::Deleted | Self::Purged)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| Error::new(Code::RegistryNewer, format!("{word:?} is not a state")))
    }
}

/// One PostgreSQL server, by the name the fleet gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ClusterName(String);

impl ClusterName {
    /// The cluster of a fleet that is just a URL.
    pub const DEFAULT: &'static str = "default";

    /// Checks a name: letters, digits, `-`, `_` and `.`, up to 63 characters.
    ///
    /// # Errors
    ///
    /// [`Code::Config`] when it is empty, too long or holds anything else.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let fits = !name.is_empty()
            && name.len() <= 63
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if fits {
            Ok(Self(name))
        } else {
            Err(Error::new(Code::Config, format!("{name:?} is not a cluster name"))
                .hint("use 1 to 63 letters, digits, '-', '_' or '.'"))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where one tenant lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Placement {
    /// The server.
    pub cluster: ClusterName,
    /// The database on it.
    pub database: Ident,
    /// The schema in that database.
    pub schema: Ident,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", self.cluster, self.database, self.schema))
    }
}

/// A tenant as the registry, or the list in `tenants.toml`, knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The slug.
    pub id: TenantId,
    /// The identity that never changes.
    pub uuid: Uuid,
    /// Its value in the tenant column of shared tables, as text.
    pub key: String,
    /// How it is isolated.
    pub isolation: Isolation,
    /// Where it lives.
    pub placement: Placement,
    /// Who owns its objects. Nobody can log in as this role.
    pub owner: Ident,
    /// What the application becomes; the first is the main one. Never empty.
    pub roles: Vec<Ident>,
    /// The tier, by name.
    pub tier: Option<String>,
    /// The region its data must stay in.
    pub region: Option<String>,
    /// Free labels, for selections and waves.
    pub labels: BTreeMap<String, String>,
    /// Where it stands in its life.
    pub state: State,
}

impl Tenant {
    /// The role that the application uses.
    pub fn role(&self) -> &Ident {
        &self.roles[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_are_refused_with_a_reason() {
        for id in
            ["", "Acme", "1st", "a b", "a\"b", "a;drop", "ünï", "a'b", "-a", "_a", "a.b", "a\0"]
        {
            assert!(TenantId::new(id).is_err(), "{id:?}");
        }
        assert!(TenantId::new("a".repeat(49)).is_err());
        assert!(TenantId::new("a".repeat(48)).is_ok());
        assert!(TenantId::new("acme-eu_2").is_ok());
    }

    #[test]
    fn ids_lose_their_hyphens_in_names() {
        assert_eq!(TenantId::new("acme-eu").unwrap().in_names(), "acme_eu");
    }
}
