//! Takes migrations back.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Context;
use super::baseline::known;
use super::rewrite::{Consent, Done, Rewrite, RewriteOptions, Unit, units};
use super::select::Selection;
use crate::error::{Code, Error};
use crate::model::migration::{Undo, Version};
use crate::model::run::{RunKind, RunTarget};
use crate::model::tenant::{Isolation, TenantId};
use crate::pg::{self, ledger};
use crate::plan::rewrite::{Goal, RowChange, take_back};
use crate::report::{Report, Rewriting, Status};

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownTo {
    /// What this run applied, in the tenants in which it did.
    Run(String),
    /// Everything above this version.
    Version(Version),
}

/// So many tenants are named in a refusal.
const NAMED: usize = 5;

/// Runs the ways back of the selected tenants, newest first, one transaction per schema. Begins
/// nothing unless every one of them can be taken back.
///
/// # Errors
///
/// When nobody knows the tenants or the run, when one of them cannot be taken back, and when nobody
/// agrees. What the server refuses is part of the answer.
pub async fn down(
    cx: &Context<'_>,
    options: &RewriteOptions,
    to: &DownTo,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (selection, applied, about) = match to {
        DownTo::Version(_) => (options.selection.clone(), BTreeMap::new(), Value::Null),
        DownTo::Run(run) => {
            let (run, targets) = targets_of_run(cx, run).await?;
            let applied = applied(targets);
            if applied.is_empty() {
                return Err(Error::new(Code::NotFound, format!("run {run} has applied nothing"))
                    .hint("see what it did with: tenantctl runs show RUN")
                    .into());
            }
            let asked = &options.selection.tenants;
            let wanted = |id: &&TenantId| asked.is_empty() || asked.contains(id);
            let tenants: Vec<TenantId> = applied.keys().filter(wanted).cloned().collect();
            // Nobody would mean everybody to whoever picks.
            if tenants.is_empty() {
                let what = format!("run {run} has applied nothing in the selected tenants");
                return Err(Error::new(Code::NotFound, what).into());
            }
            let selection = Selection { tenants, ..options.selection.clone() };
            (selection, applied, json!({"run": run.to_string()}))
        }
    };
    let (mut units, source) = units(cx, &selection).await?;
    if let DownTo::Version(version) = to
        && version.0 != 0
    {
        known(&units, *version)?;
    }
    for unit in &mut units {
        decide(unit, to, &applied);
    }
    refuse(&units)?;
    let verb = Rewriting::Down;
    let rewrite = Rewrite { verb, options, source, consent, started, about };
    rewrite
        .carry_out(cx, units, async |unit, session| {
            let back: Vec<(&Undo, RowChange)> = unit
                .changes
                .iter()
                .filter_map(|change| Some((unit.set.undo(change.version)?, change.clone())))
                .collect();
            pg::take_back(session, &unit.schema(options), &back).await?;
            Ok(Done { changes: unit.changes.clone(), refused: Vec::new(), left: None })
        })
        .await
}

/// Reads what the ledger keeps of a run that has gone forward and is over, with its whole id.
async fn targets_of_run(cx: &Context<'_>, run: &str) -> Result<(Uuid, Vec<RunTarget>), Error> {
    let (cluster, database) = &cx.fleet.registry;
    let session = cx.servers.session(cluster, Some(database)).await?;
    if !ledger::exists(&session).await? {
        return Err(Error::new(
            Code::NotFound,
            format!("there is no run {run}: no ledger was kept"),
        ));
    }
    let found = ledger::find(&session, &run.parse()?).await?;
    let id = found.run.id;
    let refused = |why: &str| Err(Error::new(Code::Refused, format!("take run {id} back: {why}")));
    if found.run.kind != RunKind::Up {
        return refused("it applied nothing, and took back itself");
    }
    if found.process.is_some() {
        return refused("it is going on");
    }
    Ok((id, ledger::targets(&session, id).await?))
}

/// The versions that a run applied, tenant by tenant.
fn applied(targets: Vec<RunTarget>) -> BTreeMap<TenantId, Vec<Version>> {
    targets
        .into_iter()
        .filter(|target| !target.applied.is_empty())
        .map(|target| (target.tenant, target.applied))
        .collect()
}

fn decide(unit: &mut Unit<'_>, to: &DownTo, applied: &BTreeMap<TenantId, Vec<Version>>) {
    if unit.error.is_some() {
        return;
    }
    let versions: Vec<Version> = unit
        .tenants
        .iter()
        .flat_map(|tenant| applied.get(&tenant.id).into_iter().flatten().copied())
        .collect();
    let goal = match to {
        DownTo::Run(_) => Goal::Exactly(&versions),
        DownTo::Version(version) => Goal::To(*version),
    };
    match take_back(unit.set, &unit.history, goal) {
        Ok(back) => {
            unit.intend(back.into_iter().map(|(_, change)| change).collect());
        }
        Err(error) => unit.fail(&error),
    }
    // A run migrated the shared tables of everybody, and is taken back for everybody.
    if unit.status == Status::Pending
        && unit.isolation == Isolation::Shared
        && matches!(to, DownTo::Version(_))
        && let Some(other) = unit.others.first()
    {
        let what = format!(
            "take migrations of {} back: {} its tables, and {} not selected",
            unit.placement.schema,
            match unit.others.len() {
                1 => format!("{} shares", other.id),
                more => format!("{} and {} more share", other.id, more - 1),
            },
            if unit.others.len() == 1 { "is" } else { "are" }
        );
        unit.fail(&Error::new(Code::Refused, what).hint("select all who share the tables"));
    }
}

/// Refuses all when one cannot be taken back: half of a fleet on either side helps nobody.
fn refuse(units: &[Unit<'_>]) -> Result<(), Error> {
    let struck: Vec<_> = units
        .iter()
        .filter_map(|unit| Some((unit.tenants.first()?, unit.error.as_ref()?)))
        .collect();
    let Some((_, first)) = struck.first() else {
        return Ok(());
    };
    let code = if struck.iter().all(|(_, failure)| failure.code == first.code) {
        first.code
    } else {
        Code::Refused
    };
    let mut reasons: Vec<String> = struck
        .iter()
        .take(NAMED)
        .map(|(tenant, failure)| format!("{}: {}", tenant.id, failure.message))
        .collect();
    if struck.len() > NAMED {
        reasons.push(format!("and {} more", struck.len() - NAMED));
    }
    let what = format!("take migrations back (nothing was begun): {}", reasons.join("; "));
    let mut error = Error::new(code, what);
    for hint in struck.iter().flat_map(|(_, failure)| &failure.hints) {
        if !error.hints.contains(hint) {
            error.hints.push(hint.clone());
        }
    }
    Err(error)
}
