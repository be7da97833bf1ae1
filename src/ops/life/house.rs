//! Whose the roles of a tenant are, by the registry and the naming templates.

use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::layout::Template;
use crate::model::life::Household;
use crate::model::tenant::Tenant;
use crate::ops::Context;
use crate::pg::{Session, life};

/// Brings together what the registry, the configuration and the server say of a tenant. A role is its
/// own when each tenant has one by the templates, and the registry knows it as nobody else's.
///
/// # Errors
///
/// When the registry or the server cannot be read, and for a name that does not fit.
pub(in crate::ops) async fn house(
    cx: &Context<'_>,
    control: &Session,
    tenant: Tenant,
) -> Result<Household, Error> {
    let layout = cx.fleet.layout(tenant.isolation);
    let mut own_roles: Vec<Ident> = Vec::new();
    if layout.roles.iter().all(Template::per_tenant) {
        own_roles.extend(tenant.roles.iter().cloned());
    }
    if let Some(readonly) = layout.readonly.as_ref().filter(|template| template.per_tenant()) {
        own_roles.push(readonly.name(&tenant.id)?);
    }
    let mut asked = own_roles.clone();
    asked.push(tenant.owner.clone());
    let others = life::shared_roles(control, &tenant, &asked).await?;
    own_roles.retain(|role| !others.contains(role));
    let owner_is_its_own = layout.owner.per_tenant() && !others.contains(&tenant.owner);
    let server = cx.servers.session(&tenant.placement.cluster, None).await?;
    let second_logins = life::second_logins(&server, &own_roles).await?;
    let sharing = layout.sharing.clone();
    Ok(Household { tenant, own_roles, second_logins, owner_is_its_own, sharing })
}
