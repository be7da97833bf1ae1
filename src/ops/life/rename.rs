//! Gives a tenant another name: id, schema, database, roles and registry together.

use std::time::{Duration, Instant};

use serde_json::json;

use super::house::house;
use super::{control, inside, steps};
use crate::error::{Code, Error};
use crate::model::credential::second_login;
use crate::model::ident::Ident;
use crate::model::layout::Template;
use crate::model::life::Household;
use crate::model::tenant::{Isolation, Tenant, TenantId};
use crate::model::trail::Outcome;
use crate::ops::select::unknown;
use crate::ops::trail::{Deed, standing, told};
use crate::ops::{Context, fleet};
use crate::pg::{self, LockKey, Session, life, registry};
use crate::plan::life::{Renaming, Standing, Wish, renamed, step, whose};
use crate::report::{Lived, LivedTarget, Report};

/// How often a database that somebody enters meanwhile is tried.
const ATTEMPTS: usize = 5;

/// How a tenant is renamed.
#[derive(Clone, Debug)]
pub struct RenameOptions {
    /// Which.
    pub id: TenantId,
    /// What it is to be called.
    pub to: TenantId,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
}

/// Renames a tenant. The old id stays its own: nobody else is ever called so.
///
/// # Errors
///
/// [`Code::NotFound`] for a tenant that is not there, [`Code::NameTaken`] when anything has the new
/// name already, and whatever the servers refuse.
pub async fn rename(cx: &Context<'_>, options: &RenameOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let control = control(cx, options.dry_run).await?;
    let (everybody, _) = fleet::everybody(cx).await?;
    let known = |id: &TenantId| everybody.iter().find(|tenant| tenant.id == *id);
    let Some(tenant) = known(&options.id) else {
        // Killed behind the registry's row, it is done.
        if life::was_called(&control, &options.id, &options.to).await? {
            let tenant = already(known(&options.to).cloned(), options)?;
            return Ok(answer(options, tenant, started));
        }
        return Err(unknown(&options.id, &everybody).into());
    };
    if options.id == options.to {
        return Ok(answer(options, LivedTarget::new(tenant.clone()), started));
    }
    if known(&options.to).is_some() {
        let what = format!("rename tenant {} to {}: there is one already", options.id, options.to);
        return Err(Error::new(Code::NameTaken, what).hint("choose another id").into());
    }
    if options.dry_run {
        let (renaming, standing, notes) =
            look(cx, &control, tenant.clone()).await?.named(cx, options)?;
        let target = LivedTarget { notes, ..target(&renaming, &standing) };
        return Ok(answer(options, target, started));
    }
    let first = pg::hold(&control, LockKey::tenant(&options.id), options.lock_wait).await?;
    let second = pg::hold(&control, LockKey::tenant(&options.to), options.lock_wait).await?;
    let tenant = registry::find(&control, &options.id).await?.unwrap_or_else(|| tenant.clone());
    let (renaming, stands, notes) = look(cx, &control, tenant.clone()).await?.named(cx, options)?;
    let deed = Deed::new(cx, "rename", Some(&options.id))
        .before(standing(&tenant))
        .about(json!({"reason": options.reason, "to": options.to.as_str()}));
    deed.start(&control).await?;
    let done = carry_out(cx, &control, &renaming, &stands, options.lock_wait).await;
    let (outcome, after, error) = match &done {
        Ok(()) => (Outcome::Done, standing(&renaming.to), None),
        Err(error) => (Outcome::Failed, serde_json::Value::Null, Some(told(error))),
    };
    deed.close(cx, &control, outcome, after, error).await;
    done?;
    let target = LivedTarget { notes, ..target(&renaming, &stands) };
    second.release().await?;
    first.release().await?;
    Ok(answer(options, target, started))
}

fn already(tenant: Option<Tenant>, options: &RenameOptions) -> Result<LivedTarget, Error> {
    let tenant = tenant
        .ok_or_else(|| Error::new(Code::NotFound, format!("there is no tenant {}", options.to)))?;
    Ok(LivedTarget::new(tenant))
}

fn answer(options: &RenameOptions, target: LivedTarget, started: Instant) -> Report {
    Report::Lived(Box::new(Lived {
        verb: "rename",
        dry_run: options.dry_run,
        targets: vec![target],
        interrupted: false,
        took: started.elapsed(),
    }))
}

fn target(renaming: &Renaming, standing: &Standing) -> LivedTarget {
    let tenant = renaming.house.tenant.clone();
    LivedTarget {
        names: renaming.names(),
        steps: steps(&renaming.tasks(standing), &tenant.placement),
        renamed: Some(renaming.to.id.clone()),
        ..LivedTarget::new(tenant)
    }
}

/// What no rename reaches, and somebody has to.
fn notes(renaming: &Renaming, naming: &[String]) -> Vec<String> {
    let (old, new) = (&renaming.house.tenant.placement.schema, &renaming.to.placement.schema);
    if old == new {
        return Vec::new();
    }
    let note = |function: &String| {
        format!(
            "{function} names schema {old} in its text or its settings, and goes on doing so: replace \
             it by one that names {new}"
        )
    };
    naming.iter().map(note).collect()
}

/// A tenant, and what stands of it.
struct Looked {
    house: Household,
    /// Functions that name its schema.
    naming: Vec<String>,
    closed: Option<crate::model::life::Doors>,
    names: life::Names,
    registry_is_here: bool,
    registry_is_near: bool,
}

