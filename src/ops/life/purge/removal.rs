//! Removes what was found, and looks whether it is gone.

use std::collections::BTreeMap;

use super::found::Found;
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::tenant::Isolation;
use crate::ops::Context;
use crate::ops::life::inside;
use crate::pg::life::purge;
use crate::pg::{self, Session, life};
use crate::plan::life::whose;
use crate::plan::transfer::unloading;
use crate::report::event::Event;

/// A trigger of the schema's author may write rows while others are removed: so often they are looked
/// for again.
const ROUNDS: usize = 5;

/// What was removed, and what was looked at afterwards.
pub(super) struct Removed {
    /// The rows that are left, by table.
    pub(super) left: BTreeMap<String, u64>,
    /// Everything else that is gone, in words.
    pub(super) gone: Vec<String>,
    /// What was looked at and had nothing of the tenant.
    pub(super) checked: Vec<String>,
}

/// Removes everything that was found.
///
/// # Errors
///
/// The first step's that fails; what was removed before stays so, and the next run goes on.
pub(super) async fn remove(
    cx: &Context<'_>,
    control: &Session,
    found: &Found,
) -> Result<Removed, Error> {
    let tenant = &found.house.tenant;
    let placement = &tenant.placement;
    let mut removed = Removed { left: BTreeMap::new(), gone: Vec::new(), checked: Vec::new() };
    let server = cx.servers.session(&placement.cluster, None).await?;
    life::end_sessions(&server, &whose(&found.house)).await?;
    let work = Work { cx, found, server: &server };
    match tenant.isolation {
        Isolation::Shared => work.rows(&mut removed).await?,
        Isolation::Schema => work.schemas(&mut removed).await?,
        Isolation::Database => work.database(&mut removed).await?,
    }
    work.roles(&mut removed).await?;
    let house = &found.house;
    let owner = house.owner_is_its_own.then_some(&tenant.owner);
    let roles: Vec<&Ident> = house.own_roles.iter().chain(owner).collect();
    pg::credentials::forget(control, &placement.cluster, &roles).await?;
    pg::limits::forget(control, &tenant.id).await?;
    Ok(removed)
}

struct Work<'a> {
    cx: &'a Context<'a>,
    found: &'a Found,
    server: &'a Session,
}

impl Work<'_> {
    async fn step(
        &self,
        what: String,
        work: impl AsyncFnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let tenant = &self.found.house.tenant.id;
        let began = std::time::Instant::now();
        self.cx.observer.on(&Event::StepStarted { tenant, what: what.clone() });
        work().await?;
        self.cx.observer.on(&Event::StepDone { tenant, what, took: began.elapsed() });
        Ok(())
    }

    async fn session(&self) -> Result<Session, Error> {
        let house = &self.found.house;
        inside(self.cx, house, house.tenant.placement.database.clone()).await
    }

    async fn rows(&self, removed: &mut Removed) -> Result<(), Error> {
        let house = &self.found.house;
        let Some(holdings) = &self.found.holdings else {
            return Ok(());
        };
        let session = self.session().await?;
        let mut counts = self.found.counts.clone();
        for _ in 0..ROUNDS {
            if counts.values().all(|rows| *rows == 0) {
                break;
            }
            for group in unloading(holdings) {
                let names: Vec<String> = group.iter().map(ToString::to_string).collect();
                if group.iter().all(|name| counts.get(name).is_none_or(|rows| *rows == 0)) {
                    continue;
                }
                let what = format!("remove the rows of {}", names.join(", "));
                self.step(what, async || purge::empty(&session, house, holdings, &group).await)
                    .await?;
            }
            counts = purge::count(&session, house, holdings).await?;
        }
        removed.left = counts.iter().map(|(name, rows)| (name.to_string(), *rows)).collect();
        if let Some((name, rows)) = counts.iter().find(|(_, rows)| **rows > 0) {
            let what = format!(
                "remove tenant {}: {name} has {rows} rows of it again and again: something writes them",
                house.tenant.id
            );
            return Err(Error::new(Code::Refused, what).hint("stop it, and run purge again"));
        }
        let place =
            format!("{} of {}", house.tenant.placement.schema, house.tenant.placement.database);
        removed
            .checked
            .push(format!("every table of {place} with the tenant column, or that refers to one"));
        purge::reopen_rows(&session, house).await
    }

    async fn schemas(&self, removed: &mut Removed) -> Result<(), Error> {
        let house = &self.found.house;
        if !self.found.schemas.is_empty() {
            let session = self.session().await?;
            let names: Vec<String> = self.found.schemas.iter().map(ToString::to_string).collect();
            let what = format!("drop {}", names.join(", "));
            let schemas = &self.found.schemas;
            self.step(what, async || purge::drop_schemas(&session, house, schemas).await).await?;
        }
        if purge::is_there(self.server, &house.tenant.placement.database).await?.is_some() {
            let session = self.session().await?;
            for role in &self.found.roles {
                let objects = purge::unlink_large_objects(&session, role).await?;
                if objects > 0 {
                    removed.gone.push(format!("{objects} large objects of {role}"));
                }
            }
            let left = purge::own_schemas(&session, house).await?;
            if let Some(schema) = left.first() {
                let what =
                    format!("remove tenant {}: schema {schema} is still there", house.tenant.id);
                return Err(Error::new(Code::Bug, what));
            }
        }
        let schema = &house.tenant.placement.schema;
        removed.gone.push(format!("schema {schema}"));
        let others = self.found.schemas.iter().filter(|other| *other != schema);
        removed.gone.extend(others.map(|other| format!("schema {other}")));
        Ok(())
    }

    async fn database(&self, removed: &mut Removed) -> Result<(), Error> {
        let database = &self.found.house.tenant.placement.database;
        if self.found.database {
            let what = format!("drop database {database}");
            self.step(what, async || purge::drop_database(self.server, database).await).await?;
        }
        if purge::is_there(self.server, database).await?.is_some() {
            let what = format!("drop database {database}: it is still there");
            return Err(Error::new(Code::Bug, what));
        }
        removed.gone.push(format!("database {database}"));
        Ok(())
    }

    /// Each role is taken out of every database that names it, and then out of the cluster.
    async fn roles(&self, removed: &mut Removed) -> Result<(), Error> {
        let cluster = &self.found.house.tenant.placement.cluster;
        let owner = &self.found.house.tenant.owner;
        for role in &self.found.roles {
            let what = format!("drop role {role}");
            self.step(what, async || {
                let mut visited = false;
                for trace in purge::traces(self.server, role).await? {
                    let Some(database) = trace.database else { continue };
                    let name = Ident::new(database)?;
                    let session = self.cx.servers.dedicated(cluster, Some(&name)).await?;
                    purge::forget(&session, role, owner).await?;
                    visited = true;
                }
                // What belongs to no database is forgotten from any.
                if !visited && !purge::traces(self.server, role).await?.is_empty() {
                    purge::forget(self.server, role, owner).await?;
                }
                purge::drop_role(self.server, role).await
            })
            .await?;
            if purge::role_is_there(self.server, role).await? {
                return Err(Error::new(Code::Bug, format!("drop role {role}: it is still there")));
            }
        }
        let house = &self.found.house;
        let all = house.logins().chain(house.owner_is_its_own.then_some(owner));
        removed.gone.extend(all.map(|role| format!("role {role}")));
        removed
            .checked
            .push(format!("every database of cluster {cluster} for what names its roles"));
        Ok(())
    }
}
