//! A role to log in as, for as long as the probes take.
//!
//! It owns nothing, may do nothing by itself, and is a member of the role that it stands in for: code
//! that says `RESET ROLE` in its session becomes somebody who may do no more than the application.
//! Whoever finds one whose maker is gone removes it: the maker holds a lock on its number for as long
//! as it lives. Should nobody ever look, it cannot log in for longer than a quarter of an hour.

use std::collections::BTreeSet;

use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::secret::Secret;
use crate::model::tenant::ClusterName;
use crate::pg::observe::catalog::failed;
use crate::pg::{Servers, Session};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// What the names of such roles begin with; twelve hexadecimal digits follow.
const PREFIX: &str = "tenantctl_probe_";

/// The key of the lock is the number in the name, with this before it.
const LOCKS: i64 = 0x7463_0000_0000_0000;

/// A role that was made to log in, and the session that made it.
pub(super) struct Prober {
    keeper: Session,
    pub(super) name: Ident,
    pub(super) password: Secret,
    /// What it is a member of.
    granted: BTreeSet<Ident>,
    /// Memberships are said with options, as from PostgreSQL 16 on.
    options: bool,
}

impl Prober {
    /// Makes one, as whoever runs the audit; says why it cannot.
    ///
    /// # Errors
    ///
    /// When the cluster cannot be reached.
    pub(super) async fn make(
        servers: &Servers,
        cluster: &ClusterName,
        version: i32,
    ) -> Result<Result<Self, String>, Error> {
        let keeper = servers.dedicated(cluster, None).await?;
        let id = Uuid::new_v4().simple().to_string();
        let digits = &id[..12];
        let name = Ident::new(format!("{PREFIX}{digits}"))?;
        let password =
            Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
        let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
        let lock = sql!("SELECT pg_catalog.pg_advisory_lock({})", key(digits));
        if let Err(why) = run(&keeper, &lock).await? {
            return Ok(Err(why));
        }
        let until = rows(
            &keeper,
            &sql!("SELECT (pg_catalog.clock_timestamp() + interval '15 minutes')::text"),
        )
        .await?;
        let until = until.first().map_or("now", String::as_str);
        let create = sql!(
            "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT \
             CONNECTION LIMIT 8 VALID UNTIL {} PASSWORD {}",
            name,
            Literal(until),
            Literal(&verifier)
        );
        Ok(match run(&keeper, &create).await? {
            Ok(()) => Ok(Self {
                keeper,
                name,
                password,
                granted: BTreeSet::new(),
                options: version >= 160_000,
            }),
            Err(why) => Err(why),
        })
    }

    /// Makes it a member of these roles, and of no others; says why it cannot.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn stand_in(&mut self, roles: &[&Ident]) -> Result<Result<(), String>, Error> {
        let others: Vec<Ident> =
            self.granted.iter().filter(|role| !roles.contains(role)).cloned().collect();
        if !others.is_empty() {
            let revoke = sql!("REVOKE {} FROM {}", List(&others), self.name);
            if let Err(why) = run(&self.keeper, &revoke).await? {
                return Ok(Err(why));
            }
            self.granted.retain(|role| !others.contains(role));
        }
        for role in roles {
            if self.granted.contains(*role) {
                continue;
            }
            let grant = if self.options {
                sql!("GRANT {} TO {} WITH INHERIT TRUE, SET TRUE", role, self.name)
            } else {
                sql!("GRANT {} TO {}", role, self.name)
            };
            if let Err(why) = run(&self.keeper, &grant).await? {
                return Ok(Err(why));
            }
            self.granted.insert((*role).clone());
        }
        Ok(Ok(()))
    }

    /// Removes it; says why it is still there.
    ///
    /// # Errors
    ///
    /// When the session breaks: the next audit removes it then.
    pub(super) async fn remove(self) -> Result<Result<(), String>, Error> {
        run(&self.keeper, &sql!("DROP ROLE IF EXISTS {}", self.name)).await
    }
}

/// Removes the roles of audits that did not live to do it themselves.
///
/// # Errors
///
/// When the cluster cannot be reached. What cannot be removed is left for whoever may.
pub(in crate::pg) async fn sweep(session: &Session) -> Result<(), Error> {
    let left = rows(
        session,
        &sql!("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname ~ '^tenantctl_probe_[0-9a-f]{{12}}$'"),
    )
    .await?;
    for name in left {
        let key = key(name.trim_start_matches(PREFIX));
        let name = Ident::new(name)?;
        let free = rows(session, &sql!("SELECT pg_catalog.pg_try_advisory_lock({})", key)).await?;
        if free.first().is_some_and(|free| free == "t") {
            if let Err(why) = run(session, &sql!("DROP ROLE IF EXISTS {}", name)).await? {
                log::warn!("{name} was left by an audit that was killed: {why}");
            }
            let unlock = sql!("SELECT pg_catalog.pg_advisory_unlock({})", key);
            if let Err(why) = run(session, &unlock).await? {
                log::debug!("{why}");
            }
        }
    }
    Ok(())
}

fn key(digits: &str) -> i64 {
    LOCKS | i64::from_str_radix(digits, 16).unwrap_or_default()
}

async fn run(session: &Session, statement: &Sql) -> Result<Result<(), String>, Error> {
    match session.client().batch_execute(statement.as_str()).await {
        Ok(()) => Ok(Ok(())),
        Err(error) => match error.as_db_error() {
            Some(said) => Ok(Err(format!("{} ({})", said.message(), said.code().code()))),
            None => Err(failed("make a role to probe with", error)),
        },
    }
}

async fn rows(session: &Session, query: &Sql) -> Result<Vec<String>, Error> {
    let messages = session
        .client()
        .simple_query(query.as_str())
        .await
        .map_err(|error| failed("look for roles to probe with", error))?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect())
}
