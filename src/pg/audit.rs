//! What an audit of one database starts from: its catalogues, and live probes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::observe::catalog::catalog;
use super::probe::probe;
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
}

/// So many sessions an audit of one database holds at once.
pub const SESSIONS: usize = 1;

/// Acts as the tenants' roles inside a transaction that is always rolled back. Needs a session that
/// has run nothing else: a setting that was once set is never unset again.
///
/// # Errors
///
/// When the session breaks. What a probe is refused is what it observed.
pub async fn run_probes(
    session: &Session,
    catalog: &Catalog,
    estate: &Estate,
    manner: &Manner,
) -> Result<Vec<Probe>, Error> {
    probe(session.client(), catalog, estate, manner).await
}
