//! Erases what a tenant knows of one person.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::moving::{Site, here};
use super::rewrite::Consent;
use super::trail::{Deed, standing};
use super::{Context, fleet};
use crate::config;
use crate::error::Error;
use crate::model::erasure::Erasure;
use crate::model::tenant::{Tenant, TenantId};
use crate::pg::{self, LockKey, Session, erasing, life, registry};
use crate::plan;
use crate::plan::life::{Wish, step};
use crate::report::{ErasedLink, ErasedTable, Erasing, Report};

/// How rows are erased.
#[derive(Clone, Debug)]
pub struct EraseOptions {
    /// The file that says which rows.
    pub where_file: PathBuf,
    /// Count, and erase nothing.
    pub dry_run: bool,
    /// Why, for the audit log. It is no place for what is erased.
    pub reason: Option<String>,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
}

/// Erases rows that a file means, and what hangs on them along foreign keys, in one transaction.
///
/// What is kept of it is how many rows of which tables, and a hash of the file: nothing that was
/// erased, and nothing that the file says.
///
/// # Errors
///
/// `config` with the place in the file, `refused` where a legal hold or a key that
/// nobody decided about forbids it. Nothing is erased then.
pub async fn erase(
    cx: &Context<'_>,
    id: &TenantId,
    options: &EraseOptions,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let erasure = config::read_erasure(&options.where_file)?;
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    if options.dry_run {
        return counted(cx, &control, id, &erasure, started).await;
    }
    registry::ensure(&control, cx.sets.registry()).await?;
    let lock = pg::hold(&control, LockKey::tenant(id), options.lock_wait).await?;
    let tenant = super::moving::known(&control, id).await?;
    refuse(&control, id).await?;
    let work = Work::open(cx, &tenant, &erasure, started).await?;
    let would = work.run(false).await?;
    if would.deleted() + would.nulled() == 0 {
        lock.release().await?;
        return Ok(Report::Erasing(Box::new(Erasing { dry_run: false, ..would })));
    }
    consent.given(&Report::Erasing(Box::new(would)))?;
    let deed = Deed::new(cx, "erase", Some(id))
        .before(standing(&tenant))
        .about(json!({"where_file_sha256": erasure.digest, "reason": options.reason}));
    deed.start(&control).await?;
    let done = work.run(true).await.map(|erased| Report::Erasing(Box::new(erased)));
    let answer = deed.end(cx, &control, done, after).await;
    lock.release().await?;
    answer
}

/// The receipt: numbers, and no value of any row.
fn after(answer: &Report) -> Value {
    let Report::Erasing(erased) = answer else {
        return Value::Null;
    };
    let tables: Vec<Value> = erased
        .tables
        .iter()
        .map(|table| {
            json!({
                "table": table.name.to_string(),
                "before": table.rows.before,
                "deleted": table.rows.deleted,
                "nulled": table.rows.nulled,
                "after": table.rows.after,
            })
        })
        .collect();
    json!({"receipt": erased.receipt(), "tables": tables})
}

async fn counted(
    cx: &Context<'_>,
    control: &Session,
    id: &TenantId,
    erasure: &Erasure,
    started: Instant,
) -> anyhow::Result<Report> {
    let (tenants, _) = fleet::tenants(cx).await?;
    let tenant = tenants
        .iter()
        .find(|tenant| tenant.id == *id)
        .ok_or_else(|| super::select::unknown(id, &tenants))?;
    if registry::readiness(control, cx.sets.registry()).await? == registry::Readiness::Ready {
        refuse(control, id).await?;
    }
    let work = Work::open(cx, tenant, erasure, started).await?;
    Ok(Report::Erasing(Box::new(work.run(false).await?)))
}

/// What must be kept is kept, and what is on its way is left alone: in its old place a tenant that has
/// moved would keep what is erased.
async fn refuse(control: &Session, id: &TenantId) -> Result<(), Error> {
    let life = life::life(control, id).await?;
    step(id, &life, Wish::EraseRows).map(|_| ())
}

struct Work<'a> {
    site: Site,
    holdings: crate::model::holdings::Holdings,
    plan: plan::erasing::Plan,
    erasure: &'a Erasure,
    tenant: &'a Tenant,
    started: Instant,
}

impl<'a> Work<'a> {
    async fn open(
        cx: &Context<'_>,
        tenant: &'a Tenant,
        erasure: &'a Erasure,
        started: Instant,
    ) -> Result<Self, Error> {
        let (site, holdings) = here(cx, tenant, Uuid::now_v7()).await?;
        let plan = plan::erasing::plan(tenant, &holdings, erasure)?;
        erasing::check(site.place(), &holdings, &plan, erasure).await?;
        Ok(Self { site, holdings, plan, erasure, tenant, started })
    }

    async fn run(&self, commit: bool) -> anyhow::Result<Erasing> {
        let place = self.site.place();
        let erased =
            erasing::erase(place, &self.holdings, &self.plan, self.erasure, commit).await?;
        let links = self.plan.links.iter().zip(&erased.links).map(|(link, rows)| ErasedLink {
            key: link.edge.name.clone(),
            from: link.edge.from.clone(),
            to: link.edge.to.clone(),
            fate: link.fate,
            rows: *rows,
        });
        Ok(Erasing {
            tenant: self.tenant.id.clone(),
            uuid: self.tenant.uuid,
            dry_run: !commit,
            file: self.erasure.file.clone(),
            file_digest: self.erasure.digest.clone(),
            tables: erased
                .tables
                .iter()
                .map(|(name, rows)| ErasedTable {
                    name: name.clone(),
                    rows: *rows,
                    triggers: erased.triggers.get(name).cloned().unwrap_or_default(),
                })
                .collect(),
            links: links.collect(),
            took: self.started.elapsed(),
        })
    }
}
