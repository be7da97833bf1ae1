//! Pools per cluster and database, under one budget of connections per cluster.
//!
//! A permit of the budget is held for as long as its connection is open, not for as long as it is
//! used: idle connections count, as they do for the server. A session that comes back to a pool is
//! cleaned before its next use, so no role, setting, lock or transaction leaks into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::checkout::{checkout, refused};
use super::connect::Connector;
use super::pooler::Route;
use super::session::Session;
use crate::error::{Code, Error};
use crate::model::connection::ConnectionSettings;
use crate::model::ident::Ident;
use crate::model::pooling::Pooling;
use crate::model::secret::Secret;
use crate::model::tenant::ClusterName;

/// Leaves nothing of the last user: its open transaction first, without which the rest would be
/// inside it, then cursors, role, settings, subscriptions, locks, temporary objects.
pub(super) const CLEAN: &str = "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
                     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// A backend keeps about 0.1 MB of catalogue cache for every schema of ten tables it has touched,
/// and gives none of it back; after so many uses, one schema each, it is replaced.
pub const RETIRE_AFTER: usize = 300;

/// How long a connection is waited for when the budget is used up.
const BUDGET_WAIT: Duration = Duration::from_secs(30);

/// How often it is looked for idle connections meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Every cluster of the fleet, connected on demand.
pub struct Servers {
    links: BTreeMap<ClusterName, Link>,
    application: String,
}

struct Link {
    line: Line,
    /// The way around a pooler, when there is one.
    direct: Option<Line>,
    /// Logins of the application that are configured.
    logins: BTreeMap<Ident, Line>,
    limit: usize,
    budget: Arc<Semaphore>,
    pools: Mutex<BTreeMap<String, Pool>>,
}

/// As whom a session of its own is opened.
#[derive(Clone, Copy, Debug)]
pub(in crate::pg) enum Login<'l> {
    /// As the role that the cluster's URL names.
    Operator,
    /// With the credentials that are configured for a login of the application.
    Configured(&'l Ident),
    /// As a role, with its password when there is one.
    Role(&'l Ident, Option<&'l Secret>),
}

/// One way to a cluster.
struct Line {
    settings: ConnectionSettings,
    connector: Mutex<Option<Connector>>,
    route: Arc<Route>,
}

impl Line {
    fn new(settings: ConnectionSettings, pooling: Option<Pooling>) -> Self {
        Self { settings, connector: Mutex::new(None), route: Arc::new(Route::new(pooling)) }
    }
}

impl Servers {
    /// Knows the clusters by name, settings and budget; connects to none. Sessions call themselves
    /// `tenantctl/<command>`.
    pub fn new(
        clusters: impl IntoIterator<Item = (ClusterName, ConnectionSettings, usize)>,
        command: &str,
    ) -> Self {
        let links = clusters
            .into_iter()
            .map(|(name, settings, limit)| {
                let link = Link {
                    line: Line::new(settings, None),
                    direct: None,
                    logins: BTreeMap::new(),
                    limit,
                    budget: Arc::new(Semaphore::new(limit)),
                    pools: Mutex::new(BTreeMap::new()),
                };
                (name, link)
            })
            .collect();
        Self { links, application: format!("tenantctl/{command}") }
    }

    /// Says what is known about a pooler before a cluster: how long it lends a session, and the way
    /// around it.
    #[must_use]
    pub fn behind(
        mut self,
        cluster: &ClusterName,
        pooling: Option<Pooling>,
        direct: Option<ConnectionSettings>,
    ) -> Self {
        if let Some(link) = self.links.get_mut(cluster) {
            link.line.route = Arc::new(Route::new(pooling));
            // What is behind the pooler is not declared: it is looked at.
            link.direct = direct.map(|settings| Line::new(settings, None));
        }
        self
    }

    /// Knows how logins of the application reach a cluster.
    #[must_use]
    pub fn with_logins(
        mut self,
        cluster: &ClusterName,
        logins: impl IntoIterator<Item = (Ident, ConnectionSettings)>,
    ) -> Self {
        if let Some(link) = self.links.get_mut(cluster) {
            let line = |(login, settings)| (login, Line::new(settings, None));
            link.logins = logins.into_iter().map(line).collect();
        }
        self
    }

    /// The logins of the application that are configured for a cluster.
    pub(in crate::pg) fn logins(&self, cluster: &ClusterName) -> Vec<&Ident> {
        self.links.get(cluster).map_or_else(Vec::new, |link| link.logins.keys().collect())
    }

