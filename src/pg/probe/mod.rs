//! The live probe: acts as the application, as one tenant against another, and takes it all back.
//!
//! Promises that everything happens in transactions that are rolled back, whatever happens: no
//! statement here commits, but for the role that is made to log in with where there is no other way,
//! and that the server drops when the audit is done, or gone. Each attempt has a savepoint of its own and goes to the server in one
//! message, with limits on time and on locks: what it locks is held for as long as it runs, and it
//! gives up a lock before the server looks for a deadlock, so that the application never pays.
//!
//! What a rollback does not undo is little, and avoided: sequences are not counted on, routines that
//! speak to the outside are not called, NOTIFY waits for a commit that never comes. Refuses to run
//! code that the application could have written while the session may become more than it.
//!
//! Nothing that was not observed is claimed: an attempt that could not be made says why.

mod calling;
mod canary;
mod door;
mod duel;
mod enter;
mod guess;
mod inventory;
mod judging;
mod mark;
mod pattern;
mod plant;
mod predicate;
mod prober;
mod prying;
mod reading;
mod session;
mod shape;
mod shared;
mod store;
mod territory;
mod trust;
mod writing;

use crate::audit::Survey;
use crate::error::Error;
use crate::model::catalog::Catalog;
use crate::model::layout::Estate;
use crate::model::probe::Probe;
use crate::pg::audit::Manner;
use crate::pg::{Servers, Session};

use door::Doors;

/// Tries what must not be possible in one database, and tells which tenants it has come to; answers
/// what was observed, and what people should know about how.
///
/// # Errors
///
/// [`Code::Unreachable`](crate::error::Code::Unreachable) when a session breaks. Refusals and
/// failures of single attempts are observations, not errors.
pub(super) async fn probe(
    servers: &Servers,
    keeper: &Session,
    catalog: &Catalog,
    estate: &Estate,
    manner: &Manner,
    told: &dyn Fn(&str),
) -> Result<(Vec<Probe>, Vec<String>), Error> {
    let survey = Survey::new(catalog, estate, &[]);
    door::tidy(keeper, &survey).await?;
    let doors = Doors::new(servers, keeper, &survey, manner.timeout, told);
    let tried = attempts(&doors, manner).await;
    let closed = doors.close().await;
    Ok((tried?, closed?))
}

async fn attempts(doors: &Doors<'_>, manner: &Manner) -> Result<Vec<Probe>, Error> {
    let mut probes = shared::probe(doors, manner).await?;
    probes.extend(territory::probe(doors, manner).await?);
    Ok(probes)
}
