//! Whether goods have a place in a tenant that is still to be made: asked before it is begun.

use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::manifest::Manifest;
use crate::model::migration::{Applied, History, Version};
use crate::model::tenant::{Isolation, State, Tenant};
use crate::ops::Context;
use crate::pg::copy::Snapshot;
use crate::pg::{Session, registry};
use crate::plan::{pending, transfer};

/// The version at which a tenant is filled: that of the goods. None for goods without one.
///
/// # Errors
///
/// [`Code::HistoryDiverged`] when the goods were made by other migrations than the files, and
/// [`Code::Refused`] when the files do not know the version.
pub(super) fn goal(
    cx: &Context<'_>,
    manifest: &Manifest,
    desired: &Desired,
) -> Result<Option<Version>, Error> {
    let Some(version) = manifest.version() else { return Ok(None) };
    let isolation = desired.tenant.isolation;
    let set = cx.sets.of(isolation);
    if is_kin(manifest.tenant.isolation, isolation) {
        pending::decide(set, &history(manifest), None)?;
    }
    if set.get(version).is_none() {
        let head = set.head().map_or_else(|| "none".to_owned(), |head| format!("V{head}"));
        let what = format!(
            "fill tenant {}: the data are of V{version}, and the migrations of {isolation} have no such version (the newest is {head})",
            desired.tenant.id
        );
        return Err(Error::new(Code::Refused, what)
            .hint("use the files that the data were made with: --migrations DIR"));
    }
    Ok(Some(version))
}

/// Whether two isolation models have the same files as far as tables are concerned.
fn is_kin(one: Isolation, other: Isolation) -> bool {
    (one == Isolation::Shared) == (other == Isolation::Shared)
}

fn history(manifest: &Manifest) -> History {
    let applied = |step: &crate::model::manifest::Step| {
        Some(Applied {
            version: Version(step.version),
            name: step.name.clone(),
            applied_on: step.applied_on.clone(),
            checksum: step.checksum.parse().ok()?,
        })
    };
    History(manifest.history.iter().filter_map(applied).collect())
}

/// Refuses goods that have no place, where that can be seen already: in the tables that tenants
/// share, or in a tenant of the same model at the same version. The same migrations make the same
/// tables, so goods of such a tenant fit by themselves.
///
/// # Errors
///
/// As [`transfer::map`], and whatever the server refuses.
pub(super) async fn refuse_early(
    cx: &Context<'_>,
    control: &Session,
    manifest: &Manifest,
    desired: &Desired,
) -> Result<(), Error> {
    let tenant = &desired.tenant;
    let isolation = tenant.isolation;
    if is_kin(manifest.tenant.isolation, isolation) && isolation != Isolation::Shared {
        return Ok(());
    }
    for sample in samples(control, tenant).await? {
        let placement = &sample.placement;
        let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
        let tenancy = desired.sharing.as_ref().map(|sharing| &sharing.tenancy);
        let snapshot = Snapshot::open(&session, &sample, tenancy, None).await?;
        let same_version = snapshot.holdings().version() == desired.version;
        if same_version || isolation == Isolation::Shared {
            let named = Tenant { id: tenant.id.clone(), key: tenant.key.clone(), ..sample.clone() };
            transfer::map(manifest, snapshot.holdings(), &named)?;
            return snapshot.close().await;
        }
        snapshot.close().await?;
    }
    Ok(())
}

/// So many tenants are looked at for one of the same version.
const SAMPLES: usize = 3;

/// Tenants that show how the new one will be.
async fn samples(control: &Session, tenant: &Tenant) -> Result<Vec<Tenant>, Error> {
    let mut alike: Vec<Tenant> = registry::tenants(control)
        .await?
        .into_iter()
        .filter(|other| other.id != tenant.id && other.isolation == tenant.isolation)
        .filter(|other| matches!(other.state, State::Active | State::Suspended))
        .filter(|other| {
            tenant.isolation != Isolation::Shared || other.placement == tenant.placement
        })
        .collect();
    alike.truncate(SAMPLES);
    Ok(alike)
}
