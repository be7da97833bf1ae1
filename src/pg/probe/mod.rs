//! The live probe: acts as the application, as one tenant against another, and takes it all back.
//!
//! Promises that everything happens in one transaction that is rolled back, whatever happens: no
//! statement here commits. Each attempt has a savepoint of its own, and limits on time and on locks.
//! What a rollback does not undo is little: sequences advance, and triggers that speak to the
//! outside would have spoken. Refuses to run code that the application could have written while the
//! session may become a superuser again.
//!
//! Nothing that was not observed is claimed: an attempt that could not be made says why.

mod canary;
mod guess;
mod pattern;
mod predicate;
mod rows;
mod session;
mod shape;
mod shared;
mod territory;
mod trust;

use tokio_postgres::Client;

use crate::audit::Survey;
use crate::error::Error;
use crate::model::catalog::Catalog;
use crate::model::layout::Estate;
use crate::model::probe::Probe;
use crate::pg::audit::Manner;
use crate::pg::observe::catalog::failed;
use crate::sql;

use session::Session;

/// Tables with more rows than this are not written to: a statement that names no row would visit
/// them all, and leave as many dead ones behind.
const SMALL: f32 = 10_000.0;

/// What every attempt is limited to, besides its time. Idle time is limited because the session may
/// lose its client.
const LIMITS: &str =
    "SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '60s'";

/// Tries what must not be possible in the database that a session is connected to.
///
/// Needs a session that is in no transaction, and whose role may `SET ROLE` to the tenants' roles;
/// otherwise the probes say which `GRANT` is missing. A fresh session also shows what happens when
/// the tenant setting was never set. Dropping the future leaves the transaction open: close the
/// session then.
///
/// # Errors
///
/// [`Code::Unreachable`](crate::error::Code::Unreachable) when the session breaks. Refusals and
/// failures of single attempts are observations, not errors.
pub(super) async fn probe(
    client: &Client,
    catalog: &Catalog,
    estate: &Estate,
    manner: &Manner,
) -> Result<Vec<Probe>, Error> {
    let timeout = manner.timeout.as_millis().max(1);
    client
        .batch_execute(&format!("BEGIN; SET LOCAL statement_timeout = {timeout}; {LIMITS}"))
        .await
        .map_err(|error| failed("begin to probe", error))?;
    let tried = attempts(client, catalog, estate).await;
    let ended = client.batch_execute("ROLLBACK").await;
    let tried = tried?;
    ended.map_err(|error| failed("roll the probes back", error))?;
    Ok(tried)
}

async fn attempts(
    client: &Client,
    catalog: &Catalog,
    estate: &Estate,
) -> Result<Vec<Probe>, Error> {
    let survey = Survey::new(catalog, estate, &[]);
    let session = Session::new(client, catalog);
    // Triggers may name things as the application sees them. A superuser's session keeps its own
    // path: what the application can create must not be found by it.
    if let Some(schema) = estate.shared_schema().filter(|_| !session.superuser) {
        let path = sql!("SET LOCAL search_path = {}, public", schema);
        client
            .batch_execute(path.as_str())
            .await
            .map_err(|error| failed("set the search path of the probes", error))?;
    }
    let mut probes = shared::probe(&session, &survey).await?;
    probes.extend(territory::probe(&session, &survey).await?);
    Ok(probes)
}
