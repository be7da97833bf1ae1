//! What an audit of one database starts from: its catalogues, and live probes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::observe::catalog::catalog;
use super::probe::probe;
use super::servers::Servers;
use super::session::Session;
use crate::audit::Pairs;
use crate::error::Error;
use crate::model::catalog::Catalog;
use crate::model::layout::Estate;
use crate::model::probe::Probe;
use crate::model::tenant::TenantId;

/// Reads the catalogues of the session's database. Changes nothing.
///
/// # Errors
///
/// Whatever the server refuses to show.
pub async fn read_catalog(session: &Session, estate: &Estate) -> Result<Catalog, Error> {
    catalog(session.client(), session.cluster(), estate).await
}

/// How probes are made.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Which tenants act against which.
    pub pairs: Pairs,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// The tenants that are asked about; pairs of others are not tried.
    pub asked: Arc<BTreeSet<TenantId>>,
    /// Whether `TRUNCATE` is run, which locks a table against everybody for as long as it takes.
    pub truncate: bool,
}

/// So many sessions an audit of one database holds at once: the one that read the catalogues, the one
/// that made a role to log in with, and that role's.
pub const SESSIONS: usize = 3;

/// Acts as the application inside transactions that are always rolled back; answers what it observed,
/// and what people should know about how it came in. It logs in by itself: with the application's
/// credentials where there are any, otherwise with a role that is made for it and removed.
///
/// # Errors
///
/// When a session breaks. What a probe is refused is what it observed.
pub async fn run_probes(
    servers: &Servers,
    catalog: &Catalog,
    estate: &Estate,
    manner: &Manner,
) -> Result<(Vec<Probe>, Vec<String>), Error> {
    probe(servers, catalog, estate, manner).await
}

/// Removes the roles that audits made to log in with and did not live to remove; those of audits that
/// are at work stay.
///
/// # Errors
///
/// When the session breaks. What cannot be removed is left for whoever may.
pub async fn remove_probers(session: &Session) -> Result<(), Error> {
    super::probe::sweep(session).await
}
