//! A role to log in as, for as long as the probes take.
//!
//! It owns nothing, may do nothing by itself, and is a member of the role that it stands in for: code
//! that says `RESET ROLE` in its session becomes somebody who may do no more than the application.
//!
//! It does not outlive whoever made it. One message makes the role, waits for a lock that the audit
//! holds, and drops the role: the server has all of it before the role is there, and the lock is free
//! as soon as the audit is done, or its connection is gone because it was killed. Only a server that
//! is stopped meanwhile, or somebody who ends that session, leaves the role behind: the next audit
//! removes it, and should there be none, it cannot log in for longer than a quarter of an hour.

use std::collections::BTreeSet;

use tokio::task::JoinHandle;
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::secret::Secret;
use crate::pg::observe::catalog::failed;
use crate::pg::{Servers, Session};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// What the names of such roles begin with; twelve hexadecimal digits follow.
const PREFIX: &str = "tenantctl_probe_";

/// The key of the lock by which a role lives is the number in its name, with this before it.
const LIFE: i64 = 0x7463_0000_0000_0000;

/// The key of the lock that is free once the role is there.
const BIRTH: i64 = 0x7464_0000_0000_0000;

/// A role that was made to log in, and who sees to its end.
pub(super) struct Prober<'k> {
    /// Holds the lock by which the role lives.
    keeper: &'k Session,
    pub(super) name: Ident,
    pub(super) password: Secret,
    /// Made the role, and drops it when the lock is free.
    end: JoinHandle<Result<Result<(), String>, Error>>,
    life: i64,
    /// What it is a member of.
    granted: BTreeSet<Ident>,
    /// Memberships are said with options, as from PostgreSQL 16 on.
    options: bool,
}

impl<'k> Prober<'k> {
    /// Makes one, as whoever runs the audit, whose session keeps it; says why it cannot.
    ///
    /// # Errors
    ///
    /// When the cluster cannot be reached.
    pub(super) async fn make(
        servers: &Servers,
        keeper: &'k Session,
        version: i32,
    ) -> Result<Result<Self, String>, Error> {
        let id = Uuid::new_v4().simple().to_string();
        let digits = &id[..12];
        let name = Ident::new(format!("{PREFIX}{digits}"))?;
        let (life, birth) = (key(LIFE, digits), key(BIRTH, digits));
        let password =
            Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
        let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
        // A lock belongs to a database.
        let database = Ident::new(keeper.database().to_owned())?;
        let maker = servers.dedicated(keeper.cluster(), Some(&database)).await?;
        for (session, lock) in [(&maker, birth), (keeper, life)] {
            if let Err(why) = run(session, &patient(lock)).await? {
                return Ok(Err(why));
            }
        }
        let until = rows(
            keeper,
            &sql!("SELECT (pg_catalog.clock_timestamp() + interval '15 minutes')::text"),
        )
        .await?;
        let until = until.first().map_or("now", String::as_str);
        let whole_life = sql!(
            "BEGIN; CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT \
             CONNECTION LIMIT 8 VALID UNTIL {} PASSWORD {}; COMMIT; \
             SELECT pg_catalog.pg_advisory_unlock({}); \
             SELECT pg_catalog.pg_advisory_lock({}); DROP ROLE IF EXISTS {}",
            name,
            Literal(until),
            Literal(&verifier),
            birth,
            life,
            name
        );
        let end = tokio::spawn(async move { run(&maker, &whole_life).await });
        let mut prober = Self {
            keeper,
            name,
            password,
            end,
            life,
            granted: BTreeSet::new(),
            options: version >= 160_000,
        };
        if let Err(why) = prober.born(birth).await? {
            let said = (&mut prober.end).await;
            return Ok(Err(match said {
                Ok(Ok(Err(said))) => said,
                Ok(Err(error)) => return Err(error),
                _ => why,
            }));
        }
        Ok(Ok(prober))
    }

    /// Waits until the role is there; says why it is not.
    async fn born(&self, birth: i64) -> Result<Result<(), String>, Error> {
        let waited = sql!(
            "SELECT pg_catalog.pg_advisory_lock({}); SELECT pg_catalog.pg_advisory_unlock({})",
            birth,
            birth
        );
        if let Err(why) = run(self.keeper, &waited).await? {
            return Ok(Err(why));
        }
        let there = sql!(
            "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = {}",
            Literal(self.name.as_str())
        );
        let there = rows(self.keeper, &there).await?;
        Ok(if there.is_empty() { Err(format!("role {} was not made", self.name)) } else { Ok(()) })
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
            if let Err(why) = run(self.keeper, &revoke).await? {
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
            if let Err(why) = run(self.keeper, &grant).await? {
                return Ok(Err(why));
            }
            self.granted.insert((*role).clone());
        }
        Ok(Ok(()))
    }

    /// Lets it go; says why it is still there.
    ///
    /// # Errors
    ///
    /// When the session breaks: then the server drops the role by itself.
    pub(super) async fn remove(self) -> Result<Result<(), String>, Error> {
        let unlock = sql!("SELECT pg_catalog.pg_advisory_unlock({})", self.life);
        if let Err(why) = run(self.keeper, &unlock).await? {
            log::debug!("{why}");
        }
        match self.end.await {
            Ok(Ok(Ok(()))) => Ok(Ok(())),
            // Somebody ended the session that would have done it.
            _ => run(self.keeper, &sql!("DROP ROLE IF EXISTS {}", self.name)).await,
        }
    }
}

/// Removes the roles of audits that neither they nor the server could: those whose lock nobody
/// holds, in whatever database.
///
/// # Errors
///
/// When the session breaks. What cannot be removed is left for whoever may.
pub(super) async fn sweep(session: &Session) -> Result<(), Error> {
    let left = rows(
        session,
        &sql!("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname ~ '^tenantctl_probe_[0-9a-f]{{12}}$'"),
    )
    .await?;
    // A lock is taken before its role is made: who has none by now has no maker any more.
    let held = rows(
        session,
        &sql!(
            "SELECT ((classid::int8 << 32) | objid::int8)::text FROM pg_catalog.pg_locks \
             WHERE locktype = 'advisory' AND objsubid = 1"
        ),
    )
    .await?;
    for name in left {
        let life = key(LIFE, name.trim_start_matches(PREFIX)).to_string();
        if held.contains(&life) {
            continue;
        }
        let name = Ident::new(name)?;
        if let Err(why) = run(session, &sql!("DROP ROLE IF EXISTS {}", name)).await? {
            log::warn!("{name} was left by an audit that was killed: {why}");
        }
    }
    Ok(())
}

/// Takes a lock, in a session that neither time nor a client that is gone shall end while it waits.
fn patient(lock: i64) -> Sql {
    sql!(
        "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
         WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout', \
                        'client_connection_check_interval'); \
         SELECT pg_catalog.pg_advisory_lock({})",
        lock
    )
}

fn key(kind: i64, digits: &str) -> i64 {
    kind | i64::from_str_radix(digits, 16).unwrap_or_default()
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
