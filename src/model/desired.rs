//! What one tenant should be: the request, the tier and the naming templates, resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::ident::Ident;
use super::layout::Tenancy;
use super::migration::Version;
use super::tenant::Tenant;
use crate::error::{Code, Error};

/// A tenant as it should stand on the server.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Who it is and where it lives.
    pub tenant: Tenant,
    /// Whether [`Tenant::roles`] serve this tenant alone, or every tenant of the layout.
    pub roles_are_its_own: bool,
    /// The role that only reads, if one is wanted.
    pub readonly: Option<Ident>,
    /// The pool's login, which becomes the tenant's roles; without one the roles log in themselves.
    pub login_role: Option<Ident>,
    /// What its tier allows.
    pub limits: Limits,
    /// Whether its database is a copy of one that has every migration already.
    pub copying: Copying,
    /// The version that its schema is brought to while it is made; the newest without one.
    pub version: Option<Version>,
    /// Whether it stays `provisioning` when all is made: its rows are still to come.
    pub closed: bool,
    /// How its rows are told apart, for shared tables.
    pub sharing: Option<Sharing>,
    /// The passwords that are to be issued now, by role.
    pub credentials: BTreeMap<Ident, Credential>,
}

impl Desired {
    /// Every role that reaches the tenant's objects without owning them.
    pub fn users(&self) -> impl Iterator<Item = &Ident> {
        self.tenant.roles.iter().chain(&self.readonly)
    }
}

/// When a new database is a copy of a template instead of being migrated itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copying {
    /// Always migrated: its files do something that a copy would not repeat.
    #[default]
    Never,
    /// Where copying is faster.
    Auto,
    /// From the second tenant on.
    Always,
}

/// What tells rows of shared tables apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Column and setting.
    pub tenancy: Tenancy,
    /// The type of the tenant's key.
    pub key_type: KeyType,
}

/// The type of a tenant's key in shared tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// `uuid`.
    #[default]
    Uuid,
    /// `integer`.
    Integer,
    /// `bigint`.
    Bigint,
    /// `text`.
    Text,
}

impl KeyType {
    const ALL: [Self; 4] = [Self::Uuid, Self::Integer, Self::Bigint, Self::Text];

    /// The name of the type in SQL and TOML.
    pub fn word(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Text => "text",
        }
    }

    /// Whether a key's text is a value of this type.
    pub fn accepts(self, key: &str) -> bool {
        match self {
            Self::Uuid => uuid::Uuid::parse_str(key).is_ok(),
            Self::Integer => key.parse::<i32>().is_ok(),
            Self::Bigint => key.parse::<i64>().is_ok(),
            Self::Text => !key.is_empty() && !key.contains('\0'),
        }
    }
}

impl FromStr for KeyType {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
            Error::new(Code::Config, format!("{word:?} is not a type of tenant key"))
                .hint("use uuid, integer, bigint or text")
        })
    }
}

/// What a tier allows one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions that the tenant's own roles may hold at once.
    pub connection_limit: Option<i32>,
    /// Settings by name, such as `statement_timeout`, in PostgreSQL's own spelling.
    pub settings: BTreeMap<String, String>,
}

impl Limits {
    /// Whether the tier limits nothing.
    pub fn is_empty(&self) -> bool {
        self.connection_limit.is_none() && self.settings.is_empty()
    }
}

/// A password as the server stores it: never the password itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The SCRAM verifier (RFC 5803), computed by the client.
    pub verifier: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}
