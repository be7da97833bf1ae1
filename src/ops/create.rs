//! Makes one tenant, or finishes one that was begun.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::Context;
use super::converge::{Converged, Patience, converge};
use super::credentials::password as credentials;
use super::trail::{Deed, standing, told};
use crate::config::Request;
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::migration::Version;
use crate::model::observed::{Observed, Registered};
use crate::model::secret::Secret;
use crate::model::tenant::{Placement, State, Tenant};
use crate::model::trail;
use crate::pg::{self, LockKey, Session, registry};
use crate::plan;
use crate::report::{Credential, Outcome, Planned, Provisioned, Report};

/// How `create` goes about it.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Leave a tenant that is active as it is.
    pub if_not_exists: bool,
    /// Say what would be done.
    pub dry_run: bool,
    /// Where passwords are written.
    pub credentials_file: Option<PathBuf>,
    /// Whether passwords may be part of the answer.
    pub show_credentials: bool,
    /// How long to wait for another tenantctl.
    pub lock_wait: Duration,
    /// How long migrations may wait and work.
    pub limits: pg::Limits,
}

/// Makes one tenant, or finishes one that was begun.
///
/// # Errors
///
/// A request that cannot be meant, a plan that is refused, a step that fails: see
/// [`plan::provision`]. What was done before stays, and the next run finishes it.
pub async fn create(
    cx: &Context<'_>,
    request: Request,
    options: &CreateOptions,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    // Refuses what can be refused before anything is touched.
    cx.fleet.desired(&request, Uuid::new_v4())?;
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    if options.dry_run {
        return dry_run(cx, &control, request).await;
    }
    registry::ensure(&control, cx.sets.registry()).await?;
    let lock = pg::hold(&control, LockKey::tenant(&request.id), options.lock_wait).await?;
    let known = registry::find(&control, &request.id).await?;
    let mut desired = resolve(cx, request, known.as_ref())?;
    let before = known.as_ref().map(|tenant| tenant.state);
    let known_before = known.clone();
    if let Some(known) = known.filter(|known| options.if_not_exists && known.state == State::Active)
    {
        lock.release().await?;
        plan::refuse_another_shape(&desired, &Registered::from(&known))?;
        let answer = answer(cx, known, before, Converged::default(), started).await;
        return Ok(Report::Provisioned(Box::new(answer)));
    }

    let patience = Patience { lock_wait: options.lock_wait, limits: options.limits };
    let issued = Issued::default();
    let prepare = async |desired: &mut Desired, observed: &Observed, locked: bool| {
        issued.prepare(desired, observed, locked, options)
    };
    let deed = Deed::new(cx, "create", Some(&desired.tenant.id))
        .before(known_before.as_ref().map_or(Value::Null, standing));
    let made = async {
        let converged = converge(cx, &control, &mut desired, prepare, patience).await?;
        repeat(cx, &desired, options).await?;
        let names = plan::limits::names(&desired.limits);
        if !converged.steps.is_empty() && !names.is_empty() && desired.roles_are_its_own {
            pg::limits::note_given(&control, &desired.tenant.id, &names).await?;
        }
        Ok::<_, Error>(converged)
    };
    let made = made.await.map_err(anyhow::Error::from);
    // The registry's row has answered for what was begun; of what was as it should be, nobody has to.
    match &made {
        Ok(converged) if converged.steps.is_empty() => {}
        Ok(_) => {
            let now = Tenant { state: State::Active, ..desired.tenant.clone() };
            deed.close(cx, &control, trail::Outcome::Done, standing(&now), None).await;
        }
        Err(error) => {
            let error = Some(told(error));
            deed.close(cx, &control, trail::Outcome::Failed, Value::Null, error).await;
        }
    }
    let converged = made?;
    lock.release().await?;

    let mut answer = answer(cx, desired.tenant.clone(), before, converged, started).await;
    issued.tell(&mut answer, &desired, options);
    Ok(Report::Provisioned(Box::new(answer)))
}

/// Applies repeatable files that changed since, which come behind all migrations.
async fn repeat(cx: &Context<'_>, desired: &Desired, options: &CreateOptions) -> Result<(), Error> {
    let tenant = &desired.tenant;
    let set = cx.sets.of(tenant.isolation);
    if set.repeatables().is_empty() {
        return Ok(());
    }
    let Placement { cluster, database, .. } = &tenant.placement;
    let session = cx.servers.lasting(cluster, Some(database)).await?;
    let schema = pg::Schema {
        placement: &tenant.placement,
        owner: &tenant.owner,
        set,
        limits: options.limits,
        lock_wait: options.lock_wait,
    };
    pg::reapply(&session, &schema).await?;
    Ok(())
}

/// What is already registered stays as it is unless the request says otherwise.
fn resolve(
    cx: &Context<'_>,
    mut request: Request,
    known: Option<&Tenant>,
) -> Result<Desired, Error> {
    let Some(known) = known else {
        return cx.fleet.desired(&request, Uuid::new_v4());
    };
    refuse_other_facts(&request, known)?;
    request.isolation = request.isolation.or(Some(known.isolation));
    request.cluster = request.cluster.or_else(|| Some(known.placement.cluster.clone()));
    request.region = request.region.or_else(|| known.region.clone());
    request.tier = request.tier.or_else(|| known.tier.clone());
    request.key = request.key.or_else(|| Some(known.key.clone()));
    if request.labels.is_empty() {
        request.labels.clone_from(&known.labels);
    }
    cx.fleet.desired(&request, known.uuid)
}

