//! Gives tenants another tier, region or labels, and brings their servers to what the tier says.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::trail::{Deed, standing};
use super::{Context, Selection, fleet};
use crate::error::{Code, Error};
use crate::model::credential::second_login;
use crate::model::desired::Limits;
use crate::model::ident::Ident;
use crate::model::interrupt::Interrupt;
use crate::model::tenant::{Isolation, State, Tenant, TenantId};
use crate::model::trail::Outcome;
use crate::pg::{self, LockKey, Session, Sessions, Work, registry};
use crate::plan::limits::{Reconciled, names as names_of, reconcile};
use crate::plan::waves::Share;
use crate::report::event::{Event, Nobody};
use crate::report::{Failure, Report, Settled, SettledStatus, SettledTarget, Source};

/// So many tenants are looked at at once.
const AT_ONCE: usize = 4;

/// How `set` goes about it.
#[derive(Clone, Debug)]
pub struct SetOptions {
    /// Whom it is about.
    pub selection: Selection,
    /// Another tier, or none at all; without it, the tier stays.
    pub tier: Option<Option<String>>,
    /// Another region; without it, the region stays.
    pub region: Option<String>,
    /// Labels to give, or to change.
    pub labels: BTreeMap<String, String>,
    /// Labels to take away.
    pub without: Vec<String>,
    /// Say what would be done.
    pub dry_run: bool,
    /// Say who differs, which is a "no".
    pub check: bool,
    /// More failures end the run.
    pub max_failures: Option<Share>,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
}

impl SetOptions {
    fn changes_nothing(&self) -> bool {
        self.dry_run || self.check
    }
}

/// Writes what is given to the registry and reconciles the selected tenants' own roles and databases
/// with their tiers, one result per tenant. Run again, it touches what is left.
///
/// # Errors
///
/// When nobody knows the tenants, and when there is no such tier. What goes wrong with one tenant is
/// part of the answer.
pub async fn set(cx: &Context<'_>, options: &SetOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    if let Some(Some(tier)) = &options.tier {
        cx.fleet.tier(tier)?;
    }
    let (everyone, source) = fleet::tenants(cx).await?;
    if source == Source::Declared {
        return Err(Error::new(
            Code::Refused,
            "there is no registry: tenants.toml says all there is",
        )
        .hint("change [[tenants]] in tenants.toml")
        .into());
    }
    if everyone.is_empty() {
        return Err(fleet::none(source).into());
    }
    let picked = options.selection.pick(everyone)?;
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    if !options.changes_nothing() {
        registry::ensure(&control, cx.sets.registry()).await?;
    }
    let given = pg::limits::given(&control).await?;
    let run = Setting { cx, control: &control, options, given: &given, id: Uuid::now_v7() };
    let (mut targets, stopped) = run.all(&picked).await;
    targets.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    Ok(Report::Settled(Settled {
        dry_run: options.changes_nothing(),
        check: options.check,
        targets,
        stopped,
        interrupted: cx.interrupt.is_raised(),
        took: started.elapsed(),
    }))
}

struct Setting<'a> {
    cx: &'a Context<'a>,
    control: &'a Session,
    options: &'a SetOptions,
    given: &'a BTreeMap<TenantId, BTreeSet<String>>,
    id: Uuid,
}

