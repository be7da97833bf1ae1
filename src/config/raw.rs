//! `tenants.toml` as it is written: shapes only, no meaning.

use std::collections::BTreeMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::model::tenant::{Isolation, TenantId};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) registry: Registry,
    #[serde(default)]
    pub(super) clusters: BTreeMap<String, Cluster>,
    #[serde(default)]
    pub(super) isolation: Layouts,
    #[serde(default)]
    pub(super) migrations: Migrations,
    #[serde(default)]
    pub(super) tiers: BTreeMap<String, Tier>,
    #[serde(default)]
    pub(super) tenants: Vec<Tenant>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    pub(super) cluster: Option<String>,
    pub(super) database: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) url: Option<String>,
    pub(super) url_env: Option<String>,
    pub(super) region: Option<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) max_connections: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layouts {
    #[serde(default)]
    pub(super) shared: Layout,
    #[serde(default)]
    pub(super) schema: Layout,
    #[serde(default)]
    pub(super) database: Layout,
}

/// One shape for the three models; which keys a model takes is checked when it is resolved.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    pub(super) database: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) role: Option<OneOrMany>,
    pub(super) readonly_role: Option<String>,
    pub(super) login_role: Option<String>,
    pub(super) column: Option<String>,
    pub(super) setting: Option<String>,
    pub(super) key_type: Option<String>,
    pub(super) template: Option<CopyTemplate>,
}

/// Whether new databases are copies of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CopyTemplate {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a role's name, or a list of names")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Migrations {
    pub(super) shared: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) database: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    pub(super) isolation: Option<Isolation>,
    pub(super) connection_limit: Option<i32>,
    pub(super) statement_timeout: Option<String>,
    pub(super) lock_timeout: Option<String>,
    pub(super) idle_in_transaction_session_timeout: Option<String>,
    pub(super) work_mem: Option<String>,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    pub(super) id: TenantId,
    pub(super) uuid: Option<Uuid>,
    pub(super) key: Option<Key>,
    pub(super) tier: Option<String>,
    pub(super) isolation: Option<Isolation>,
    pub(super) cluster: Option<String>,
    pub(super) region: Option<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

/// A tenant's key: text, or a number that need not be quoted.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a number")]
pub(super) enum Key {
    Number(i64),
    Text(String),
}

impl Key {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}
