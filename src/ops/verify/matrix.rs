//! Who can do what, over any number of databases.

use std::collections::BTreeSet;
use std::time::Instant;

use super::lanes::{Looked, Seen, each};
use super::targets::targets;
use crate::audit::{self, Reached, Survey};
use crate::model::cluster::ClusterFacts;
use crate::model::tenant::TenantId;
use crate::ops::select::Selection;
use crate::ops::{Context, fleet};
use crate::pg;
use crate::report::{Matrix, Report};

/// What `verify-rls matrix` shows.
#[derive(Clone, Debug, Default)]
pub struct MatrixOptions {
    /// Whom it is about; roles that act for others are left out.
    pub selection: Selection,
    /// Whether only what reaches other tenants is shown.
    pub open: bool,
    /// How many databases of a cluster are read at once; a few without it.
    pub jobs: Option<usize>,
}

/// Reads what every role of the application can do in the databases of the selected tenants. Only
/// reads.
///
/// # Errors
///
/// When nobody knows the tenants, and for a selection that names one that does not exist. A database
/// that cannot be read is part of the answer.
pub async fn matrix(cx: &Context<'_>, options: &MatrixOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (tenants, source) = fleet::tenants(cx).await?;
    if tenants.is_empty() {
        return Err(fleet::none(source).into());
    }
    let asked: BTreeSet<TenantId> =
        options.selection.pick(tenants.clone())?.into_iter().map(|tenant| tenant.id).collect();
    let shown = |one: &Reached| {
        (one.tenants.is_empty() || one.tenants.iter().any(|tenant| asked.contains(tenant)))
            && (!options.open || one.is_open())
    };
    let mut reached = Vec::new();
    let look =
        async |session: &pg::Session, facts: &ClusterFacts, target: &super::targets::Target<'_>| {
            let mut estate = cx.fleet.estate(target.tenants());
            let catalog = pg::read_catalog(session, facts, &estate).await?;
            estate.add_second_logins(catalog.roles.values().map(|role| &role.name));
            let mut found = audit::matrix(&Survey::new(&catalog, &estate, &[]));
            found.retain(shown);
            let outcome = crate::model::count(found.len(), "grant");
            Ok(Seen { findings: 0, outcome, value: found })
        };
    let all = targets(&tenants, &asked);
    let Looked { databases, untouched, interrupted } =
        each(cx, all, options.jobs, look, |found| reached.extend(found)).await;
    reached.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    Ok(Report::Matrix(Box::new(Matrix {
        tenants: asked.len(),
        databases,
        untouched,
        reached,
        interrupted,
        took: started.elapsed(),
    })))
}
