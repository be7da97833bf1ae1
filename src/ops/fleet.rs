//! The tenants of the fleet, from whoever knows them.

use super::Context;
use crate::error::{Code, Error};
use crate::model::tenant::{Placement, Tenant};
use crate::pg::registry::{self, Readiness};
use crate::report::Source;

/// Reads every tenant that has data: from the registry, or from `tenants.toml` when there is no
/// registry. Creates neither.
///
/// # Errors
///
/// As [`registry::readiness`] and [`registry::tenants`], and as [`declared`] where the file is asked.
///
/// [`declared`]: crate::config::Fleet::declared
pub(super) async fn tenants(cx: &Context<'_>) -> Result<(Vec<Tenant>, Source), Error> {
    let (mut tenants, source) = everybody(cx).await?;
    tenants.retain(|tenant| tenant.state.has_data());
    Ok((tenants, source))
}

/// As [`tenants`], with those that are being removed and those that are purged.
///
/// # Errors
///
/// As [`tenants`].
pub(super) async fn everybody(cx: &Context<'_>) -> Result<(Vec<Tenant>, Source), Error> {
    let (cluster, database) = &cx.fleet.registry;
    let session = cx.servers.session(cluster, Some(database)).await?;
    match registry::readiness(&session, cx.sets.registry()).await {
        // The list is read only where it decides: a slip in it breaks nothing beside a registry.
        Ok(Readiness::Absent) => Ok((cx.fleet.declared()?, Source::Declared)),
        Ok(Readiness::Ready | Readiness::Behind) => {
            Ok((registry::tenants(&session).await?, Source::Registry))
        }
        // An auditor need not be let into the registry when the file lists the tenants.
        Err(error) if error.code == Code::Permission && cx.fleet.declares() => {
            Ok((cx.fleet.declared()?, Source::Declared))
        }
        Err(error) => Err(error),
    }
}

/// Why a tenant whose schema is gone cannot be worked on.
pub(super) fn no_schema(Placement { database, schema, .. }: &Placement) -> Error {
    Error::new(Code::NotFound, format!("there is no schema {schema} in database {database}"))
        .hint("bring it back from a backup, or check that the URL names the right server")
}

/// Why there is nothing to work on, for the person who expected something.
pub(super) fn none(source: Source) -> Error {
    match source {
        Source::Registry => Error::new(Code::NotFound, "the fleet has no tenants yet")
            .hint("make one with: tenantctl create acme"),
        Source::Declared => {
            Error::new(Code::NotFound, "there is no registry, and tenants.toml lists no tenants")
                .hint("make the first tenant with: tenantctl create acme")
        }
    }
}
