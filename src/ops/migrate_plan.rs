//! Plans a run of migrations, and holds a plan against the fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::list::histories;
use super::select::Selection;
use super::{Context, fleet};
use crate::error::{Code, Error};
use crate::model::migration::{History, MigrationSet, Version};
use crate::model::tenant::{Isolation, Placement, State, Tenant, TenantId};
use crate::pg;
use crate::plan::locks::impacts;
use crate::plan::pending::decide;
use crate::plan::rollout::{
    Asked, PlannedTarget, Rollout, history_fingerprint, moved, planned_set,
};
use crate::report::{Failure, PlannedSql, Report, RolloutPlan, Source};

/// So many differences of a stale plan are told; a fleet that moved has thousands.
const TOLD: usize = 10;

/// How `migrate plan` looks.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// Whom it is about.
    pub selection: Selection,
    /// Up to which version; the newest without one.
    pub to: Option<Version>,
    /// Where the plan is written to.
    pub file: Option<PathBuf>,
}

/// Plans what `migrate up` would do with the same selection. Changes nothing in any database.
///
/// # Errors
///
/// When nobody knows the tenants, for a selection or version that does not exist, and
/// [`Code::Io`] when the file cannot be written.
pub async fn plan_migrations(cx: &Context<'_>, options: &PlanOptions) -> anyhow::Result<Report> {
    let asked = Asked {
        tenants: options.selection.tenants.clone(),
        exclude: options.selection.exclude.clone(),
        selector: options.selection.selector.as_ref().map(ToString::to_string),
        to: options.to.map(|version| version.0),
    };
    let (rollout, left) = observe(cx, asked).await?;
    let files = planned_files(cx, &rollout);
    if let Some(file) = &options.file {
        let tool = concat!("tenantctl ", env!("CARGO_PKG_VERSION"));
        std::fs::write(file, rollout.document(tool)).map_err(|error| {
            Error::new(Code::Io, format!("write the plan to {}", file.display())).because(error)
        })?;
    }
    let written = options.file.clone();
    Ok(Report::Rollout(Box::new(RolloutPlan { rollout, files, left, written })))
}

/// Reads a plan that `migrate plan -O` wrote.
///
/// # Errors
///
/// [`Code::NotFound`] and [`Code::Io`] for the file, otherwise as [`Rollout::read`].
pub fn read_plan(path: &Path) -> Result<Rollout, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Io,
        };
        Error::new(code, format!("read the plan {}", path.display())).because(error)
    })?;
    Rollout::read(&text).map_err(|mut error| {
        error.message = format!("{}: {}", path.display(), error.message);
        error
    })
}

/// Refuses a plan that the fleet, its files or its histories have left behind.
///
/// # Errors
///
/// [`Code::Refused`] with what moved, and as [`plan_migrations`].
pub async fn refuse_stale(cx: &Context<'_>, planned: &Rollout) -> anyhow::Result<()> {
    let (observed, _) = match observe(cx, planned.asked.clone()).await {
        Ok(observed) => observed,
        // A tenant, or a version, that was planned for by name is not there any more.
        Err(error) if Error::find(&error).is_some_and(|error| error.code == Code::NotFound) => {
            return Err(stale(&[error.to_string()]).into());
        }
        Err(error) => return Err(error),
    };
    let moved = moved(planned, &observed);
    if moved.is_empty() { Ok(()) } else { Err(stale(&moved).into()) }
}

fn stale(moved: &[String]) -> Error {
    let mut told = moved.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    if moved.len() > TOLD {
        told.push_str(&format!("; and {} more", moved.len() - TOLD));
    }
    Error::new(Code::Refused, format!("follow the plan: {told}"))
        .hint("plan again, and read what changed: tenantctl migrate plan -O FILE")
}

