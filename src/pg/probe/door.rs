//! The ways in: how probes come to speak as the application.
//!
//! The best first: the application's own credentials, a login that the server admits as it admits
//! ours, a role made for the purpose that is a member of it, and at last a costume (`SET ROLE`) on our
//! own session, where no code of the application can take it off to become more than it is.

use std::cell::RefCell;
use std::time::Duration;

use tokio::sync::Mutex;

use super::enter::{How, Who};
use super::prober::{Prober, sweep};
use super::session::{Answer, Session};
use super::trust;
use crate::audit::Survey;
use crate::error::{Code, Error};
use crate::model::catalog::Role;
use crate::model::ident::Ident;
use crate::model::tenant::TenantId;
use crate::pg::Servers;
use crate::pg::servers::Login;
use crate::sql;

/// Opens sessions for the probes of one database.
pub(super) struct Doors<'a> {
    servers: &'a Servers,
    /// The session of the audit, which keeps what is made for as long as it takes.
    keeper: &'a crate::pg::Session,
    pub(super) survey: &'a Survey<'a>,
    /// How long one statement may take.
    timeout: Duration,
    /// Made when it is first needed; why it could not be, when it could not.
    prober: Mutex<Option<Result<Prober<'a>, String>>>,
    /// What people should know about how probes came in.
    notes: RefCell<Vec<String>>,
    /// Who is told how far it has come.
    told: &'a dyn Fn(&str),
}

impl<'a> Doors<'a> {
    pub(super) fn new(
        servers: &'a Servers,
        keeper: &'a crate::pg::Session,
        survey: &'a Survey<'a>,
        timeout: Duration,
        told: &'a dyn Fn(&str),
    ) -> Self {
        let (prober, notes) = (Mutex::new(None), RefCell::default());
        Self { servers, keeper, survey, timeout, prober, notes, told }
    }

    /// Tells which pair of tenants is next, of how many.
    pub(super) fn tell(&self, (number, of): (usize, usize), acting: &TenantId, target: &TenantId) {
        (self.told)(&format!("pair {number} of {of}: {acting} against {target}"));
    }

    /// A session that never had a tenant and can be each of some roles; says why there is none.
    ///
    /// # Errors
    ///
    /// When the cluster cannot be reached at all.
    pub(super) async fn open(&self, roles: &[&Ident]) -> Result<Result<Session, String>, Error> {
        self.open_in(&self.survey.catalog.database, roles).await
    }

    async fn open_in(
        &self,
        database: &Ident,
        roles: &[&Ident],
    ) -> Result<Result<Session, String>, Error> {
        for login in self.application(roles) {
            let (Way::Configured(role) | Way::Admitted(role)) = login;
            let by = match login {
                Way::Configured(role) => Login::Configured(role),
                Way::Admitted(role) => Login::Role(role, None),
            };
            if let Some(session) = self.enter(database, by, role, How::Application, roles).await? {
                return Ok(Ok(session));
            }
        }
        let mut why = self.stand_in(roles).await?;
        if why.is_none() {
            let held = self.prober.lock().await;
            if let Some(Ok(prober)) = held.as_ref() {
                let by = Login::Role(&prober.name, Some(&prober.password));
                if let Some(session) =
                    self.enter(database, by, &prober.name, How::Prober, roles).await?
                {
                    return Ok(Ok(session));
                }
                why = Some("the server does not admit a role made to probe with".to_owned());
            }
        }
        self.costume(database, roles, why).await
    }

