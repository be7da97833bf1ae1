//! Makes a tenant and fills it: from an archive, or from another tenant.

mod fitting;
mod giving;
mod restore;

pub(super) use giving::refuse_half_filled;
pub use restore::{RestoreOptions, restore};

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use self::giving::{Gift, foresee, give};
use super::Context;
use super::export::{tenancy, whole};
use super::goods::{Goods, Stock};
use crate::archive::{Reader, Source};
use crate::config::Request;
use crate::error::{Code, Error};
use crate::model::manifest::{Manifest, Rendering};
use crate::model::tally::Tally;
use crate::model::tenant::{ClusterName, Isolation, TenantId};
use crate::pg;
use crate::pg::copy::Snapshot;
use crate::plan::transfer;
use crate::report::Report;
use crate::report::event::Event;

/// What the tenant that is filled should be, where that differs from the one whose data it gets.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// How it is isolated.
    pub isolation: Option<Isolation>,
    /// Where it lives.
    pub cluster: Option<ClusterName>,
    /// The region that its data must stay in.
    pub region: Option<String>,
    /// Its tier.
    pub tier: Option<String>,
    /// Its uuid.
    pub uuid: Option<Uuid>,
    /// Its key in shared tables.
    pub key: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// How a tenant is filled.
#[derive(Clone, Debug)]
pub struct FillOptions {
    /// What it should be.
    pub wishes: Wishes,
    /// Whether it is migrated to the newest version once it is filled.
    pub up: bool,
    /// How long to wait for another tenantctl.
    pub lock_wait: Duration,
    /// How long migrations may wait and work.
    pub limits: pg::Limits,
}

/// What is imported.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The archive.
    pub from: Source,
    /// Under which id; the one of the archive without it.
    pub as_id: Option<TenantId>,
    /// How.
    pub fill: FillOptions,
}

/// What is cloned.
#[derive(Clone, Debug)]
pub struct CloneOptions {
    /// The tenant whose clone is made.
    pub id: TenantId,
    /// The id of the clone.
    pub new: TenantId,
    /// Whether it gets the rows as well.
    pub with_data: bool,
    /// How.
    pub fill: FillOptions,
}

/// Makes a tenant of an archive. The archive is read and checked first; the tenant is `active` when
/// every row of it was compared, and not before.
///
/// # Errors
///
/// An archive that is damaged, or no archive; a tenant that exists; whatever has no place in the
/// tenant; and as [`create`](super::create()). What was made stays closed, and the next run goes on.
pub async fn import(cx: &Context<'_>, options: &ImportOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let reader = Reader::open(&options.from).await?;
    let manifest = reader.manifest();
    if manifest.rows_as != Rendering::Copy {
        let what = format!(
            "import {}: it is {} for people to read, and lacks what is needed to fill a tenant",
            reader.place(),
            manifest.rows_as.word()
        );
        return Err(Error::new(Code::Refused, what)
            .hint("export the tenant without --format")
            .into());
    }
    if manifest.dump.is_some() {
        let what = format!("import {}: it is a backup, which pg_restore reads", reader.place());
        return Err(Error::new(Code::Refused, what)
            .hint(format!("make a tenant of it: tenantctl restore {}", reader.place()))
            .into());
    }
    let same = TenantId::new(manifest.tenant.id.clone())?;
    let id = options.as_id.clone().unwrap_or_else(|| same.clone());
    let is_same = id == same;
    let gift = Gift {
        verb: "import",
        goods: Goods { manifest, stock: Stock::Archive(&reader) },
        mark: manifest.fingerprint(),
        request: request(cx, id, manifest, is_same, &options.fill.wishes),
        from: Some(manifest.tenant.id.clone()),
        place: Some(reader.place().to_owned()),
        started,
    };
    // What is refused for other reasons need not be read.
    if !foresee(cx, &gift.promised(), &gift.request, manifest).await? {
        check(cx, &reader).await?;
    }
    give(cx, gift, &options.fill).await
}