    /// Whether a role may be able to log in to a cluster without being told a password.
    pub(in crate::pg) fn may_admit(&self, cluster: &ClusterName, role: &Ident) -> bool {
        self.links.get(cluster).is_some_and(|link| {
            let line = link.direct.as_ref().unwrap_or(&link.line);
            line.settings.may_admit(role.as_str())
        })
    }

    /// A session that keeps locks and settings between transactions, unless there is a pooler and no
    /// way around it, which whoever needs them finds out with [`Session::require`]. From the pool
    /// where there is no pooler.
    ///
    /// # Errors
    ///
    /// As [`Servers::session`].
    pub async fn lasting(
        &self,
        cluster: &ClusterName,
        database: Option<&Ident>,
    ) -> Result<Session, Error> {
        match self.link(cluster)?.direct {
            Some(_) => self.dedicated(cluster, database).await,
            None => self.session(cluster, database).await,
        }
    }

    /// A session from the pool of one database; the cluster's own database without one.
    ///
    /// # Errors
    ///
    /// [`Code::Unreachable`] and [`Code::AuthFailed`] with every host that was tried, and
    /// [`Code::Unreachable`] when the budget stays used up.
    pub async fn session(
        &self,
        cluster: &ClusterName,
        database: Option<&Ident>,
    ) -> Result<Session, Error> {
        let link = self.link(cluster)?;
        let connector = self.connector(&link.line, database)?;
        let name = connector.settings().database.clone();
        let pool = link.pool(&connector)?;
        let object = link
            .making_room(Some((&name, &pool)), || checkout(pool.get()))
            .await
            .map_err(|error| on(cluster, error))?;
        Ok(Session::pooled(object, cluster.clone(), connector, Arc::clone(&link.line.route)))
    }

    /// A session of its own, outside of every pool, around every pooler, and inside the budget: for
    /// locks, and for databases that are visited once.
    ///
    /// # Errors
    ///
    /// As [`Servers::session`].
    pub async fn dedicated(
        &self,
        cluster: &ClusterName,
        database: Option<&Ident>,
    ) -> Result<Session, Error> {
        self.dedicated_as(cluster, database, Login::Operator).await
    }

    /// As [`Servers::dedicated`], as somebody.
    ///
    /// # Errors
    ///
    /// As [`Servers::session`].
    pub(in crate::pg) async fn dedicated_as(
        &self,
        cluster: &ClusterName,
        database: Option<&Ident>,
        login: Login<'_>,
    ) -> Result<Session, Error> {
        let link = self.link(cluster)?;
        let own = link.direct.as_ref().unwrap_or(&link.line);
        let line = match login {
            Login::Configured(login) => link.logins.get(login).unwrap_or(own),
            _ => own,
        };
        let mut connector = self.connector(line, database)?;
        if let Login::Role(role, password) = login {
            connector = connector.with_login(role.as_str(), password);
        }
        let permit = link
            .making_room(None, || permit(&link.budget, link.limit))
            .await
            .map_err(|error| on(cluster, error))?;
        let connection = connector.connect().await.map_err(|error| on(cluster, error))?;
        let driver = holding(permit, connection.driver);
        let client = ClientWrapper::new(connection.client, driver);
        Ok(Session::own(client, cluster.clone(), connector, Arc::clone(&line.route)))
    }

    /// How a database of a cluster is reached, around every pooler: for programs that connect by
    /// themselves, outside of the budget.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] for a cluster that is not in the configuration.
    pub fn settings(
        &self,
        cluster: &ClusterName,
        database: Option<&Ident>,
    ) -> Result<ConnectionSettings, Error> {
        let link = self.link(cluster)?;
        let line = link.direct.as_ref().unwrap_or(&link.line);
        Ok(self.connector(line, database)?.settings().clone())
    }

    /// How many connections tenantctl may hold to a cluster at once.
    pub fn limit(&self, cluster: &ClusterName) -> usize {
        self.links.get(cluster).map_or(0, |link| link.limit)
    }

    /// Whether the cluster runs on this machine: it is reached by a socket, or by a loopback
    /// address.
    pub fn is_local(&self, cluster: &ClusterName) -> bool {
        self.links.get(cluster).is_some_and(|link| link.line.settings.is_local())
    }

    fn link(&self, cluster: &ClusterName) -> Result<&Link, Error> {
        self.links.get(cluster).ok_or_else(|| {
            Error::new(
                Code::NotFound,
                format!("there is no cluster {cluster} in the configuration"),
            )
            .hint("add it to [clusters] in tenants.toml")
        })
    }