async fn look(cx: &Context<'_>, control: &Session, tenant: Tenant) -> anyhow::Result<Looked> {
    let now = life::life(control, &tenant.id).await?;
    step(&tenant.id, &now, Wish::Rename)?;
    let house = house(cx, control, tenant).await?;
    let placement = &house.tenant.placement;
    let (cluster, database) = &cx.fleet.registry;
    let registry_is_near = *cluster == placement.cluster;
    let registry_is_here = registry_is_near && *database == placement.database;
    let server = cx.servers.session(&placement.cluster, None).await?;
    let mut names = life::names(&server).await?;
    let mut naming = Vec::new();
    if names.databases.contains(&placement.database) {
        let session = inside(cx, &house, placement.database.clone()).await?;
        names.schemas = life::schemas(&session).await?;
        naming = life::naming(&session, &placement.schema).await?;
    }
    Ok(Looked { house, naming, closed: now.closed, names, registry_is_here, registry_is_near })
}

impl Looked {
    /// With the names that the templates give for the new id.
    fn named(
        self,
        cx: &Context<'_>,
        options: &RenameOptions,
    ) -> Result<(Renaming, Standing, Vec<String>), Error> {
        let tenant = &self.house.tenant;
        let layout = cx.fleet.layout(tenant.isolation);
        let by = |template: &Template, old: &Ident| -> Result<Ident, Error> {
            Ok(renamed(old, &template.name(&tenant.id)?, &template.name(&options.to)?))
        };
        let mut to = Tenant { id: options.to.clone(), ..tenant.clone() };
        if tenant.isolation != Isolation::Shared {
            to.placement.schema = by(&layout.schema, &tenant.placement.schema)?;
        }
        if let (Isolation::Database, Some(template)) = (tenant.isolation, &layout.database) {
            to.placement.database = by(template, &tenant.placement.database)?;
        }
        let mut roles: Vec<(Ident, Ident)> = Vec::new();
        if self.house.owner_is_its_own {
            to.owner = by(&layout.owner, &tenant.owner)?;
            roles.push((tenant.owner.clone(), to.owner.clone()));
        }
        for (at, old) in tenant.roles.iter().enumerate() {
            if let Some(template) = layout.roles.get(at)
                && self.house.own_roles.contains(old)
            {
                to.roles[at] = by(template, old)?;
                roles.push((old.clone(), to.roles[at].clone()));
            }
        }
        if let Some(template) = &layout.readonly {
            let old = template.name(&tenant.id)?;
            if self.house.own_roles.contains(&old) {
                roles.push((old, template.name(&options.to)?));
            }
        }
        roles.retain(|(old, new)| old != new);
        let mut second_logins = Vec::new();
        for (old, new) in roles.iter().filter(|(old, _)| self.house.own_roles.contains(old)) {
            match (second_login(old), second_login(new)) {
                (Ok(old), Ok(new)) => second_logins.push((old, new)),
                (Ok(old), Err(too_long)) if self.house.second_logins.contains(&old) => {
                    return Err(too_long);
                }
                _ => {}
            }
        }
        let standing = Standing {
            roles: self.names.roles,
            databases: self.names.databases,
            schemas: self.names.schemas,
            registry_is_here: self.registry_is_here,
            registry_is_near: self.registry_is_near,
        };
        let closed = self.closed;
        let renaming = Renaming { house: self.house, to, roles, second_logins, closed };
        let taken = renaming.taken(&standing);
        if taken.is_empty() {
            let notes = notes(&renaming, &self.naming);
            return Ok((renaming, standing, notes));
        }
        let what = format!(
            "rename tenant {} to {}: there is {}",
            options.id,
            options.to,
            taken.join(", ")
        );
        Err(Error::new(Code::NameTaken, what).hint("choose another id"))
    }
}

async fn carry_out(
    cx: &Context<'_>,
    control: &Session,
    renaming: &Renaming,
    standing: &Standing,
    lock_wait: Duration,
) -> anyhow::Result<()> {
    let house = &renaming.house;
    let placement = &house.tenant.placement;
    // Nobody migrates it under its old name meanwhile.
    if placement.schema != renaming.to.placement.schema
        && standing.databases.contains(&placement.database)
    {
        let session = inside(cx, house, placement.database.clone()).await?;
        let lock = pg::hold(&session, LockKey::migrations(placement), lock_wait).await?;
        if house.tenant.isolation == Isolation::Database {
            lock.release().await?;
            drop(session);
            work(cx, control, renaming, standing).await?;
        } else {
            let done = work(cx, control, renaming, standing).await;
            lock.release().await?;
            done?;
        }
    } else {
        work(cx, control, renaming, standing).await?;
    }
    Ok(())
}

async fn work(
    cx: &Context<'_>,
    control: &Session,
    renaming: &Renaming,
    standing: &Standing,
) -> Result<(), Error> {
    let house = &renaming.house;
    let placement = &house.tenant.placement;
    let server = cx.servers.session(&placement.cluster, None).await?;
    let bench = life::Bench {
        tenant: &house.tenant.id,
        registry: control,
        server: &server,
        observer: cx.observer,
    };
    let moves = placement.database != renaming.to.placement.database;
    let open = async |database: Ident| inside(cx, house, database).await;
    for attempt in 1..=ATTEMPTS {
        if moves {
            // A database gets another name while nobody is in it.
            life::end_sessions(&server, &whose(house)).await?;
        }
        match life::carry_out(&renaming.tasks(standing), &bench, open).await {
            Err(error) if moves && attempt < ATTEMPTS && is_in_use(&error) => {}
            done => return done.map(|_| ()),
        }
    }
    Ok(())
}

fn is_in_use(error: &Error) -> bool {
    error.answer.as_ref().is_some_and(|answer| answer.sqlstate == "55006")
}
