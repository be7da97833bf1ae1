//! A tenant that `pg_dump` has written down: restored beside, compared, and made a tenant again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::giving::{Gift, give};
use super::{FillOptions, request};
use crate::archive::{Reader, Source, digest_of};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::manifest::{Dump, Manifest};
use crate::model::tenant::{ClusterName, Isolation, Placement, Tenant, TenantId};
use crate::ops::Context;
use crate::ops::backup::describe;
use crate::ops::goods::{Goods, Stock};
use crate::pg::copy::Snapshot;
use crate::pg::native::{Program, Tool};
use crate::pg::{self, LockKey, Session, scratch};
use crate::report::event::Event;
use crate::report::{Drill, Report, Restored};

/// What is restored.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The directory that `backup` wrote.
    pub from: PathBuf,
    /// Under which id; the one of the backup without it.
    pub as_id: Option<TenantId>,
    /// Whether it is only tried: restored beside, compared, dropped.
    pub verify: bool,
    /// How the tenant is filled.
    pub fill: FillOptions,
}

/// Restores a backup into a database of its own, compares every table with what was recorded when it
/// was made, and makes a tenant of it, or drops it again.
///
/// # Errors
///
/// A backup that is damaged; `tool-missing`; what `pg_restore` says; and as [`import`](super::import).
pub async fn restore(cx: &Context<'_>, options: &RestoreOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let reader = Reader::open(&Source::Path(options.from.clone())).await?;
    let manifest = reader.manifest();
    let Some(dump) = &manifest.dump else {
        let what = format!("restore {}: it is an export, and no backup", reader.place());
        return Err(Error::new(Code::Refused, what)
            .hint(format!("make a tenant of it: tenantctl import {}", reader.place()))
            .into());
    };
    let file = options.from.join(&dump.file);
    check(&file, dump, reader.place()).await?;
    let same = TenantId::new(manifest.tenant.id.clone())?;
    let id = options.as_id.clone().unwrap_or_else(|| same.clone());
    let is_same = id == same;
    let wanted = request(cx, id.clone(), manifest, is_same, &options.fill.wishes);
    let cluster = cx.fleet.desired(&wanted, uuid::Uuid::new_v4())?.tenant.placement.cluster;
    let beside = Beside::make(cx, &cluster, &id, options.fill.lock_wait).await?;
    let work = async {
        beside.restore(cx, manifest, dump, &file).await?;
        let tenant = beside.tenant(manifest)?;
        let session = cx.servers.dedicated(&cluster, Some(&beside.database)).await?;
        let snapshot = Snapshot::open(&session, &tenant, None, None).await?;
        let (found, _) = describe(cx, &tenant, &snapshot).await?;
        let drill = compare(manifest, &found, reader.place(), started);
        if options.verify {
            return Ok(Report::Drill(Box::new(drill)));
        }
        if let Some(worst) = drill.tables.iter().find(|table| !table.is_same()) {
            let what = format!(
                "restore {}: {} has {} rows, and {} were backed up",
                reader.place(),
                worst.table,
                worst.found.unwrap_or_default(),
                worst.recorded
            );
            return Err(Error::new(Code::Refused, what)
                .hint("compare everything with: tenantctl restore --verify")
                .into());
        }
        let gift = Gift {
            verb: "restore",
            goods: Goods { manifest, stock: Stock::Living(&snapshot, &tenant.placement.schema) },
            mark: manifest.fingerprint(),
            request: wanted,
            from: Some(manifest.tenant.id.clone()),
            place: Some(reader.place().to_owned()),
            started,
        };
        give(cx, gift, &options.fill).await
    };
    let done = work.await;
    let dropped = beside.drop().await;
    let report = done?;
    dropped?;
    Ok(report)
}

async fn check(file: &Path, dump: &Dump, place: &str) -> Result<(), Error> {
    let (size, sha256) = digest_of(file).await?;
    if size == dump.size && sha256 == dump.sha256 {
        return Ok(());
    }
    let what = format!(
        "read {} of {place}: it has {size} bytes and SHA-256 {sha256}, not {} and {}",
        dump.file, dump.size, dump.sha256
    );
    Err(Error::new(Code::Io, what).hint("the backup is damaged: take another copy of it"))
}

/// The database in which a backup is restored, and the lock that says it is in use.
struct Beside {
    server: Session,
    database: Ident,
    cluster: ClusterName,
    operator: Ident,
}

impl Beside {
    async fn make(
        cx: &Context<'_>,
        cluster: &ClusterName,
        id: &TenantId,
        lock_wait: Duration,
    ) -> Result<Self, Error> {
        let server = cx.servers.dedicated(cluster, None).await?;
        let database = scratch::name(id)?;
        // It ends with the session.
        let _held = pg::hold(&server, LockKey::scratch(&database), lock_wait).await?;
        let operator = scratch::operator(&server).await?;
        cx.observer.on(&Event::Working { what: "making a database to restore into" });
        scratch::make(&server, &database).await?;
        Ok(Self { server, database, cluster: cluster.clone(), operator })
    }

    async fn restore(
        &self,
        cx: &Context<'_>,
        manifest: &Manifest,
        dump: &Dump,
        file: &Path,
    ) -> Result<(), Error> {
        let tool = Tool::find(Program::Restore, dump.program).await?;
        let session = cx.servers.dedicated(&self.cluster, Some(&self.database)).await?;
        scratch::make_extensions(&session, &dump.extensions).await?;
        drop(session);
        let settings = cx.servers.settings(&self.cluster, Some(&self.database))?;
        let arguments: Vec<OsString> = vec![
            "--exit-on-error".into(),
            "--no-owner".into(),
            "--no-privileges".into(),
            format!("--dbname={}", self.database.as_str()).into(),
            file.into(),
        ];
        cx.observer.on(&Event::Working { what: "pg_restore is at work" });
        let what = format!("restore tenant {}", manifest.tenant.id);
        tool.run(&arguments, &settings, "", &what, cx.interrupt).await
    }

    /// What was restored, as a tenant that the operator owns.
    fn tenant(&self, manifest: &Manifest) -> Result<Tenant, Error> {
        let was = &manifest.tenant;
        Ok(Tenant {
            id: TenantId::new(was.id.clone())?,
            uuid: was.uuid,
            key: was.key.clone(),
            isolation: Isolation::Schema,
            placement: Placement {
                cluster: self.cluster.clone(),
                database: self.database.clone(),
                schema: Ident::new(was.schema.clone())?,
            },
            owner: self.operator.clone(),
            roles: vec![self.operator.clone()],
            tier: None,
            region: None,
            labels: std::collections::BTreeMap::new(),
            state: crate::model::tenant::State::Active,
        })
    }

    async fn drop(self) -> Result<(), Error> {
        scratch::remove(&self.server, &self.database).await
    }
}

fn compare(recorded: &Manifest, found: &Manifest, place: &str, started: Instant) -> Drill {
    let mut tables: Vec<Restored> = recorded
        .tables
        .iter()
        .map(|was| {
            let is = found.tables.iter().find(|is| is.label() == was.label());
            Restored {
                table: was.label(),
                recorded: was.rows,
                found: is.map(|is| is.rows),
                same_content: is.is_some_and(|is| is.digest == was.digest),
            }
        })
        .collect();
    tables.sort_by(|one, other| one.table.cmp(&other.table));
    Drill {
        tenant: recorded.tenant.id.clone(),
        place: place.to_owned(),
        made_at: recorded.made_at.clone(),
        version: recorded.version(),
        same_version: recorded.version == found.version,
        tables,
        took: started.elapsed(),
    }
}
