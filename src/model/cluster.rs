//! What a cluster says about itself, whichever of its databases one looks from: roles, memberships,
//! databases, and what sessions begin with.
//!
//! Promises to be one moment of the cluster. A fleet of many databases is read once for all of them;
//! a role that is made meanwhile is known to none.

use super::catalog::{Database, Membership, Oid, Role, SessionDefault};
use super::ident::Ident;
use super::surroundings::{Parameter, TrustedHost};
use std::collections::BTreeMap;

/// The facts about one cluster.
#[derive(Clone, Debug)]
pub struct ClusterFacts {
    /// `server_version_num`.
    pub version: i32,
    /// The role that read this.
    pub reader: Oid,
    /// Roles.
    pub roles: BTreeMap<Oid, Role>,
    /// Memberships that are stored.
    pub memberships: Vec<Membership>,
    /// Databases.
    pub databases: Vec<Database>,
    /// Defaults of sessions.
    pub session_defaults: Vec<SessionDefault>,
    /// Parameters that somebody was allowed to set.
    pub parameters: Vec<Parameter>,
    /// Lines of `pg_hba.conf` that let hosts in without a password; absent when the reader may not read it.
    pub trusted: Option<Vec<TrustedHost>>,
}

impl ClusterFacts {
    /// The memberships as they count in a database: its owner is a member of `pg_database_owner`, which
    /// is stored nowhere.
    pub fn memberships_in(&self, database: &Ident) -> Vec<Membership> {
        let owner = self.databases.iter().find(|one| one.name == *database).map(|one| one.owner);
        let stands = self.roles.iter().find(|(_, role)| role.name.as_str() == "pg_database_owner");
        let owned = owner.zip(stands).map(|(member, (role, _))| Membership {
            member,
            role: *role,
            inherit: true,
            set: true,
            admin: false,
        });
        self.memberships.iter().copied().chain(owned).collect()
    }
}