/// What would be done now, and for whom nothing can be planned.
async fn observe(
    cx: &Context<'_>,
    asked: Asked,
) -> anyhow::Result<(Rollout, Vec<(TenantId, Failure)>)> {
    let (tenants, source) = fleet::tenants(cx).await?;
    if tenants.is_empty() {
        return Err(fleet::none(source).into());
    }
    let selection = Selection {
        tenants: asked.tenants.clone(),
        exclude: asked.exclude.clone(),
        selector: asked.selector.as_deref().map(str::parse).transpose()?,
    };
    let mut tenants = selection.pick(tenants)?;
    tenants.sort_by(|a, b| a.id.cmp(&b.id));
    let to = asked.to.map(Version);
    let models: BTreeSet<Isolation> = tenants.iter().map(|tenant| tenant.isolation).collect();
    let sets = || models.iter().map(|model| cx.sets.of(*model));
    if let (Some(to), Some(first)) = (to, sets().next())
        && sets().all(|set| set.get(to).is_none())
    {
        // No set has it: a mistake, and no tenant's failure.
        decide(first, &History::default(), Some(to))?;
    }
    let found = histories(cx, &tenants).await;
    let mut targets = Vec::new();
    let mut left = Vec::new();
    for tenant in &tenants {
        let database = (tenant.placement.cluster.clone(), tenant.placement.database.clone());
        let half_made = source == Source::Registry && tenant.state == State::Provisioning;
        let set = cx.sets.of(tenant.isolation);
        let (target, failure) = target(tenant, half_made, set, found.get(&database), to);
        left.extend(failure.map(|failure| (tenant.id.clone(), failure)));
        targets.push(target);
    }
    let mut needed: BTreeMap<Isolation, BTreeSet<i64>> =
        models.iter().map(|model| (*model, BTreeSet::new())).collect();
    for target in &targets {
        needed.entry(target.isolation).or_default().extend(&target.pending);
    }
    let sets = needed
        .into_iter()
        .map(|(model, needed)| {
            planned_set(model, cx.sets.of(model), &needed.into_iter().collect::<Vec<_>>())
        })
        .collect();
    Ok((Rollout { asked, sets, targets }, left))
}

fn target(
    tenant: &Tenant,
    half_made: bool,
    set: &MigrationSet,
    found: Option<&Result<pg::Histories, Error>>,
    to: Option<Version>,
) -> (PlannedTarget, Option<Failure>) {
    let Placement { cluster, database, schema } = &tenant.placement;
    let mut target = PlannedTarget {
        tenant: tenant.id.clone(),
        uuid: tenant.uuid,
        isolation: tenant.isolation,
        cluster: cluster.as_str().to_owned(),
        database: database.as_str().to_owned(),
        schema: schema.as_str().to_owned(),
        from: None,
        history: String::new(),
        pending: Vec::new(),
        problem: None,
    };
    let history = match found {
        _ if half_made => {
            let what = format!("tenant {} is still being made", tenant.id);
            let hint = format!("finish it with: tenantctl create {}", tenant.id);
            Err(Box::new(Failure::from(&Error::new(Code::Refused, what).hint(hint))))
        }
        Some(Ok(histories)) => match histories.get(schema) {
            Some(history) => history.as_ref().map_err(|error| Box::new(Failure::from(error))),
            None => Err(Box::new(gone(tenant))),
        },
        Some(Err(error)) => Err(Box::new(Failure::from(error))),
        None => Err(Box::new(gone(tenant))),
    };
    let decided = history.and_then(|history| {
        target.from = history.version().map(|version| version.0);
        target.history = history_fingerprint(history);
        decide(set, history, to).map_err(|error| Box::new(Failure::from(&error)))
    });
    match decided {
        Ok(pending) => {
            target.pending = pending.iter().map(|one| one.version.0).collect();
            (target, None)
        }
        Err(failure) => {
            target.problem = Some(failure.code.id().to_owned());
            (target, Some(*failure))
        }
    }
}

fn gone(tenant: &Tenant) -> Failure {
    let Placement { database, schema, .. } = &tenant.placement;
    let what = format!("there is no schema {schema} in database {database}");
    Failure::from(
        &Error::new(Code::NotFound, what)
            .hint("bring it back from a backup, or check that the URL names the right server"),
    )
}

/// The files that somebody needs, with what their statements lock.
fn planned_files(cx: &Context<'_>, rollout: &Rollout) -> Vec<PlannedSql> {
    let mut needing: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for target in &rollout.targets {
        let schema = (target.cluster.as_str(), target.database.as_str(), target.schema.as_str());
        for version in &target.pending {
            needing.entry((target.isolation, *version)).or_default().insert(schema);
        }
    }
    // Models that share a directory share its files.
    let mut files: BTreeMap<(i64, &str), PlannedSql> = BTreeMap::new();
    for ((isolation, version), schemas) in needing {
        let Some(file) = cx.sets.of(isolation).get(Version(version)) else { continue };
        let planned = files.entry((version, &file.path)).or_insert_with(|| PlannedSql {
            isolations: Vec::new(),
            version,
            name: file.name.clone(),
            path: file.path.clone(),
            checksum: file.checksum.to_string(),
            outside: file.runs_outside_a_transaction(),
            schemas: 0,
            statements: impacts(&file.sql),
        });
        planned.isolations.push(isolation);
        planned.schemas += schemas.len();
    }
    files.into_values().collect()
}
