//! What an audit of one database starts from: its catalogues, and live probes.

use super::observe::catalog::catalog;
use super::probe::probe;
use super::servers::Servers;
use super::session::Session;
use crate::error::Error;
use crate::model::catalog::Catalog;
use crate::model::layout::Estate;
use crate::model::probe::{Probe, ProbeOptions};

/// Reads the catalogues of the session's database. Changes nothing.
///
/// # Errors
///
/// Whatever the server refuses to show.
pub async fn read_catalog(session: &Session, estate: &Estate) -> Result<Catalog, Error> {
    catalog(session.client(), session.cluster(), estate).await
}

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
    options: ProbeOptions,
) -> Result<(Vec<Probe>, Vec<String>), Error> {
    probe(servers, catalog, estate, options).await
}
