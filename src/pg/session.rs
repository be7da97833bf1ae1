//! One connection in use: from a pool, or its own.

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::Client;

use std::sync::Arc;

use super::connect::Connector;
use super::pooler::{Pooler, Route};
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::pooling::Operation;
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
        let database = self.database();
        Ident::new(database).map_or_else(|_| database.to_owned(), |name| name.to_string())
    }

    /// The role it logged in as, as SQL reads it.
    pub(super) fn user_ident(&self) -> String {
        let user = &self.connector.settings().user;
        Ident::new(user.clone()).map_or_else(|_| user.clone(), |name| name.to_string())
    }
}