    /// TLS is set up once per way to a cluster; its databases share it.
    fn connector(&self, line: &Line, database: Option<&Ident>) -> Result<Connector, Error> {
        let mut slot = line.connector.lock().unwrap_or_else(PoisonError::into_inner);
        let base = match &*slot {
            Some(connector) => connector.clone(),
            None => {
                let connector = Connector::new(line.settings.clone())?
                    .with_default_application_name(&self.application);
                slot.insert(connector).clone()
            }
        };
        Ok(database.map_or(base.clone(), |name| base.with_database(name.as_str())))
    }
}

fn on(cluster: &ClusterName, mut error: Error) -> Error {
    if cluster.as_str() != ClusterName::DEFAULT {
        error.message = format!("cluster {cluster}: {}", error.message);
    }
    error
}

impl Link {
    fn pool(&self, connector: &Connector) -> Result<Pool, Error> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let database = &connector.settings().database;
        if let Some(pool) = pools.get(database) {
            return Ok(pool.clone());
        }
        let dial = Dial {
            connector: connector.clone(),
            budget: Arc::clone(&self.budget),
            limit: self.limit,
        };
        let config = ManagerConfig { recycling_method: RecyclingMethod::Custom(CLEAN.to_owned()) };
        let manager = Manager::from_connect(tokio_postgres::Config::new(), dial, config);
        let pool = Pool::builder(manager)
            .max_size(self.limit)
            .runtime(Runtime::Tokio1)
            .pre_recycle(Hook::sync_fn(|_, metrics| {
                if metrics.recycle_count >= RETIRE_AFTER {
                    return Err(HookError::message("retired: its catalogue cache has grown"));
                }
                Ok(())
            }))
            .build()
            .map_err(|error| Error::new(Code::Bug, "make a pool").because(error))?;
        pools.insert(database.clone(), pool.clone());
        Ok(pool)
    }

    /// Waits for something that needs a connection, and makes room for it as long as it waits: a
    /// session that is in use now may be idle, and in the way, a moment later.
    ///
    /// Whoever wants a session of a pool has decided to open one when there was none to give out;
    /// when there is one by now, it is asked for anew instead of waiting for the budget.
    async fn making_room<T, F: Future<Output = T>>(
        &self,
        pool: Option<(&str, &Pool)>,
        want: impl Fn() -> F,
    ) -> T {
        let mut wanted = Box::pin(want());
        loop {
            self.make_room(pool.map(|(name, _)| name));
            if let Ok(done) = tokio::time::timeout(LOOK_AGAIN, &mut wanted).await {
                return done;
            }
            let idle = pool.is_some_and(|(_, pool)| pool.status().available > 0);
            if idle && self.budget.available_permits() == 0 {
                wanted = Box::pin(want());
            }
        }
    }

    /// Closes idle connections when the budget is used up: nobody else would. Those to the database
    /// to `keep` can be used as they are.
    fn make_room(&self, keep: Option<&str>) {
        if self.budget.available_permits() > 0 {
            return;
        }
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, pool) in pools.iter().filter(|(name, _)| Some(name.as_str()) != keep) {
            let closed = pool.retain(|_, _| false);
            log::debug!("closed {} idle connections to make room", closed.removed.len());
        }
    }
}

/// Opens connections for a pool, inside the cluster's budget.
struct Dial {
    connector: Connector,
    budget: Arc<Semaphore>,
    limit: usize,
}

impl deadpool_postgres::Connect for Dial {
    fn connect(
        &self,
        config: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        Box::pin(async move {
            let permit = match permit(&self.budget, self.limit).await {
                Ok(permit) => permit,
                Err(exhausted) => return Err(refused(exhausted).await),
            };
            let (client, driver) =
                deadpool_postgres::Connect::connect(&self.connector, &config).await?;
            Ok((client, holding(permit, driver)))
        })
    }
}

async fn permit(
    budget: &Arc<Semaphore>,
    limit: usize,
) -> Result<tokio::sync::OwnedSemaphorePermit, Error> {
    let exhausted = || {
        Error::new(
            Code::Unreachable,
            format!("open a connection: all {limit} that max_connections allows are in use"),
        )
        .hint("raise max_connections of the cluster in tenants.toml, or lower --jobs")
    };
    tokio::time::timeout(BUDGET_WAIT, Arc::clone(budget).acquire_owned())
        .await
        .map_err(|_| exhausted())?
        .map_err(|_| exhausted())
}

/// Keeps a permit until the connection is gone, also when its task is aborted.
fn holding(permit: tokio::sync::OwnedSemaphorePermit, driver: JoinHandle<()>) -> JoinHandle<()> {
    struct Abort(JoinHandle<()>);
    impl Drop for Abort {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    tokio::spawn(async move {
        let mut driver = Abort(driver);
        if let Err(error) = (&mut driver.0).await {
            log::debug!("a connection's task ended: {error}");
        }
        drop(permit);
    })
}
