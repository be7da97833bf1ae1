//! What `tests/corpus` holds: families of designs, each a base and what somebody did to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tenantctl::audit::Severity;

/// One directory of `tests/corpus`: a database design in `base.sql`, and what makes it leak.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Family {
    /// The directory.
    #[serde(skip)]
    pub(super) name: String,
    /// `base.sql`, which psql runs as it stands: `\connect` chooses the database.
    #[serde(skip)]
    pub(super) base: String,
    /// One sentence.
    pub(super) about: String,
    /// The isolation model that it is about.
    pub(super) model: Model,
    /// Databases to make, the first of them the one that the cluster's URL names.
    pub(super) databases: Vec<String>,
    /// Whether tenantctl's own templates could have made it.
    #[serde(default)]
    pub(super) managed: bool,
    /// Written after the rules, which nobody tuned on it.
    #[serde(default)]
    pub(super) held_out: bool,
    /// The oldest major that can hold it.
    #[serde(default)]
    pub(super) since: u32,
    /// Whom exploits log in as, and what they say first.
    pub(super) login: String,
    #[serde(default)]
    pub(super) context: String,
    /// `[isolation.*]` and `[[tenants]]` of tenants.toml.
    pub(super) isolation: toml::Table,
    pub(super) tenants: Vec<toml::Table>,
    #[serde(rename = "design")]
    pub(super) designs: Vec<Design>,
}

/// An isolation model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Model {
    Shared,
    Schema,
    Database,
}

impl Model {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Schema => "schema",
            Self::Database => "database",
        }
    }
}

/// One database design, and what is true about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Design {
    pub(super) name: String,
    /// What was done to the base; nothing for the base itself.
    #[serde(default)]
    pub(super) sql: String,
    /// A leak has one of `mechanisms.toml`; a sound design has none.
    pub(super) leak: Option<String>,
    /// What a leak must be called at least.
    pub(super) severity: Option<Word>,
    /// The objects of which one must be named, as PostgreSQL quotes them; functions without arguments.
    #[serde(default)]
    pub(super) names: Vec<String>,
    /// The rules that may name it; any when empty.
    #[serde(default)]
    pub(super) rules: Vec<String>,
    /// A query that answers true when tenants cross. For a sound design, one that must not.
    pub(super) exploit: Option<String>,
    /// Whom it logs in as, where, and what it says first, instead of what the family says.
    pub(super) login: Option<String>,
    pub(super) database: Option<String>,
    pub(super) context: Option<String>,
    /// Instead of the family's.
    pub(super) isolation: Option<toml::Table>,
    /// The oldest and the newest major that can hold it, or on which it leaks.
    #[serde(default)]
    pub(super) since: u32,
    #[serde(default = "any_major")]
    pub(super) until: u32,
}

fn any_major() -> u32 {
    u32::MAX
}

/// A severity as it is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    Critical,
    High,
    Medium,
    Low,
    Info,
}

impl Word {
    pub(super) fn severity(self) -> Severity {
        match self {
            Self::Critical => Severity::Critical,
            Self::High => Severity::High,
            Self::Medium => Severity::Medium,
            Self::Low => Severity::Low,
            Self::Info => Severity::Info,
        }
    }
}

impl Design {
    /// What a leak must be called at least; none for a sound design.
    pub(super) fn wanted(&self) -> Option<Severity> {
        self.leak.as_ref().map(|_| self.severity.unwrap().severity())
    }
}

impl Family {
    /// Where exploits of a design log in.
    pub(super) fn entrance<'a>(&'a self, design: &'a Design) -> (&'a str, &'a str, &'a str) {
        (
            design.database.as_deref().unwrap_or(&self.databases[0]),
            design.login.as_deref().unwrap_or(&self.login),
            design.context.as_deref().unwrap_or(&self.context),
        )
    }

    /// tenants.toml for whoever looks.
    pub(super) fn config(&self, design: &Design, url: &str) -> String {
        let isolation = design.isolation.as_ref().unwrap_or(&self.isolation).clone();
        let table = |name: &str, value| toml::Table::from_iter([(name.to_owned(), value)]);
        let url = table("url", toml::Value::String(url.to_owned()));
        let clusters = toml::Value::Table(table("main", toml::Value::Table(url)));
        let tenants = self.tenants.iter().cloned().map(toml::Value::Table).collect();
        let file = toml::Table::from_iter([
            ("clusters".to_owned(), clusters),
            ("isolation".to_owned(), toml::Value::Table(isolation)),
            ("tenants".to_owned(), toml::Value::Array(tenants)),
        ]);
        toml::to_string(&file).unwrap()
    }
}

/// How isolation fails: the id, and where the list of them has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mechanism {
    pub(super) group: String,
    pub(super) title: String,
    /// Why no design shows it.
    pub(super) absent: Option<String>,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Every mechanism, by id.
pub(super) fn mechanisms() -> BTreeMap<String, Mechanism> {
    toml::from_str(&fs::read_to_string(folder().join("mechanisms.toml")).unwrap()).unwrap()
}

/// Every family, by name.
pub(super) fn families() -> Vec<Family> {
    let mut families: Vec<Family> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let read = |file: &str| {
                fs::read_to_string(path.join(file))
                    .unwrap_or_else(|error| panic!("{}/{file}: {error}", path.display()))
            };
            let mut family: Family = toml::from_str(&read("designs.toml"))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            family.name = path.file_name().unwrap().to_string_lossy().into_owned();
            family.base = read("base.sql");
            family
        })
        .collect();
    families.sort_by(|one, other| one.name.cmp(&other.name));
    families
}