/// Reads every part of an archive before anything is touched.
async fn check(cx: &Context<'_>, reader: &Reader) -> Result<(), Error> {
    for contents in &reader.manifest().tables {
        let what = format!("checking {}", contents.label());
        cx.observer.on(&Event::Working { what: &what });
        let mut tally = Tally::default();
        for part in &contents.parts {
            cx.interrupt.check(&what)?;
            tally.take(&reader.part(part).await?);
        }
        let found = tally.so_far();
        if found.rows != contents.rows || found.digest.to_string() != contents.digest {
            let what = format!(
                "read {} of {}: it holds {} rows with checksum {}, not {} with {}",
                contents.label(),
                reader.place(),
                found.rows,
                found.digest,
                contents.rows,
                contents.digest
            );
            return Err(Error::new(Code::Io, what)
                .hint("the archive is damaged: nothing was changed; take another copy of it"));
        }
    }
    Ok(())
}

/// Makes a tenant that is like another one, with its rows or without.
///
/// # Errors
///
/// As [`import`], and when the other one is not whole.
pub async fn clone(cx: &Context<'_>, options: &CloneOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let tenant = whole(cx, &options.id, "clone").await?;
    if options.id == options.new {
        let what = format!("clone tenant {}: the clone needs an id of its own", options.id);
        return Err(Error::new(Code::Usage, what).into());
    }
    let placement = &tenant.placement;
    let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
    let tenancy = tenancy(cx, &tenant);
    let snapshot = Snapshot::open(&session, &tenant, tenancy.as_ref(), None).await?;
    let order = transfer::loading(snapshot.holdings());
    let mut manifest = Manifest::describe(&tenant, snapshot.holdings(), &order, Rendering::Copy);
    manifest.server = snapshot.server();
    manifest.made_at = snapshot.taken_at().to_owned();
    if options.with_data {
        cx.observer.on(&Event::Working { what: "counting rows" });
        let counts = snapshot.count().await?;
        for contents in &mut manifest.tables {
            let name = contents.place(&placement.schema)?;
            contents.rows = counts.get(&name).copied().unwrap_or_default();
        }
    } else {
        manifest.tables.clear();
        manifest.sequences.clear();
    }
    let gift = Gift {
        verb: "clone",
        goods: Goods { manifest: &manifest, stock: Stock::Living(&snapshot, &placement.schema) },
        mark: format!("{} {}", tenant.uuid, if options.with_data { "whole" } else { "empty" }),
        request: request(cx, options.new.clone(), &manifest, false, &options.fill.wishes),
        from: Some(tenant.id.to_string()),
        place: None,
        started,
    };
    give(cx, gift, &options.fill).await
}

/// The tenant as it was, where nothing else is wished for and the fleet still knows it.
fn request(
    cx: &Context<'_>,
    id: TenantId,
    manifest: &Manifest,
    is_same: bool,
    wishes: &Wishes,
) -> Request {
    let was = &manifest.tenant;
    let tier = was.tier.clone().filter(|tier| cx.fleet.tiers.contains_key(tier));
    let cluster = ClusterName::new(was.cluster.clone())
        .ok()
        .filter(|name| cx.fleet.clusters.contains_key(name) && wishes.region.is_none());
    let mut labels = was.labels.clone();
    labels.extend(wishes.labels.clone());
    Request {
        id,
        isolation: wishes.isolation.or(Some(was.isolation)),
        cluster: wishes.cluster.clone().or(cluster),
        region: wishes.region.clone().or_else(|| was.region.clone()),
        tier: wishes.tier.clone().or(tier),
        uuid: wishes.uuid.or(is_same.then_some(was.uuid)),
        // A key that is no uuid was chosen, and stays the same tenant's.
        key: wishes.key.clone().or_else(|| is_same.then(|| was.key.clone())),
        labels,
    }
}