/// Refuses what would need more than making: the registry keeps what a tenant was made with.
fn refuse_other_facts(request: &Request, known: &Tenant) -> Result<(), Error> {
    let key = Some(known.key.clone());
    let facts = [
        ("tier", &request.tier, &known.tier),
        ("region", &request.region, &known.region),
        ("key", &request.key, &key),
    ];
    for (fact, wanted, has) in facts {
        if wanted.is_some() && wanted != has {
            let spoken =
                |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            return Err(Error::new(
                Code::Refused,
                format!(
                    "tenant {} exists already: {fact} {}, not {}",
                    known.id,
                    spoken(has),
                    spoken(wanted)
                ),
            )
            .hint(format!("see it with: tenantctl show {}", known.id)));
        }
    }
    Ok(())
}

async fn dry_run(cx: &Context<'_>, control: &Session, request: Request) -> anyhow::Result<Report> {
    let ready = registry::readiness(control, cx.sets.registry()).await?;
    let registry = (ready != registry::Readiness::Absent).then_some(control);
    let known = match registry {
        Some(session) => registry::find(session, &request.id).await?,
        None => None,
    };
    let desired = resolve(cx, request, known.as_ref())?;
    let observed = pg::observe(cx.servers, registry, &desired).await?;
    let plan = plan::provision(&desired, cx.sets.of(desired.tenant.isolation), &observed)?;
    Ok(Report::Planned(Box::new(Planned::new(desired.tenant, &plan))))
}

async fn answer(
    cx: &Context<'_>,
    tenant: Tenant,
    before: Option<State>,
    converged: Converged,
    started: Instant,
) -> Provisioned {
    let outcome = match (before, converged.steps.is_empty()) {
        (None, _) => Outcome::Created,
        (Some(State::Active), true) => Outcome::Unchanged,
        (Some(State::Active), false) => Outcome::Repaired,
        (Some(_), _) => Outcome::Finished,
    };
    Provisioned {
        version: version(cx, &tenant).await.ok().flatten(),
        tenant,
        outcome,
        steps: converged.steps,
        notes: converged.notes,
        credentials: Vec::new(),
        credentials_file: None,
        took: started.elapsed(),
    }
}

async fn version(cx: &Context<'_>, tenant: &Tenant) -> Result<Option<Version>, Error> {
    let placement = &tenant.placement;
    let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
    let mut histories = pg::histories(&session, &[&placement.schema]).await?;
    let history = histories.remove(&placement.schema).transpose()?;
    Ok(history.as_ref().and_then(crate::model::migration::History::version))
}

/// The passwords of this run, once there are any.
#[derive(Default)]
struct Issued {
    passwords: std::cell::RefCell<Vec<(Ident, Secret)>>,
}

impl Issued {
    /// Gives the plan verifiers when the tenant's roles log in by themselves and have no passwords
    /// that anybody knows.
    fn prepare(
        &self,
        desired: &mut Desired,
        observed: &Observed,
        locked: bool,
        options: &CreateOptions,
    ) -> Result<(), Error> {
        let wanted = options.credentials_file.is_some() || options.show_credentials;
        if !wanted {
            return Ok(());
        }
        if !plan::wants_password(desired, observed) {
            // Once this run has made the tenant, what it issued stays issued.
            if observed.registered.as_ref().is_none_or(|row| row.state != State::Active) {
                desired.credentials.clear();
                self.passwords.borrow_mut().clear();
            }
            return Ok(());
        }
        if !self.passwords.borrow().is_empty() {
            return Ok(());
        }
        // Of two runs that share a role, one gives it a password: whoever holds the lock. The plan
        // asks for the lock when it is to set one, even one that nobody will ever use.
        if !locked && !desired.roles_are_its_own {
            let nobodys = credentials::verifier(&credentials::generate()?);
            desired.credentials =
                desired.tenant.roles.iter().map(|role| (role.clone(), nobodys.clone())).collect();
            return Ok(());
        }
        let roles = &desired.tenant.roles;
        let passwords = match &options.credentials_file {
            Some(path) => credentials::keep(path, desired.tenant.id.as_str(), roles)?,
            None => roles
                .iter()
                .map(|role| Ok((role.clone(), credentials::generate()?)))
                .collect::<Result<_, Error>>()?,
        };
        desired.credentials = passwords
            .iter()
            .map(|(role, password)| (role.clone(), credentials::verifier(password)))
            .collect();
        *self.passwords.borrow_mut() = passwords;
        Ok(())
    }

    fn tell(self, answer: &mut Provisioned, desired: &Desired, options: &CreateOptions) {
        let logs_in = desired.login_role.is_none();
        let passwords = self.passwords.into_inner();
        match (passwords.is_empty(), &options.credentials_file) {
            (false, Some(path)) => answer.credentials_file = Some(path.clone()),
            (false, None) => {
                answer.credentials = passwords
                    .into_iter()
                    .map(|(role, password)| Credential { role, password })
                    .collect();
            }
            (true, Some(_)) => answer.notes.push(
                "no password was issued: one is, when a role that logs in is made".to_owned(),
            ),
            (true, None) if logs_in && answer.outcome == Outcome::Created => {
                answer.notes.push(format!(
                    "role {} logs in and has no password: --credentials-file FILE issues one",
                    desired.tenant.role()
                ));
            }
            (true, None) => {}
        }
    }
}
