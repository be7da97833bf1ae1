//! What the files of a version make, for schemas that claim it to be compared with.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::own_names;
use crate::config::Request;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::migration::History;
use crate::model::tenant::{Isolation, Tenant, TenantId};
use crate::ops::Context;
use crate::pg::{self, Limits, Rehearsal, Rehearsed};
use crate::plan::drift;

/// Applies the files that `history` names for nobody, where the tenant lives: databases of one tenant
/// are left alone, and the cluster's own is taken for them. Of a tenant without a registry nothing
/// is known but its files.
///
/// # Errors
///
/// Why the files could not be applied; nothing is left of it.
pub(super) async fn make(
    cx: &Context<'_>,
    tenant: &Tenant,
    history: &History,
    registered: bool,
) -> Result<Rehearsed, Error> {
    let recorded = recorded(cx, tenant).await?;
    let scripts = drift::applied(cx.sets.of(tenant.isolation), history, &recorded)?;
    let cluster = &tenant.placement.cluster;
    let inside = (tenant.isolation != Isolation::Database).then_some(&tenant.placement.database);
    let session = cx.servers.dedicated(cluster, inside).await?;
    let mut desired = imagined(cx, tenant)?;
    desired.tenant.placement.database = Ident::new(session.database())?;
    // Tables that something else has made are guarded by nobody before the next migration.
    if desired.sharing.is_some() {
        desired.tenant.owner = tenant.owner.clone();
        let observed = pg::observe(cx.servers, None, &desired).await?;
        if !registered || observed.schema.is_none_or(|schema| schema.helpers.is_empty()) {
            desired.sharing = None;
        }
    }
    let schema = &mut desired.tenant.placement.schema;
    if pg::written(&session, &[&*schema]).await?.contains_key(schema) {
        *schema = Ident::new(desired.tenant.id.in_names())?;
    }
    let observed = pg::observe(cx.servers, None, &desired).await?;
    let mut names = own_names(cx, &desired.tenant.placement, &desired.tenant);
    names.stands_for = Some(tenant.placement.schema.clone());
    let order = Rehearsal {
        desired: &desired,
        observed: &observed,
        scripts: &scripts,
        names: &names,
        limits: Limits::default(),
    };
    pg::rehearse(&session, &order).await
}

/// Which repeatable files the tenant has, with their checksums.
async fn recorded(cx: &Context<'_>, tenant: &Tenant) -> Result<BTreeMap<String, String>, Error> {
    if cx.sets.of(tenant.isolation).repeatables().is_empty() {
        return Ok(BTreeMap::new());
    }
    let placement = &tenant.placement;
    let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
    let mut found = pg::repeatables(&session, &[&placement.schema]).await?;
    Ok(found.remove(&placement.schema).transpose()?.unwrap_or_default())
}

/// A tenant of the same model on the same cluster, under a name that no tenant has.
fn imagined(cx: &Context<'_>, tenant: &Tenant) -> Result<crate::model::desired::Desired, Error> {
    let uuid = Uuid::new_v4();
    let digits = uuid.simple().to_string();
    let mut request =
        Request::new(TenantId::new(format!("tenantctl-reference-{}", &digits[..12]))?);
    request.isolation = Some(tenant.isolation);
    request.cluster = Some(tenant.placement.cluster.clone());
    request.key = (tenant.isolation == Isolation::Shared).then(|| tenant.key.clone());
    cx.fleet.desired(&request, uuid)
}
