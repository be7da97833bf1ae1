//! Adopts schemas that something else has made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use super::Context;
use super::rewrite::{Consent, Done, Rewrite, RewriteOptions, Unit, session, units};
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::migration::{History, Version};
use crate::model::tenant::ClusterName;
use crate::pg;
use crate::plan::{self, pending::decide};
use crate::report::{Report, Rewriting, Status};

/// Records every version up to `to` as applied, in each selected schema that has objects and no
/// history, and runs none of them.
///
/// # Errors
///
/// When nobody knows the tenants, when no set has the version, and when nobody agrees. A schema
/// that cannot be adopted is part of the answer.
pub async fn baseline(
    cx: &Context<'_>,
    options: &RewriteOptions,
    to: Version,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (mut units, source) = units(cx, &options.selection).await?;
    known(&units, to)?;
    let occupied = occupied(cx, &units).await;
    for unit in units.iter_mut().filter(|unit| unit.error.is_none()) {
        let occupied = match occupied.get(&unit.placement.cluster, &unit.placement.database) {
            Ok(schemas) => schemas.contains(&unit.placement.schema),
            Err(error) => {
                unit.fail(error);
                continue;
            }
        };
        match plan::rewrite::baseline(unit.set, &unit.history, occupied, to) {
            Ok(changes) => unit.intend(changes),
            Err(error) => unit.fail(&error),
        }
    }
    let about = Value::Null;
    let verb = Rewriting::Baseline;
    let rewrite = Rewrite { verb, options, source, consent, started, about };
    rewrite
        .carry_out(cx, units, async |unit, session| {
            let changes = pg::baseline(session, &unit.schema(options), to).await?;
            Ok(Done { changes, refused: Vec::new(), left: None })
        })
        .await
}

/// A version that no selected tenant's files hold is a mistake, not a tenant's failure.
pub(super) fn known(units: &[Unit<'_>], to: Version) -> Result<(), Error> {
    match units.first() {
        Some(first) if units.iter().all(|unit| unit.set.get(to).is_none()) => {
            decide(first.set, &History::default(), Some(to)).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// The schemas in which something stands, database by database.
struct Occupied(BTreeMap<(ClusterName, Ident), Result<BTreeSet<Ident>, Error>>);

impl Occupied {
    fn get(&self, cluster: &ClusterName, database: &Ident) -> Result<&BTreeSet<Ident>, &Error> {
        static NONE: BTreeSet<Ident> = BTreeSet::new();
        self.0.get(&(cluster.clone(), database.clone())).map_or(Ok(&NONE), Result::as_ref)
    }
}

async fn occupied(cx: &Context<'_>, units: &[Unit<'_>]) -> Occupied {
    let mut databases: BTreeMap<(ClusterName, Ident), Vec<&Unit<'_>>> = BTreeMap::new();
    // A history that has begun says enough by itself.
    let wanted = |unit: &&Unit<'_>| unit.status == Status::UpToDate && unit.history.0.is_empty();
    for unit in units.iter().filter(wanted) {
        let database = (unit.placement.cluster.clone(), unit.placement.database.clone());
        databases.entry(database).or_default().push(unit);
    }
    let mut found = BTreeMap::new();
    for (database, inside) in databases {
        let read = async {
            let schemas: Vec<&Ident> = inside.iter().map(|unit| &unit.placement.schema).collect();
            match inside.first() {
                Some(first) => pg::occupied(&session(cx, first).await?, &schemas).await,
                None => Ok(BTreeSet::new()),
            }
        };
        found.insert(database, read.await);
    }
    Occupied(found)
}
