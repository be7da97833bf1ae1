//! The two places of a move, as far as they are there: sessions that nobody else of us uses.

use std::time::Duration;

use uuid::Uuid;

use crate::config::Request;
use crate::error::Error;
use crate::model::desired::Desired;
use crate::model::holdings::Holdings;
use crate::model::migration::{History, MigrationSet, Version};
use crate::model::moving::Home;
use crate::model::tenant::{Isolation, Placement, Tenant};
use crate::ops::{Context, fleet};
use crate::pg::moving::{self, Place};
use crate::pg::{self, Session};

/// What the tenant should be in one of its places.
pub(super) fn desired(cx: &Context<'_>, tenant: &Tenant, home: &Home) -> Result<Desired, Error> {
    let request = Request {
        isolation: Some(home.isolation),
        cluster: Some(home.placement.cluster.clone()),
        region: tenant.region.clone(),
        tier: tenant.tier.clone(),
        uuid: Some(tenant.uuid),
        key: Some(tenant.key.clone()),
        labels: tenant.labels.clone(),
        ..Request::new(tenant.id.clone())
    };
    let mut desired = cx.fleet.desired(&request, tenant.uuid)?;
    desired.tenant = home.tenant(tenant);
    Ok(desired)
}

/// One place, with a session in its database.
pub(in crate::ops) struct Site {
    session: Session,
    desired: Desired,
    id: Uuid,
}

impl Site {
    /// Goes to a place; none when its database is not there.
    pub(super) async fn open(
        cx: &Context<'_>,
        desired: &Desired,
        id: Uuid,
        wait: Duration,
    ) -> Result<Option<Self>, Error> {
        let Placement { cluster, database, .. } = &desired.tenant.placement;
        if desired.tenant.isolation == Isolation::Database {
            let server = cx.servers.session(cluster, None).await?;
            if !moving::has_database(&server, database).await? {
                return Ok(None);
            }
        }
        let session = cx.servers.dedicated(cluster, Some(database)).await?;
        moving::occupy(&session, &desired.tenant, wait).await?;
        Ok(Some(Self { session, desired: desired.clone(), id }))
    }

    pub(in crate::ops) fn place(&self) -> Place<'_> {
        Place {
            session: &self.session,
            tenant: &self.desired.tenant,
            sharing: self.desired.sharing.as_ref(),
            id: self.id,
        }
    }

    /// What the tenant has there; none when its schema is not there.
    pub(super) async fn holdings(&self) -> Result<Option<Holdings>, Error> {
        match self.place().holdings().await {
            Ok(holdings) => Ok(Some(holdings)),
            Err(error) if error.code == crate::error::Code::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn history(&self) -> Result<History, Error> {
        let schema = &self.desired.tenant.placement.schema;
        let mut histories = pg::histories(&self.session, &[schema]).await?;
        Ok(histories.remove(schema).transpose()?.unwrap_or_default())
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

/// The files up to a version: the new place is made as the old one is, not newer.
pub(super) fn up_to(set: &MigrationSet, version: Option<Version>) -> Result<MigrationSet, Error> {
    let kept = set
        .migrations()
        .iter()
        .filter(|migration| version.is_some_and(|version| migration.version <= version))
        .cloned()
        .collect();
    MigrationSet::new(set.name(), kept)?.with_repeatables(set.repeatables().to_vec())
}

/// The place in which a tenant lives, and what it has there.
///
/// # Errors
///
/// `not-found` when it is gone, and whatever the server refuses.
pub(in crate::ops) async fn here(
    cx: &Context<'_>,
    tenant: &Tenant,
    id: Uuid,
) -> Result<(Site, Holdings), Error> {
    let gone = || fleet::no_schema(&tenant.placement);
    let desired = desired(cx, tenant, &Home::from(tenant))?;
    let site = Site::open(cx, &desired, id, Duration::from_secs(30)).await?.ok_or_else(gone)?;
    let holdings = site.holdings().await?.ok_or_else(gone)?;
    Ok((site, holdings))
}
