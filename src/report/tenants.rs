//! Tenants, as `list` and `show` answer them.

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
}
