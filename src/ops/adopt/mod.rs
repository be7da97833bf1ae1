//! Enters tenants that something else has made into the registry. Nothing is changed in them.

mod find;
mod names;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Context;
use super::trail::{Deed, standing};
use crate::config::Request;
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::observed::Registered;
use crate::model::tenant::{ClusterName, Isolation, State, Tenant, TenantId};
use crate::model::trail::Outcome;
use crate::pg::{self, LockKey, Session, registry};
use crate::plan;
use crate::report::event::Event;
use crate::report::{Adopted, AdoptedStatus, AdoptedTarget, Failure, Report};
use find::Candidate;

pub use names::NamePattern;

/// So many tenants are looked at at once.
const AT_ONCE: usize = 4;

/// What is looked for.
#[derive(Clone, Debug)]
pub enum Quarry {
    /// Schemas of one tenant each.
    Schemas(Option<NamePattern>),
    /// Databases of one tenant each.
    Databases(Option<NamePattern>),
    /// Keys in shared tables.
    Keys {
        /// The table that lists them.
        table: QualifiedName,
        /// Its column with the keys.
        key: Ident,
        /// Its column with what tenants are called; otherwise the key is.
        name: Option<Ident>,
    },
}

impl Quarry {
    /// The isolation model of what is found.
    pub fn isolation(&self) -> Isolation {
        match self {
            Self::Schemas(_) => Isolation::Schema,
            Self::Databases(_) => Isolation::Database,
            Self::Keys { .. } => Isolation::Shared,
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Schemas(_) => "schema",
            Self::Databases(_) => "database",
            Self::Keys { .. } => "key",
        }
    }
}

/// How `adopt` goes about it.
#[derive(Clone, Debug)]
pub struct AdoptOptions {
    /// What is looked for.
    pub quarry: Quarry,
    /// On which cluster; otherwise the registry's.
    pub cluster: Option<ClusterName>,
    /// In which database, of schemas and keys; otherwise where new tenants go.
    pub database: Option<Ident>,
    /// In which schema of a database of its own a tenant lives; otherwise as new tenants do.
    pub schema: Option<Ident>,
    /// The ids of names that cannot be one, or should not.
    pub mapped: BTreeMap<String, TenantId>,
    /// The tier of all of them.
    pub tier: Option<String>,
    /// The region of all of them.
    pub region: Option<String>,
    /// Labels of all of them.
    pub labels: BTreeMap<String, String>,
    /// Say what would be done.
    pub dry_run: bool,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
}

/// Finds tenants that something else has made, finds out their owner, roles and version, and enters
/// them into the registry as active. What `create` would have made differently is part of the answer.
///
/// Run again, it enters what is new.
///
/// # Errors
///
/// A name that cannot be a tenant's id and is not mapped refuses all. What goes wrong with one tenant
/// is part of the answer.
pub async fn adopt(cx: &Context<'_>, options: &AdoptOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    if let Some(tier) = &options.tier {
        cx.fleet.tier(tier)?;
    }
    let candidates = find::candidates(cx, options).await?;
    if candidates.is_empty() {
        let what = options.quarry.what();
        return Err(Error::new(Code::NotFound, format!("no {what} fits"))
            .hint("see what there is with psql: \\dn lists schemas, \\l databases")
            .into());
    }
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    let known = if options.dry_run {
        match registry::readiness(&control, cx.sets.registry()).await? {
            registry::Readiness::Absent => None,
            _ => Some(registry::tenants(&control).await?),
        }
    } else {
        registry::ensure(&control, cx.sets.registry()).await?;
        Some(registry::tenants(&control).await?)
    };
    let adopting =
        Adopting { cx, options, control: &control, known: known.as_deref(), id: Uuid::now_v7() };
    let targets = adopting.all(&candidates).await;
    Ok(Report::Adopted(Adopted {
        dry_run: options.dry_run,
        targets,
        interrupted: cx.interrupt.is_raised(),
        took: started.elapsed(),
    }))
}

struct Adopting<'a> {
    cx: &'a Context<'a>,
    options: &'a AdoptOptions,
    control: &'a Session,
    /// Who is registered; none without a registry.
    known: Option<&'a [Tenant]>,
    id: Uuid,
}

