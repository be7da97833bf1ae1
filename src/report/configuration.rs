//! What is in force, and who said so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::connection::ShownParameter;

/// The configuration as it was resolved. Holds no secret.
#[derive(Debug)]
pub struct Configuration {
    /// The file; without one, a URL or the environment names the only cluster.
    pub file: Option<PathBuf>,
    /// The registry: cluster and database.
    pub registry: (String, String),
    /// The clusters.
    pub clusters: Vec<ShownCluster>,
    /// Naming and other values of the fleet, by their path in the file.
    pub values: BTreeMap<String, String>,
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
