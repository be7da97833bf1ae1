//! What is in force, and who said so.

use std::path::PathBuf;

use crate::model::connection::{Origin, ShownParameter};

/// The configuration as it was resolved. Holds no secret.
#[derive(Debug)]
pub struct Configuration {
    /// The file; without one, a URL or the environment names the only cluster.
    pub file: Option<PathBuf>,
    /// The clusters.
    pub clusters: Vec<ShownCluster>,
    /// Naming and other values of the fleet, in the order of their paths.
    pub values: Vec<ShownValue>,
}

/// One value of the fleet.
#[derive(Debug)]
pub struct ShownValue {
    /// Its path in the file: `isolation.schema.role`.
    pub path: String,
    /// The value in force.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

/// One cluster.
#[derive(Debug)]
pub struct ShownCluster {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: Option<String>,
    /// What tenantctl may open there.
    pub max_connections: usize,
    /// Every connection parameter, with its origin.
    pub parameters: Vec<ShownParameter>,
    /// What was passed over while resolving.
    pub warnings: Vec<String>,
}