impl Adopting<'_> {
    async fn all(&self, candidates: &[Candidate]) -> Vec<AdoptedTarget> {
        let what = if self.options.dry_run { "look at" } else { "adopt" };
        self.cx.observer.on(&Event::RunStarted {
            what,
            run: None,
            targets: candidates.len(),
            clusters: &[],
        });
        let mut targets: Vec<AdoptedTarget> = stream::iter(candidates)
            .map(|candidate| self.watched(candidate))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        self.cx.observer.on(&Event::RunDone);
        targets.sort_by(|a, b| a.tenant.id.cmp(&b.tenant.id));
        targets
    }

    async fn watched(&self, candidate: &Candidate) -> AdoptedTarget {
        let tenant = &candidate.tenant;
        let began = Instant::now();
        let mut target = AdoptedTarget {
            tenant: tenant.clone(),
            found: candidate.found.clone(),
            version: None,
            differences: Vec::new(),
            notes: Vec::new(),
            status: AdoptedStatus::Skipped,
            error: None,
        };
        if self.cx.interrupt.is_raised() {
            return target;
        }
        let cluster = Some(&tenant.placement.cluster);
        let name = tenant.id.as_str();
        self.cx.observer.on(&Event::TargetStarted { cluster, target: name });
        if let Err(error) = self.one(candidate, &mut target).await {
            target.status = AdoptedStatus::Failed;
            target.error = Some(Failure::from(&error));
        }
        self.cx.observer.on(&Event::TargetDone {
            cluster,
            target: name,
            rows: &[],
            outcome: match &target.error {
                Some(failure) => failure.message.clone(),
                None => target.status.word().to_owned(),
            },
            failed: target.error.is_some(),
            took: began.elapsed(),
        });
        target
    }

    async fn one(&self, candidate: &Candidate, target: &mut AdoptedTarget) -> Result<(), Error> {
        let known = self.known.unwrap_or_default();
        if let Some(row) = known.iter().find(|row| row.id == candidate.tenant.id) {
            refuse_another(row, &candidate.tenant)?;
            target.tenant = row.clone();
            target.status = AdoptedStatus::Known;
            self.compare(candidate, target).await?;
            return Ok(());
        }
        self.compare(candidate, target).await?;
        if self.options.dry_run {
            target.status = AdoptedStatus::Pending;
            return Ok(());
        }
        let held =
            pg::hold(self.control, LockKey::tenant(&target.tenant.id), self.options.lock_wait)
                .await?;
        let done = self.enter(target).await;
        let released = held.release().await;
        done?;
        released?;
        target.status = AdoptedStatus::Adopted;
        Ok(())
    }

    async fn enter(&self, target: &AdoptedTarget) -> Result<(), Error> {
        let tenant = &target.tenant;
        if let Some(row) = registry::find(self.control, &tenant.id).await? {
            return refuse_another(&row, tenant);
        }
        let deed = Deed::new(self.cx, "adopt", Some(&tenant.id)).run(self.id).about(json!({
            "found": target.found,
            "version": target.version.map(|version| version.0),
            "differences": target.differences,
        }));
        deed.start(self.control).await?;
        let done = pg::adopt::enter(self.control, tenant).await;
        let (outcome, after, why) = match &done {
            Ok(()) => (Outcome::Done, standing(tenant), None),
            Err(error) => {
                let why = json!({"code": error.code.id(), "message": error.message});
                (Outcome::Failed, Value::Null, Some(why))
            }
        };
        deed.close(self.cx, self.control, outcome, after, why).await;
        done
    }

    /// Reads the version, and asks what `create` would do: that is what differs.
    async fn compare(
        &self,
        candidate: &Candidate,
        target: &mut AdoptedTarget,
    ) -> Result<(), Error> {
        let mut desired = self.desired(target.tenant.clone())?;
        let registry = self.known.map(|_| self.control);
        let mut observed = match pg::observe(self.cx.servers, registry, &desired).await {
            Err(error) if error.code == Code::Permission => {
                let owner = &target.tenant.owner;
                return Err(error.hint(format!(
                    "let tenantctl act as the owner: GRANT {owner} TO the role that it works as"
                )));
            }
            observed => observed?,
        };
        if let Some(holder) = &observed.holder {
            return Err(Error::new(
                Code::NameTaken,
                format!("{} is known as tenant {holder}", candidate.found),
            )
            .hint(format!("see it with: tenantctl show {holder}")));
        }
        let history = observed.schema.as_ref().and_then(|schema| schema.history.as_ref());
        target.version = history.and_then(crate::model::migration::History::version);
        if history.is_none_or(|history| history.0.is_empty()) {
            target.notes.push(format!(
                "nothing is recorded as applied: tenantctl migrate baseline --to VERSION --tenant {}",
                target.tenant.id
            ));
        }
        target.notes.extend(candidate.notes.iter().cloned());
        // As one that is active: what is asked is what it lacks, not how it is made.
        desired.tenant.state = State::Active;
        observed.registered = Some(Registered::from(&desired.tenant));
        let set = self.cx.sets.of(desired.tenant.isolation);
        match plan::provision(&desired, set, &observed) {
            Ok(plan) => {
                target.differences.extend(plan.steps.iter().map(|step| step.change.describe()));
                target.notes.extend(plan.notes);
            }
            // What create refuses is as different as can be.
            Err(error) => target.differences.push(error.message),
        }
        target.differences.extend(candidate.differences.iter().cloned());
        Ok(())
    }

    /// The tenant with its own names, beside what the configuration says of tenants like it.
    fn desired(&self, tenant: Tenant) -> Result<Desired, Error> {
        let request = Request {
            isolation: Some(tenant.isolation),
            cluster: Some(tenant.placement.cluster.clone()),
            region: tenant.region.clone(),
            tier: tenant.tier.clone(),
            uuid: Some(tenant.uuid),
            key: Some(tenant.key.clone()),
            labels: tenant.labels.clone(),
            ..Request::new(tenant.id.clone())
        };
        let mut desired = self.cx.fleet.desired(&request, tenant.uuid)?;
        desired.tenant = tenant;
        Ok(desired)
    }
}

/// Refuses an id that is somebody else's.
fn refuse_another(row: &Tenant, tenant: &Tenant) -> Result<(), Error> {
    let same_key = tenant.isolation != Isolation::Shared || row.key == tenant.key;
    if row.placement == tenant.placement && row.isolation == tenant.isolation && same_key {
        return Ok(());
    }
    Err(Error::new(
        Code::NameTaken,
        format!(
            "tenant {} exists already: isolation {} at {}",
            row.id, row.isolation, row.placement
        ),
    )
    .hint("give it another id with --map NAME=ID"))
}
