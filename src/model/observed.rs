//! What stands on the server, as far as one tenant is concerned.
//!
//! Absence is a fact here, never a guess: whatever could not be read fails the observation.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::ident::Ident;
use super::migration::History;
use super::tenant::{Isolation, Placement, State, Tenant, TenantId};

/// The facts that a plan for one tenant starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The server and who we are on it.
    pub server: ServerFacts,
    /// The registry's row for this tenant.
    pub registered: Option<Registered>,
    /// Another tenant that the registry places in the same schema or database.
    pub holder: Option<TenantId>,
    /// Whether other tenants of the same shared schema are active.
    pub neighbours: bool,
    /// Whether the registry places other tenants of this cluster in databases of their own.
    pub peers: bool,
    /// The template databases of the cluster.
    pub templates: BTreeMap<Ident, TemplateFacts>,
    /// The roles that exist, among those the plan may name.
    pub roles: BTreeMap<Ident, RoleFacts>,
    /// Direct memberships among them, by `(role, member)`.
    pub members: BTreeMap<(Ident, Ident), MembershipFacts>,
    /// What the operator may do with each role.
    pub operator: BTreeMap<Ident, OperatorReach>,
    /// The tenant's database, when it exists.
    pub database: Option<DatabaseFacts>,
    /// The tenant's schema, when it exists.
    pub schema: Option<SchemaFacts>,
}

/// The server and the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `server_version_num`.
    pub version: i32,
    /// The role that tenantctl works as.
    pub operator: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// INHERIT, its own default.
    pub inherits: bool,
}

impl ServerFacts {
    /// Whether memberships carry INHERIT and SET options of their own (PostgreSQL 16).
    pub fn membership_options(&self) -> bool {
        self.version >= 160_000
    }
}

/// The registry's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The identity.
    pub uuid: Uuid,
    /// The isolation model.
    pub isolation: Isolation,
    /// Where it lives.
    pub placement: Placement,
    /// The role that owns its objects.
    pub owner: Ident,
    /// The roles that the application works as.
    pub roles: Vec<Ident>,
    /// Where it stands in its life.
    pub state: State,
}

impl From<&Tenant> for Registered {
    fn from(tenant: &Tenant) -> Self {
        Self {
            uuid: tenant.uuid,
            isolation: tenant.isolation,
            placement: tenant.placement.clone(),
            owner: tenant.owner.clone(),
            roles: tenant.roles.clone(),
            state: tenant.state,
        }
    }
}

/// What a role may do by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleFacts {
    /// LOGIN.
    pub login: bool,
    /// INHERIT, the role's own default.
    pub inherit: bool,
    /// Attributes that no application role may have: SUPERUSER, BYPASSRLS, CREATEROLE, REPLICATION.
    pub dangerous: Vec<&'static str>,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i32,
    /// `ALTER ROLE … SET` in every database.
    pub settings: BTreeMap<String, String>,
    /// `ALTER ROLE … IN DATABASE … SET` in the tenant's database.
    pub settings_here: BTreeMap<String, String>,
}

/// What the operator may do with a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorReach {
    /// `SET ROLE` to it.
    pub set: bool,
    /// Use its privileges without `SET ROLE`.
    pub inherit: bool,
}

/// A membership, as PostgreSQL 16 and later know it; before, `set` always holds and `inherit` never
/// does: it is the member's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipFacts {
    /// Whether the member may `SET ROLE`.
    pub set: bool,
    /// Whether the member has the role's privileges without `SET ROLE`.
    pub inherit: bool,
    /// Another than the operator who granted it so: only for them can it be taken back.
    pub inherits_from: Option<Ident>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// Its owner.
    pub owner: String,
    /// Whether an interrupted CREATE or DROP left it unusable.
    pub invalid: bool,
    /// Whether PUBLIC holds any privilege on it.
    pub public: bool,
    /// Roles with CONNECT of their own.
    pub connect: BTreeSet<Ident>,
    /// `ALTER DATABASE … SET`.
    pub settings: BTreeMap<String, String>,
}

/// A template database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFacts {
    /// Whether it is complete: offered to be copied, and closed to connections.
    pub sealed: bool,
    /// What its comment says.
    pub label: String,
    /// Its size.
    pub bytes: i64,
}

/// A schema and what stands in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaFacts {
    /// Its owner.
    pub owner: String,
    /// Whether PUBLIC holds any privilege on it.
    pub public: bool,
    /// Roles with USAGE of their own.
    pub usage: BTreeSet<Ident>,
    /// What new objects of the owner are granted in this schema.
    pub defaults: BTreeSet<DefaultGrant>,
    /// Whether new functions of the owner are closed to PUBLIC.
    pub functions_closed: bool,
    /// refinery's history; absent when its table is.
    pub history: Option<History>,
    /// Roles with any privilege on the history table, besides its owner.
    pub history_granted: BTreeSet<Ident>,
    /// Tables, partitioned tables included, the history table excluded.
    pub tables: BTreeMap<Ident, TableFacts>,
    /// Sequences with the roles that hold USAGE on them.
    pub sequences: BTreeMap<Ident, BTreeSet<Ident>>,
    /// Functions of the schema's owner, our helpers excluded, with the roles that may call them; by
    /// name and arguments, as SQL reads them.
    pub functions: BTreeMap<String, BTreeSet<Ident>>,
    /// Who may read which tenants are closed; none where no tenant was ever closed.
    pub closing: Option<BTreeSet<Ident>>,
    /// Our helper functions, by name.
    pub helpers: BTreeMap<String, HelperFacts>,
}

/// One of our helper functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperFacts {
    /// Its definition's fingerprint, from its comment.
    pub fingerprint: String,
    /// Roles with EXECUTE of their own.
    pub execute: BTreeSet<Ident>,
}

/// A default privilege: who gets what on which kind of new object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefaultKind {
    /// New tables, to read and write.
    Tables,
    /// New tables, to read only.
    TablesRead,
    /// New sequences.
    Sequences,
    /// New functions.
    Functions,
}

/// A default privilege that a role has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefaultGrant {
    /// The role.
    pub role: Ident,
    /// On what.
    pub kind: DefaultKind,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// The type of the tenant column, as `format_type` prints it, when there is such a column.
    pub key_type: Option<String>,
    /// ENABLE ROW LEVEL SECURITY.
    pub rls: bool,
    /// FORCE ROW LEVEL SECURITY.
    pub forced: bool,
    /// Our policy's fingerprint, from its comment.
    pub policy: Option<String>,
    /// Other policies on it.
    pub other_policies: usize,
    /// Whether it is closed to tenants that are.
    pub closes: bool,
    /// Whether it is a partition: rows reach it through its parent.
    pub partition: bool,
    /// Roles with SELECT, INSERT, UPDATE and DELETE.
    pub write: BTreeSet<Ident>,
    /// Roles with SELECT.
    pub read: BTreeSet<Ident>,
}
