//! Mends histories that say something else than the files.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use super::Context;
use super::rewrite::{Consent, Done, Rewrite, RewriteOptions, units};
use crate::error::Error;
use crate::model::migration::{MigrationSet, Version};
use crate::pg;
use crate::plan::pending::decide;
use crate::plan::rewrite::{Mending, repair as mend};
use crate::report::{Report, Rewriting};

/// Makes the histories of the selected tenants say what the files say, where the SQL that was
/// applied is the files', and for the versions of `accepted`. Touches nothing but the history.
///
/// # Errors
///
/// When nobody knows the tenants, and when nobody agrees. A history that is still diverged
/// afterwards is part of the answer.
pub async fn repair(
    cx: &Context<'_>,
    options: &RewriteOptions,
    accepted: &BTreeSet<Version>,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (mut units, source) = units(cx, &options.selection).await?;
    for unit in units.iter_mut().filter(|unit| unit.error.is_none()) {
        let mending = mend(unit.set, &unit.history, accepted);
        let left = left(unit.set, &mending);
        unit.refused = mending.refused;
        unit.intend(mending.changes);
        if let Some(error) = left.filter(|_| options.dry_run || unit.changes.is_empty()) {
            unit.fail(&error);
        }
    }
    let about = Value::Null;
    let verb = Rewriting::Repair;
    let rewrite = Rewrite { verb, options, source, consent, started, about };
    rewrite
        .carry_out(cx, units, async |unit, session| {
            let mending = pg::repair(session, &unit.schema(options), accepted).await?;
            let left = left(unit.set, &mending);
            Ok(Done { changes: mending.changes, refused: mending.refused, left })
        })
        .await
}

/// Why the history still cannot be continued.
fn left(set: &MigrationSet, mending: &Mending) -> Option<Error> {
    let error = decide(set, &mending.after, None).err()?;
    Some(mending.unaccepted().unwrap_or(error))
}