    /// The application's logins that may be these roles, the surest first.
    fn application<'r>(&self, roles: &[&'r Ident]) -> Vec<Way<'r>>
    where
        'a: 'r,
    {
        let cluster = &self.survey.catalog.cluster;
        let configured = self.servers.logins(cluster);
        let becomes = |login: &Ident| {
            let Some(oid) = self.survey.number(login) else { return false };
            let closure = self.survey.reach.closure(oid, &std::collections::BTreeSet::new());
            roles.iter().all(|role| {
                *role == login
                    || self
                        .survey
                        .number(role)
                        .and_then(|role| closure.get(&role))
                        .is_some_and(|p| p.becomes)
            })
        };
        let mut ways: Vec<Way<'r>> = Vec::new();
        let own = roles.first().filter(|_| roles.len() == 1).copied();
        let logins = own.into_iter().chain(&self.survey.estate.login_roles);
        let logins: Vec<&'r Ident> = logins.collect();
        let known = configured.iter().filter_map(|name| {
            self.survey.catalog.roles.values().map(|role: &'r Role| &role.name).find(|n| n == name)
        });
        ways.extend(known.filter(|login| becomes(login)).map(Way::Configured));
        let admitted = logins.into_iter().filter(|login| {
            self.survey
                .number(login)
                .and_then(|oid| self.survey.catalog.roles.get(&oid))
                .is_some_and(|role| role.login)
                && self.servers.may_admit(cluster, login)
                && becomes(login)
        });
        ways.extend(admitted.map(Way::Admitted));
        ways
    }

    /// Makes the prober a member of these roles; says why it cannot be done.
    async fn stand_in(&self, roles: &[&Ident]) -> Result<Option<String>, Error> {
        let catalog = self.survey.catalog;
        // Code of one of them could become the other, in a session that is a member of both.
        if roles.len() > 1
            && let Some((role, function)) =
                roles.iter().find_map(|role| Some((role, trust::written_by(self.survey, role)?)))
        {
            return Ok(Some(format!(
                "{role} can rewrite {}, which might run",
                function.signature()
            )));
        }
        // Who is a member of a superuser's role is one.
        let superuser = roles.iter().find(|role| {
            let facts = self.survey.number(role).and_then(|oid| catalog.roles.get(&oid));
            facts.is_some_and(|facts| facts.superuser)
        });
        if let Some(role) = superuser.filter(|_| roles.len() > 1) {
            return Ok(Some(format!("{role} is a superuser")));
        }
        let able = catalog
            .roles
            .get(&catalog.reader)
            .is_some_and(|role| role.superuser || role.create_role);
        if !able {
            return Ok(Some("may not create a role to probe with".to_owned()));
        }
        let mut held = self.prober.lock().await;
        let prober = match held.as_mut() {
            Some(prober) => prober,
            None => {
                let made = Prober::make(self.servers, self.keeper, catalog.version).await?;
                held.insert(made)
            }
        };
        Ok(match prober {
            Err(why) => Some(why.clone()),
            Ok(prober) => prober.stand_in(roles).await?.err(),
        })
    }

    /// Our own session in the costume of these roles.
    async fn costume(
        &self,
        database: &Ident,
        roles: &[&Ident],
        why: Option<String>,
    ) -> Result<Result<Session, String>, Error> {
        let catalog = self.survey.catalog;
        for role in roles {
            if let Some(distrusted) = trust::distrusted(self.survey, role) {
                return Ok(Err(distrusted));
            }
        }
        let operator = Ident::new(catalog.role_name(catalog.reader).trim_matches('"').to_owned())?;
        let session = self.servers.dedicated(&catalog.cluster, Some(database)).await?;
        let how = if roles.iter().all(|role| **role == operator) {
            How::Application
        } else {
            How::Operator
        };
        let who = Who::new(self.survey, operator.clone(), how, roles);
        let session = Session::begin(session, who, self.timeout).await?;
        for role in roles {
            if **role == operator {
                continue;
            }
            let said = match session.attempt(&[sql!("SET LOCAL ROLE {}", role)]).await? {
                Answer::Done(_) => continue,
                Answer::Refused { .. } => {
                    format!("{operator} may not act as {role}: GRANT {role} TO {operator}")
                }
                Answer::Failed { message, .. } => message,
            };
            session.end().await?;
            return Ok(Err(said));
        }
        if how == How::Operator {
            let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
            self.note(format!(
                "probes as {} ran in the session of {operator}, by SET ROLE: {}",
                roles.join(" and "),
                why.unwrap_or_else(|| "no login could be made".to_owned())
            ));
        }
        Ok(Ok(session))
    }

    /// A session by one way; none when it does not lead in.
    async fn enter(
        &self,
        database: &Ident,
        by: Login<'_>,
        login: &Ident,
        how: How,
        roles: &[&Ident],
    ) -> Result<Option<Session>, Error> {
        let cluster = &self.survey.catalog.cluster;
        let session = match self.servers.dedicated_as(cluster, Some(database), by).await {
            Ok(session) => session,
            Err(error) if error.code == Code::Bug => return Err(error),
            Err(error) => {
                log::debug!("no way in as {login}: {}", error.message);
                return Ok(None);
            }
        };
        let who = Who::new(self.survey, login.clone(), how, roles);
        let session = Session::begin(session, who, self.timeout).await?;
        for role in roles.iter().filter(|role| **role != login) {
            let answer = session.attempt(&[sql!("SET LOCAL ROLE {}", role)]).await?;
            if let Some(trouble) = answer.trouble() {
                log::debug!("{login} is not {role}: {trouble}");
                session.end().await?;
                return Ok(None);
            }
        }
        Ok(Some(session))
    }

    /// Whether a role can log in to a database; none when it cannot be tried.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn admits(
        &self,
        database: &Ident,
        role: &Ident,
    ) -> Result<Option<bool>, Error> {
        let cluster = &self.survey.catalog.cluster;
        let roles = [role];
        let mut tried = false;
        for way in self.application(&roles) {
            let by = match way {
                Way::Configured(login) if login == role => Login::Configured(login),
                Way::Admitted(login) if login == role => Login::Role(login, None),
                // What a pool's login reaches is not what the role reaches.
                _ => continue,
            };
            match self.servers.dedicated_as(cluster, Some(database), by).await {
                Ok(_) => return Ok(Some(true)),
                Err(error) => tried |= refused_connect(&error),
            }
        }
        if tried {
            return Ok(Some(false));
        }
        if self.stand_in(&roles).await?.is_none()
            && let Some(Ok(prober)) = self.prober.lock().await.as_ref()
        {
            let by = Login::Role(&prober.name, Some(&prober.password));
            return Ok(match self.servers.dedicated_as(cluster, Some(database), by).await {
                Ok(_) => Some(true),
                Err(error) if refused_connect(&error) => Some(false),
                Err(_) => None,
            });
        }
        Ok(None)
    }

    fn note(&self, note: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Removes what was made, and says what people should know.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn close(self) -> Result<Vec<String>, Error> {
        let mut notes = self.notes.into_inner();
        if let Some(Ok(prober)) = self.prober.into_inner() {
            let name = prober.name.clone();
            if let Err(why) = prober.remove().await? {
                notes.push(format!("role {name} was made to probe with and is still there: {why}"));
            }
        }
        Ok(notes)
    }
}

/// A login of the application, and whose word lets it in.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// Its credentials are configured.
    Configured(&'a Ident),
    /// The server admits it as it admits us.
    Admitted(&'a Ident),
}

/// Whether a login got as far as the database, and was not let in.
fn refused_connect(error: &Error) -> bool {
    error.answer.as_ref().is_some_and(|answer| answer.sqlstate == "42501")
}

/// Removes what audits could not remove from a cluster.
///
/// # Errors
///
/// When the session breaks.
pub(super) async fn tidy(keeper: &crate::pg::Session, survey: &Survey<'_>) -> Result<(), Error> {
    let catalog = survey.catalog;
    let left =
        catalog.roles.values().any(|role| role.name.as_str().starts_with("tenantctl_probe_"));
    let able =
        catalog.roles.get(&catalog.reader).is_some_and(|role| role.superuser || role.create_role);
    if left && able {
        sweep(keeper).await?;
    }
    Ok(())
}
