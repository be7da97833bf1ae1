//! A tenant that `pg_dump` has written down: restored beside, compared, and made a tenant again.

use std::time::{Duration, Instant};

use serde_json::json;

use super::giving::{Gift, foresee, give};
use super::{FillOptions, request};
use crate::archive::{Kept, Reader, Source};
use crate::error::{Code, Error};
use crate::model::count;
use crate::model::ident::Ident;
use crate::model::manifest::{Dump, Manifest};
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};
use crate::ops::Context;
use crate::ops::backup::describe;
use crate::ops::export::log_session;
use crate::ops::goods::{Goods, Stock};
use crate::ops::trail::Deed;
use crate::pg::copy::Snapshot;
use crate::pg::native::{Program, Tool};
use crate::pg::{self, LockKey, Session, scratch};
use crate::report::event::Event;
use crate::report::{Drill, Report, Restored};

/// What is restored.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// What `backup` wrote.
    pub from: Source,
    /// Under which id; the one of the backup without it.
    pub as_id: Option<TenantId>,
    /// Whether it is only tried: restored beside, compared, dropped.
    pub verify: bool,
    /// Whether large objects may stay behind, which are in no table.
    pub leave_large_objects: bool,
    /// How the tenant is filled.
    pub fill: FillOptions,
}

/// Restores a backup into a database of its own, compares every table with what was recorded when it
/// was made, and makes a tenant of it, or only says what it found; the database is dropped.
///
/// # Errors
///
/// A backup that is damaged; a tenant that exists; `tool-missing`; what `pg_restore` says; and as
/// [`import`](super::import).
pub async fn restore(cx: &Context<'_>, options: &RestoreOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let reader = Reader::open(&options.from).await?;
    let manifest = reader.manifest();
    let Some(dump) = &manifest.dump else {
        let what = format!("restore {}: it is an export, and no backup", reader.place());
        return Err(Error::new(Code::Refused, what)
            .hint(format!("make a tenant of it: tenantctl import {}", reader.place()))
            .into());
    };
    let same = TenantId::new(manifest.tenant.id.clone())?;
    let id = options.as_id.clone().unwrap_or_else(|| same.clone());
    let is_same = id == same;
    let wanted = request(cx, id.clone(), manifest, is_same, &options.fill.wishes);
    let gift = Gift {
        verb: "restore",
        goods: Goods { manifest, stock: Stock::Archive(&reader) },
        mark: manifest.fingerprint(),
        request: wanted,
        from: Some(manifest.tenant.id.clone()),
        place: Some(reader.place().to_owned()),
        started,
    };
    if !options.verify {
        judge(dump, options, reader.place())?;
        if foresee(cx, &gift.promised(), &gift.request, manifest).await? {
            return give(cx, gift, &options.fill).await;
        }
    }
    let file = reader.file(&dump.file).await?;
    check(&file, dump, reader.place()).await?;
    let tool = Tool::find(Program::Restore, dump.program).await?;
    let cluster = cx.fleet.desired(&gift.request, uuid::Uuid::new_v4())?.tenant.placement.cluster;
    let beside = Beside::hold(cx, &cluster, &id, options.fill.lock_wait).await?;
    let drill = Drilling { cx, beside: &beside, manifest, place: reader.place(), started };
    let work = async {
        let answer = drill.answer(&tool, dump, &file).await?;
        if options.verify {
            return Ok(answer);
        }
        if let Report::Drill(drill) = &answer {
            refuse_other(drill)?;
        }
        let tenant = beside.tenant(manifest)?;
        let session = cx.servers.dedicated(&cluster, Some(&beside.database)).await?;
        let snapshot = Snapshot::open(&session, &tenant, None, None).await?;
        let stock = Stock::Living(&snapshot, &tenant.placement.schema);
        give(cx, gift.with(Goods { manifest, stock }), &options.fill).await
    };
    let done = work.await;
    let dropped = scratch::remove(&beside.server, &beside.database).await;
    match (done?, dropped) {
        (report, Ok(())) => Ok(report),
        // The tenant is there: what is left beside it is for the next run.
        (Report::Transferred(mut done), Err(error)) => {
            done.notes.push(format!("{error}: the next restore on this cluster does it"));
            Ok(Report::Transferred(done))
        }
        (_, Err(error)) => Err(error.into()),
    }
}

/// Refuses what would be lost unsaid.
fn judge(dump: &Dump, options: &RestoreOptions, place: &str) -> Result<(), Error> {
    if dump.large_objects == 0 || options.leave_large_objects {
        return Ok(());
    }
    let objects = usize::try_from(dump.large_objects).unwrap_or(usize::MAX);
    let what = format!(
        "restore {place}: it has {}, and a tenant is made of tables",
        count(objects, "large object")
    );
    Err(Error::new(Code::Refused, what)
        .hint("leave them behind with --leave-large-objects, and bring them with pg_restore"))
}