impl Setting<'_> {
    async fn all(&self, picked: &[Tenant]) -> (Vec<SettledTarget>, Option<String>) {
        let options = self.options;
        let budget = options.max_failures.map(|share| share.of(picked.len()));
        let failed = Cell::new(0);
        let spent = || budget.is_some_and(|budget| failed.get() > budget);
        let what = if options.changes_nothing() { "compare" } else { "set" };
        self.cx.observer.on(&Event::RunStarted {
            what,
            run: None,
            targets: picked.len(),
            clusters: &[],
        });
        let targets: Vec<SettledTarget> = stream::iter(picked)
            .map(|tenant| async {
                if self.cx.interrupt.is_raised() {
                    return skipped(tenant, "the run was interrupted before");
                }
                if spent() {
                    return skipped(tenant, "the run had ended before");
                }
                let target = self.watched(tenant).await;
                if target.status == SettledStatus::Failed {
                    failed.set(failed.get() + 1);
                }
                target
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        self.cx.observer.on(&Event::RunDone);
        let stopped = spent().then(|| {
            let most = options.max_failures.map_or_else(String::new, |share| share.to_string());
            format!("{} failed, and --max-failures allows {most}", failed.get())
        });
        (targets, stopped)
    }

    async fn watched(&self, tenant: &Tenant) -> SettledTarget {
        let began = Instant::now();
        let cluster = Some(&tenant.placement.cluster);
        let target = tenant.id.as_str();
        self.cx.observer.on(&Event::TargetStarted { cluster, target });
        let done = if self.options.changes_nothing() {
            self.one(tenant).await
        } else {
            self.locked(tenant).await
        };
        let settled = done.unwrap_or_else(|error| SettledTarget {
            status: SettledStatus::Failed,
            error: Some(Failure::from(&error)),
            ..nothing(tenant)
        });
        self.cx.observer.on(&Event::TargetDone {
            cluster,
            target,
            rows: &[],
            outcome: match &settled.error {
                Some(failure) => failure.message.clone(),
                None => settled.status.word().to_owned(),
            },
            failed: settled.error.is_some(),
            took: began.elapsed(),
        });
        settled
    }

    async fn locked(&self, tenant: &Tenant) -> Result<SettledTarget, Error> {
        let key = LockKey::tenant(&tenant.id);
        let held = pg::hold(self.control, key, self.options.lock_wait).await?;
        let done = async {
            // What was read before the lock may have changed.
            match registry::find(self.control, &tenant.id).await? {
                Some(now) => self.one(&now).await,
                None => Ok(skipped(tenant, "it is gone by now")),
            }
        }
        .await;
        let released = held.release().await;
        let settled = done?;
        released?;
        Ok(settled)
    }

    async fn one(&self, was: &Tenant) -> Result<SettledTarget, Error> {
        let wanted = self.wanted(was)?;
        let mut told = told(was, &wanted);
        let facts_differ = !told.is_empty();
        let mut target = SettledTarget { tier: wanted.tier.clone(), ..nothing(was) };
        let (own, reason) = self.limited(&wanted);
        target.reason = reason;
        let server = self.cx.servers.session(&was.placement.cluster, None).await?;
        let limits = self.limits(&wanted)?;
        let (reconciled, managed) = if own {
            self.reconciled(&server, &wanted, &limits).await?
        } else {
            (None, BTreeSet::new())
        };
        let steps = reconciled.as_ref().map_or(&[][..], |found| &found.plan.steps);
        told.extend(steps.iter().map(|step| step.change.describe()));
        if let Some(found) = &reconciled {
            target.beyond = found
                .beyond
                .iter()
                .flat_map(|change| change.statements(&found.plan.server))
                .map(|sql| format!("{sql};"))
                .collect();
        }
        let idle = told.is_empty();
        target.changes = told;
        if !target.beyond.is_empty() {
            target.reason = Some("a superuser must do the rest".to_owned());
        }
        target.status = match (idle, target.beyond.is_empty()) {
            (true, true) => SettledStatus::Unchanged,
            _ if self.options.changes_nothing() => SettledStatus::Differs,
            (_, false) => SettledStatus::Beyond,
            (false, true) => SettledStatus::Set,
        };
        if idle || self.options.changes_nothing() {
            return Ok(target);
        }
        let deed = Deed::new(self.cx, "set", Some(&was.id))
            .run(self.id)
            .before(standing(was))
            .about(json!({"changes": target.changes}));
        deed.start(self.control).await?;
        let done = async {
            // The registry first: what it says is what the next run brings about.
            if facts_differ {
                pg::limits::write_facts(self.control, &wanted).await?;
            }
            if let Some(found) = &reconciled {
                pg::limits::note_given(self.control, &was.id, &managed).await?;
                self.carry_out(&server, &wanted, found).await?;
            }
            Ok(())
        }
        .await;
        let (outcome, after, why) = match &done {
            Ok(()) => (Outcome::Done, standing(&wanted), None),
            Err(error) => {
                let error: &Error = error;
                let why = json!({"code": error.code.id(), "message": error.message});
                (Outcome::Failed, Value::Null, Some(why))
            }
        };
        deed.close(self.cx, self.control, outcome, after, why).await;
        done.map(|()| target)
    }

    /// The tenant as it should be registered.
    fn wanted(&self, was: &Tenant) -> Result<Tenant, Error> {
        let mut wanted = was.clone();
        if let Some(tier) = &self.options.tier {
            wanted.tier.clone_from(tier);
        }
        if let Some(region) = &self.options.region {
            let cluster = &was.placement.cluster;
            let has = self.cx.fleet.cluster(cluster)?.region.as_deref();
            if has != Some(region) {
                return Err(Error::new(
                    Code::Refused,
                    format!(
                        "tenant {} lives on cluster {cluster}, which is in {}, not in {region}",
                        was.id,
                        has.unwrap_or("no region that tenants.toml names")
                    ),
                )
                .hint("move it to a cluster of that region first"));
            }
            wanted.region = Some(region.clone());
        }
        wanted.labels.extend(self.options.labels.clone());
        for name in &self.options.without {
            wanted.labels.remove(name);
        }
        Ok(wanted)
    }

    fn limits(&self, wanted: &Tenant) -> Result<Limits, Error> {
        wanted.tier.as_deref().map_or_else(
            || Ok(Limits::default()),
            |name| self.cx.fleet.tier(name).map(|tier| tier.limits.clone()),
        )
    }

    /// Whether the tenant has roles of its own that limits can be put on, and why not.
    fn limited(&self, tenant: &Tenant) -> (bool, Option<String>) {
        let layout = self.cx.fleet.layout(tenant.isolation);
        let own = tenant.isolation != Isolation::Shared
            || layout.roles.iter().all(crate::model::layout::Template::per_tenant);
        if !tenant.state.has_data() || tenant.state == State::Provisioning {
            return (false, Some(format!("it is {}: its limits are not looked at", tenant.state)));
        }
        let why = format!("its role {} serves every tenant: no limits apply", tenant.role());
        if own { (true, None) } else { (false, tenant.tier.is_some().then_some(why)) }
    }

    async fn reconciled(
        &self,
        server: &Session,
        tenant: &Tenant,
        limits: &Limits,
    ) -> Result<(Option<Reconciled>, BTreeSet<String>), Error> {
        let layout = self.cx.fleet.layout(tenant.isolation);
        let mut users = tenant.roles.clone();
        if let Some(template) = &layout.readonly {
            users.push(template.name(&tenant.id)?);
        }
        let mut names = users.clone();
        names.extend(users.iter().filter_map(|role| second_login(role).ok()));
        let names: Vec<&Ident> = names.iter().collect();
        let logins = pg::logins(server, &names).await?;
        if let Some(missing) = tenant.roles.iter().find(|role| !logins.facts.contains_key(*role)) {
            return Err(Error::new(Code::NotFound, format!("there is no role {missing}"))
                .hint(format!("put it right with: tenantctl create {}", tenant.id)));
        }
        let database = match tenant.isolation {
            Isolation::Database => {
                let name = &tenant.placement.database;
                pg::limits::database_settings(server, name).await?.ok_or_else(|| {
                    Error::new(Code::NotFound, format!("there is no database {name}"))
                })?
            }
            Isolation::Shared | Isolation::Schema => BTreeMap::new(),
        };
        let mut managed = self.given.get(&tenant.id).cloned().unwrap_or_default();
        for tier in self.cx.fleet.tiers.values() {
            managed.extend(names_of(&tier.limits));
        }
        let forbidden = pg::limits::forbidden(server, &managed).await?;
        let found = reconcile(tenant, &users, limits, &managed, &forbidden, &logins, &database);
        Ok((Some(found), names_of(limits)))
    }

    async fn carry_out(
        &self,
        server: &Session,
        tenant: &Tenant,
        found: &Reconciled,
    ) -> Result<(), Error> {
        let work = Work {
            tenant,
            set: self.cx.sets.of(tenant.isolation),
            limits: pg::Limits::default(),
            lock_wait: Duration::ZERO,
            interrupt: &Interrupt::default(),
        };
        let sessions = Sessions { registry: self.control, server };
        let nowhere = async |_: Ident| -> Result<Session, Error> {
            Err(Error::new(Code::Bug, "a limit is no matter of one database"))
        };
        pg::run(&found.plan, &work, &sessions, nowhere, &Nobody).await
    }
}

fn nothing(tenant: &Tenant) -> SettledTarget {
    SettledTarget {
        tenant: tenant.id.clone(),
        isolation: tenant.isolation,
        placement: tenant.placement.clone(),
        tier: tenant.tier.clone(),
        changes: Vec::new(),
        beyond: Vec::new(),
        status: SettledStatus::Unchanged,
        reason: None,
        error: None,
    }
}

fn skipped(tenant: &Tenant, reason: &str) -> SettledTarget {
    SettledTarget {
        status: SettledStatus::Skipped,
        reason: Some(reason.to_owned()),
        ..nothing(tenant)
    }
}

/// What changes in the registry, in words.
fn told(was: &Tenant, now: &Tenant) -> Vec<String> {
    let mut told = Vec::new();
    let spoken = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    for (name, before, after) in
        [("tier", &was.tier, &now.tier), ("region", &was.region, &now.region)]
    {
        if before != after {
            told.push(format!("{name} {} instead of {}", spoken(after), spoken(before)));
        }
    }
    for (name, value) in &now.labels {
        if was.labels.get(name) != Some(value) {
            told.push(format!("label {name}={value}"));
        }
    }
    for name in was.labels.keys().filter(|name| !now.labels.contains_key(*name)) {
        told.push(format!("no label {name}"));
    }
    told
}
