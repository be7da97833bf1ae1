//! One connection in use: from a pool, or its own.

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::Client;

use std::sync::Arc;

use super::answer::failed;
use super::cancel::Canceller;
use super::connect::Connector;
use super::pooler::{Pooler, Route, told_process};
use super::servers::CLEAN;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::pooling::{Operation, Pooling};
use crate::model::tenant::ClusterName;

/// A connection to one database of one cluster. Dropping it gives it back to its pool, or ends it.
pub struct Session {
    held: Held,
    cluster: ClusterName,
    connector: Connector,
    route: Arc<Route>,
}

enum Held {
    Pooled(Object),
    Own(ClientWrapper),
}

/// The server's side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The process.
    pub pid: i32,
    /// Whether what runs there may take any identity.
    pub superuser: bool,
}

impl Session {
    pub(super) fn pooled(
        object: Object,
        cluster: ClusterName,
        connector: Connector,
        route: Arc<Route>,
    ) -> Self {
        Self { held: Held::Pooled(object), cluster, connector, route }
    }

    pub(super) fn own(
        client: ClientWrapper,
        cluster: ClusterName,
        connector: Connector,
        route: Arc<Route>,
    ) -> Self {
        Self { held: Held::Own(client), cluster, connector, route }
    }

    /// What can stop this session's running statement.
    pub fn canceller(&self) -> Canceller {
        self.connector.canceller(self.client())
    }

    /// The server's side of this session. Of a session of its own the server has named the process
    /// when it began, and nobody is asked: whether it may take any identity is then assumed.
    ///
    /// # Errors
    ///
    /// Any failure of the session.
    pub async fn backend(&self) -> Result<Backend, Error> {
        if self.is_untouched().await
            && let Ok(pid) = told_process(self.client()).await
        {
            return Ok(Backend { pid, superuser: true });
        }
        let row = self
            .client()
            .query_typed_one(
                "SELECT pg_catalog.pg_backend_pid(), \
                        pg_catalog.current_setting('is_superuser') OPERATOR(pg_catalog.=) 'on'",
                &[],
            )
            .await
            .map_err(|error| failed(error, "ask a session for its process"))?;
        Ok(Backend { pid: row.get(0), superuser: row.get(1) })
    }

    /// Whether it is one process of the server, which nobody has had before and nobody will.
    pub(super) async fn is_untouched(&self) -> bool {
        matches!(self.held, Held::Own(_))
            && self.pooler().await.is_ok_and(|pooler| pooler.pooling == Pooling::None)
    }

    /// Leaves nothing of what was done on the session: no role, setting, lock or temporary object.
    ///
    /// # Errors
    ///
    /// Any failure of the session.
    pub async fn clean(&self) -> Result<(), Error> {
        self.client().batch_execute(CLEAN).await.map_err(|error| failed(error, "clean a session"))
    }

    /// Ends the session instead of giving it back to its pool.
    pub fn retire(self) {
        if let Held::Pooled(object) = self.held {
            drop(Object::take(object));
        }
    }

    /// Ends the session when it has been used so often; gives it back to its pool otherwise.
    pub fn retire_after(self, uses: usize) {
        if let Held::Pooled(object) = &self.held
            && Object::metrics(object).recycle_count >= uses
        {
            self.retire();
        }
    }

    /// The driver's client.
    pub(super) fn client(&self) -> &Client {
        match &self.held {
            Held::Pooled(object) => object,
            Held::Own(client) => client,
        }
    }

    /// The cluster it is connected to.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// The database it is connected to.
    pub fn database(&self) -> &str {
        &self.connector.settings().database
    }

    /// What stands between us and the server. It is found out once for a cluster and its URL.
    ///
    /// # Errors
    ///
    /// Whatever the server refuses.
    pub async fn pooler(&self) -> Result<&Pooler, Error> {
        self.route.pooler(self.client(), &self.connector).await
    }

    /// Refuses an operation that would not work on this session; `attempt` says what for.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`](crate::error::Code::Refused) behind a pooler that does not let it pass, with
    /// what to configure.
    pub async fn require(&self, operation: Operation, attempt: &str) -> Result<(), Error> {
        let Self { cluster, connector, route, .. } = self;
        route.require(operation, self.client(), connector, cluster, attempt).await
    }

    /// The database, as SQL reads it; bare when it is no possible name.
    pub(super) fn database_ident(&self) -> String {
        quoted(self.database())
    }

    /// The role it logged in as, as SQL reads it.
    pub fn user_ident(&self) -> String {
        quoted(&self.connector.settings().user)
    }
}

fn quoted(name: &str) -> String {
    Ident::new(name.to_owned()).map_or_else(|_| name.to_owned(), |name| name.to_string())
}
