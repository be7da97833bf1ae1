//! Tenants, as `list` and `show` answer them.

use jiff::{SignedDuration, Timestamp};

use crate::model::credential::Validity;
use crate::model::ident::Ident;
use crate::model::migration::Version;
use crate::model::tenant::Tenant;

/// The tenants of a fleet.
#[derive(Debug)]
pub struct Tenants {
    /// The tenants, in the order of their ids.
    pub tenants: Vec<Listed>,
    /// Who knows them.
    pub source: Source,
}

/// Who knows the tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry.
    Registry,
    /// The list in `tenants.toml`: there is no registry.
    Declared,
}

/// One tenant and what its schema says.
#[derive(Debug)]
pub struct Listed {
    /// The tenant.
    pub tenant: Tenant,
    /// The version that its history records; none when nothing was ever applied.
    pub version: Option<Version>,
    /// Why the version could not be read.
    pub unread: Option<String>,
    /// The current password of its role, when the registry knows one.
    pub password: Option<KnownPassword>,
}

impl Listed {
    /// A tenant and its version, or why that could not be read.
    pub fn new(tenant: Tenant, version: Option<Version>, unread: Option<String>) -> Self {
        Self { tenant, version, unread, password: None }
    }
}

/// What the registry knows of a current password.
#[derive(Clone, Debug)]
pub struct KnownPassword {
    /// The role that logs in with it.
    pub login: Ident,
    /// Since when; unknown where something else has set it.
    pub issued: Option<Timestamp>,
    /// How long that is ago.
    pub age: Option<SignedDuration>,
    /// Until when it works.
    pub until: Validity,
}
