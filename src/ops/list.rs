//! Tenants and their versions.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _};

use super::select::{Selection, unknown};
use super::{Context, fleet};
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::tenant::{ClusterName, Isolation, State, Tenant, TenantId};
use crate::pg;
use crate::report::{Listed, Report, Tenants};

/// So many databases are asked at once.
const AT_ONCE: usize = 8;

/// Lists tenants with the version that their own history records. Who is purged is listed when
/// somebody asks for a state, or for the tenant.
///
/// # Errors
///
/// When nobody knows the tenants. A database that cannot be read is reported beside its tenants.
pub async fn list(cx: &Context<'_>, selection: &Selection) -> anyhow::Result<Report> {
    let (mut tenants, source) = fleet::everybody(cx).await?;
    if !selection.asks_for_state() {
        tenants.retain(|tenant| tenant.state != State::Purged);
    }
    let tenants = versions(cx, selection.pick(tenants)?).await;
    Ok(Report::Tenants(Tenants { tenants, source }))
}

/// Shows one tenant.
///
/// # Errors
///
/// As [`list`], and `not-found` with the ids that look like it.
pub async fn show(cx: &Context<'_>, id: &TenantId) -> anyhow::Result<Report> {
    let (tenants, _) = fleet::everybody(cx).await?;
    let Some(tenant) = tenants.iter().find(|tenant| tenant.id == *id) else {
        return Err(unknown(id, &tenants).into());
    };
    let mut listed = versions(cx, vec![tenant.clone()]).await;
    listed
        .pop()
        .map(|listed| Report::Tenant(Box::new(listed)))
        .ok_or_else(|| unknown(id, &[]).into())
}

async fn versions(cx: &Context<'_>, tenants: Vec<Tenant>) -> Vec<Listed> {
    let (there, gone): (Vec<Tenant>, Vec<Tenant>) =
        tenants.into_iter().partition(|tenant| tenant.state.has_data());
    let histories = histories(cx, &there).await;
    let gone = gone.into_iter().map(|tenant| Listed::new(tenant, None, None));
    let mut listed: Vec<Listed> = there
        .into_iter()
        .map(|tenant| {
            let database = (tenant.placement.cluster.clone(), tenant.placement.database.clone());
            match histories.get(&database) {
                Some(Ok(found)) => match found.get(&tenant.placement.schema) {
                    Some(Err(error)) => Listed::new(tenant, None, Some(short(error))),
                    Some(Ok(history)) => Listed::new(tenant, history.version(), None),
                    // Not the same as a schema in which nothing was ever applied.
                    None => {
                        let why = format!("there is no schema {}", tenant.placement.schema);
                        Listed::new(tenant, None, Some(why))
                    }
                },
                Some(Err(error)) => Listed::new(tenant, None, Some(short(error))),
                None => Listed::new(tenant, None, None),
            }
        })
        .chain(gone)
        .collect();
    listed.sort_by(|a, b| a.tenant.id.cmp(&b.tenant.id));
    super::credentials::tell_ages(cx, &mut listed).await;
    listed
}

/// One line of a failure, with the server's words.
pub(super) fn short(error: &Error) -> String {
    match &error.answer {
        Some(answer) => format!("{error}: {}", answer.message),
        None => error.to_string(),
    }
}

/// A database, by its cluster and name.
pub(super) type Database = (ClusterName, Ident);

/// Reads the histories of tenants, database by database, several at once.
pub(super) async fn histories(
    cx: &Context<'_>,
    tenants: &[Tenant],
) -> BTreeMap<Database, Result<pg::Histories, Error>> {
    let mut databases: BTreeMap<Database, (bool, Vec<&Ident>)> = BTreeMap::new();
    for tenant in tenants {
        let placement = &tenant.placement;
        let entry = databases
            .entry((placement.cluster.clone(), placement.database.clone()))
            .or_insert((tenant.isolation == Isolation::Database, Vec::new()));
        entry.1.push(&placement.schema);
    }
    stream::iter(databases)
        .map(|((cluster, database), (once, mut schemas))| async move {
            schemas.sort_unstable();
            schemas.dedup();
            let read = async {
                // A database of one tenant is visited once: a pool would keep its connection open.
                let session = if once {
                    cx.servers.dedicated(&cluster, Some(&database)).await?
                } else {
                    cx.servers.session(&cluster, Some(&database)).await?
                };
                pg::histories(&session, &schemas).await
            };
            let found = read.await;
            ((cluster, database), found)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}
