//! `tenants.toml` as it is written: shapes only, no meaning.

use std::collections::BTreeMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::model::pooling::Pooling;
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
    pub(super) verify: Verify,
    #[serde(default)]
    pub(super) credentials: Credentials,
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
    pub(super) pooler: Option<Pooling>,
    pub(super) direct_url: Option<String>,
    pub(super) direct_url_env: Option<String>,
    #[serde(default)]
    pub(super) login_url_env: BTreeMap<String, String>,
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
    pub(super) idle_session_timeout: Option<String>,
    pub(super) work_mem: Option<String>,
    pub(super) temp_file_limit: Option<String>,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    #[serde(default)]
    pub(super) allow: Vec<Allow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allow {
    pub(super) rule: String,
    pub(super) object: Option<String>,
    pub(super) tenant: Option<TenantId>,
    pub(super) reason: String,
    pub(super) expires: Day,
}

/// A day, in quotes or as TOML writes it, or another word.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a date such as 2027-06-30, or \"never\"")]
pub(super) enum Day {
    Date(toml::value::Datetime),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    pub(super) max_age: Option<String>,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;
    use toml::{Table, Value};

    use super::*;

    const EXAMPLE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tenants.example.toml"));

    /// The example with every key in force: prose begins with `# `, a key that is left out with `#`.
    fn uncommented() -> String {
        EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The keys that a shape takes, as its own refusal of another lists them.
    fn keys_of<T: DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
        let refusal = toml::from_str::<T>("no-such-key = 1").unwrap_err().to_string();
        let expected = refusal.rsplit_once("expected").unwrap().1;
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn keys(tables: &[&Value]) -> BTreeSet<String> {
        tables.iter().flat_map(|table| table.as_table().unwrap().keys().cloned()).collect()
    }

    #[test]
    fn the_example_is_a_file_that_works() {
        toml::from_str::<File>(EXAMPLE).unwrap();
        toml::from_str::<File>(&uncommented()).unwrap();
    }

    #[test]
    fn the_readme_shows_files_that_work() {
        let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
        let blocks: Vec<&str> = readme
            .split("```toml\n")
            .skip(1)
            .filter_map(|block| block.split("```").next())
            .collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            toml::from_str::<File>(block).unwrap();
        }
    }

    #[test]
    fn the_example_shows_every_key() {
        let table: Table = toml::from_str(&uncommented()).unwrap();
        let below =
            |name: &str| -> Vec<&Value> { table[name].as_table().unwrap().values().collect() };
        let sections: BTreeSet<String> = table.keys().cloned().collect();
        assert_eq!(sections, keys_of::<File>());
        assert_eq!(keys(&[&table["registry"]]), keys_of::<Registry>());
        assert_eq!(keys(&below("clusters")), keys_of::<Cluster>());
        assert_eq!(keys(&[&table["isolation"]]), keys_of::<Layouts>());
        assert_eq!(keys(&below("isolation")), keys_of::<Layout>());
        assert_eq!(keys(&[&table["migrations"]]), keys_of::<Migrations>());
        assert_eq!(keys(&below("tiers")), keys_of::<Tier>());
        assert_eq!(keys(&[&table["credentials"]]), keys_of::<Credentials>());
        let tenants: Vec<&Value> = table["tenants"].as_array().unwrap().iter().collect();
        assert_eq!(keys(&tenants), keys_of::<Tenant>());
        let verify = &table["verify"];
        assert_eq!(keys(&[verify]), keys_of::<Verify>());
        let allow: Vec<&Value> = verify["allow"].as_array().unwrap().iter().collect();
        assert_eq!(keys(&allow), keys_of::<Allow>());
    }
}
