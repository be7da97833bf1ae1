//! One connection in use: from a pool, or its own.

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::Client;

use crate::model::ident::Ident;
use crate::model::tenant::ClusterName;

/// A connection to one database of one cluster. Dropping it gives it back to its pool, or ends it.
pub struct Session {
    held: Held,
    cluster: ClusterName,
    database: String,
    user: String,
}

enum Held {
    Pooled(Object),
    Own(ClientWrapper),
}

impl Session {
    pub(super) fn pooled(
        object: Object,
        cluster: ClusterName,
        database: String,
        user: String,
    ) -> Self {
        Self { held: Held::Pooled(object), cluster, database, user }
    }

    pub(super) fn own(
        client: ClientWrapper,
        cluster: ClusterName,
        database: String,
        user: String,
    ) -> Self {
        Self { held: Held::Own(client), cluster, database, user }
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
        &self.database
    }

    /// The database, as SQL reads it; bare when it is no possible name.
    pub(super) fn database_ident(&self) -> String {
        Ident::new(self.database.clone())
            .map_or_else(|_| self.database.clone(), |name| name.to_string())
    }

    /// The role it logged in as, as SQL reads it.
    pub(super) fn user_ident(&self) -> String {
        Ident::new(self.user.clone()).map_or_else(|_| self.user.clone(), |name| name.to_string())
    }
}
