//! What an audit of one database starts from: its catalogues, and live probes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::observe::catalog::catalog;
use super::observe::cluster::cluster_facts;
use super::probe::probe;
use super::servers::Servers;
use super::session::Session;
use crate::audit::Pairs;
use crate::error::Error;
use crate::model::catalog::Catalog;
use crate::model::cluster::ClusterFacts;
use crate::model::ident::Ident;
use crate::model::layout::Estate;
use crate::model::probe::Probe;
use crate::model::tenant::TenantId;

/// Reads what belongs to the session's cluster, and is the same in each of its databases. Changes
/// nothing.
///
/// # Errors
///
/// Whatever the server refuses to show.
pub async fn read_cluster(session: &Session) -> Result<ClusterFacts, Error> {
    cluster_facts(session.client()).await
}

/// Reads the catalogues of the session's database, beside what is known of its cluster. Changes
/// nothing.
///
/// # Errors
///
/// Whatever the server refuses to show.
pub async fn read_catalog(
    session: &Session,
    facts: &ClusterFacts,
    estate: &Estate,
) -> Result<Catalog, Error> {
    let database = Ident::new(session.database().to_owned())?;
    catalog(session.client(), (session.cluster(), &database), facts, estate).await
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
/// that makes and drops a role to log in with, and that role's.
pub const SESSIONS: usize = 3;

/// Acts as the application inside transactions that are always rolled back; answers what it observed,
/// and what people should know about how it came in. It logs in by itself: with the application's
/// credentials where there are any, otherwise with a role that is made for it and dropped when it is
/// done, also when it is killed. The session is the one that read the catalogues. `told` hears, in
/// words, which tenants are being tried.
///
/// # Errors
///
/// When a session breaks. What a probe is refused is what it observed.
pub async fn run_probes(
    servers: &Servers,
    session: &Session,
    catalog: &Catalog,
    estate: &Estate,
    manner: &Manner,
    told: &dyn Fn(&str),
) -> Result<(Vec<Probe>, Vec<String>), Error> {
    probe(servers, session, catalog, estate, manner, told).await
}