async fn check(file: &Kept, dump: &Dump, place: &str) -> Result<(), Error> {
    let (size, sha256) = file.digest().await?;
    if size == dump.size && sha256 == dump.sha256 {
        return Ok(());
    }
    let what = format!(
        "read {} of {place}: it has {size} bytes and SHA-256 {sha256}, not {} and {}",
        dump.file, dump.size, dump.sha256
    );
    Err(Error::new(Code::Io, what)
        .hint("the backup is damaged: nothing was changed; take another copy of it"))
}

fn refuse_other(drill: &Drill) -> Result<(), Error> {
    if drill.is_whole() {
        return Ok(());
    }
    let what = match drill.tables.iter().find(|table| !table.is_same()) {
        Some(worst) => format!(
            "restore {}: {} has {} rows that were restored, and {} were backed up",
            drill.place,
            worst.table,
            worst.found.unwrap_or_default(),
            worst.recorded
        ),
        None => format!("restore {}: it is not at the version that was recorded", drill.place),
    };
    Err(Error::new(Code::Refused, what)
        .hint(format!("see everything: tenantctl restore {} --verify", drill.place)))
}

/// The database in which a backup is restored, and the lock that says it is in use, which ends with
/// the session.
struct Beside {
    server: Session,
    database: Ident,
    cluster: ClusterName,
    operator: Ident,
    version: u32,
}

impl Beside {
    async fn hold(
        cx: &Context<'_>,
        cluster: &ClusterName,
        id: &TenantId,
        lock_wait: Duration,
    ) -> Result<Self, Error> {
        let server = cx.servers.dedicated(cluster, None).await?;
        let database = scratch::name(id)?;
        let _held = pg::hold(&server, LockKey::scratch(&database), lock_wait).await?;
        let (version, operator) = scratch::surroundings(&server).await?;
        Ok(Self { server, database, cluster: cluster.clone(), operator, version })
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
            state: State::Active,
        })
    }
}

/// A backup that is restored beside.
struct Drilling<'a> {
    cx: &'a Context<'a>,
    beside: &'a Beside,
    manifest: &'a Manifest,
    place: &'a str,
    started: Instant,
}

impl Drilling<'_> {
    /// Restores and compares, and answers for it in the audit log.
    async fn answer(&self, tool: &Tool, dump: &Dump, file: &Kept) -> anyhow::Result<Report> {
        let cx = self.cx;
        let id = TenantId::new(self.manifest.tenant.id.clone())?;
        let deed = Deed::new(cx, "restore --verify", Some(&id)).about(json!({
            "archive": self.place,
            "cluster": self.beside.cluster.as_str(),
            "database": self.beside.database.as_str(),
        }));
        let log = log_session(cx).await?;
        if let Some(session) = &log {
            deed.start(session).await?;
        }
        let answer = async {
            self.restore(tool, dump, file).await?;
            let drill = self.compare().await?;
            Ok(Report::Drill(Box::new(drill)))
        };
        let answer = answer.await;
        let Some(session) = &log else { return answer };
        deed.end(cx, session, answer, |report| match report {
            Report::Drill(drill) => {
                let same = drill.tables.iter().filter(|table| table.is_same()).count();
                json!({"whole": drill.is_whole(), "tables": drill.tables.len(), "same": same})
            }
            _ => json!({}),
        })
        .await
    }

    async fn restore(&self, tool: &Tool, dump: &Dump, file: &Kept) -> Result<(), Error> {
        let Self { cx, beside, .. } = self;
        cx.observer.on(&Event::Working { what: "making a database to restore into" });
        scratch::make(&beside.server, &beside.database).await?;
        let database = Some(&beside.database);
        if !dump.extensions.is_empty() {
            let session = cx.servers.dedicated(&beside.cluster, database).await?;
            scratch::make_extensions(&session, &dump.extensions).await?;
        }
        let settings = cx.servers.settings(&beside.cluster, database)?;
        cx.observer.on(&Event::Working { what: "pg_restore is at work" });
        let what = format!("restore tenant {}", self.manifest.tenant.id);
        tool.restore(file.again()?, beside.version, &settings, &what, cx.interrupt).await
    }

    async fn compare(&self) -> Result<Drill, Error> {
        let tenant = self.beside.tenant(self.manifest)?;
        let placement = &tenant.placement;
        let session =
            self.cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
        let snapshot = Snapshot::open(&session, &tenant, None, None).await?;
        let (found, _) = describe(self.cx, &tenant, &snapshot).await?;
        snapshot.close().await?;
        let recorded = self.manifest;
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
        Ok(Drill {
            tenant: recorded.tenant.id.clone(),
            place: self.place.to_owned(),
            made_at: recorded.made_at.clone(),
            version: recorded.version(),
            same_version: recorded.version == found.version,
            tables,
            took: self.started.elapsed(),
        })
    }
}
