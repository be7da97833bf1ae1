//! The fleet as `tenants.toml`, or just a URL, describes it: read once, checked whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, SpanRelativeTo};

use super::conninfo::{self, Environment, Source};
use super::raw;
use crate::audit::{Allow, Expiry};
use crate::error::{Code, Error, Location};
use crate::model::connection::ConnectionSettings;
use crate::model::desired::{Copying, KeyType, Limits, Sharing};
use crate::model::ident::Ident;
use crate::model::layout::{Setting, Template, Tenancy};
use crate::model::pooling::Pooling;
use crate::model::tenant::{ClusterName, Isolation};

/// The file that is looked up from the working directory upwards.
pub const FILE: &str = "tenants.toml";

/// What one process may open on a cluster unless it is told.
const MAX_CONNECTIONS: usize = 20;

/// A plan needs a session for its lock, one for the cluster and one for the tenant; a run one more
/// for its ledger.
const MIN_CONNECTIONS: usize = 4;

/// Where the configuration is looked for.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `-c/--config`.
    pub config: Option<PathBuf>,
    /// `--database-url`.
    pub database_url: Option<String>,
    /// `--migrations`: replaces every directory of the file.
    pub migrations: Option<PathBuf>,
    /// Where the look-up begins.
    pub directory: PathBuf,
}

/// Every cluster, and how tenants are laid out on them.
#[derive(Debug)]
pub struct Fleet {
    /// The file it was read from.
    pub file: Option<PathBuf>,
    /// The keys that the file sets, by their path: `isolation.schema.role`.
    pub given: BTreeSet<String>,
    /// The clusters, by name. Never empty.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// Where the registry is: cluster and database.
    pub registry: (ClusterName, Ident),
    /// How shared tables are laid out.
    pub shared: Layout,
    /// How schemas of one tenant are laid out.
    pub schema: Layout,
    /// How databases of one tenant are laid out.
    pub database: Layout,
    /// Where migration files are, by model; those without one are compiled in.
    pub migrations: BTreeMap<Isolation, PathBuf>,
    /// What tenants may use, by name.
    pub tiers: BTreeMap<String, Tier>,
    /// Findings of `verify-rls` that are meant so.
    pub allow: Vec<Allow>,
    /// A password that is older is old.
    pub password_age: SignedDuration,
    /// The tenants that the file declares.
    pub(super) tenants: Vec<raw::Tenant>,
}

/// One server.
#[derive(Debug)]
pub struct Cluster {
    /// How it is reached.
    pub connection: ConnectionSettings,
    /// What is declared about a pooler that is reached that way; otherwise it is found out.
    pub pooler: Option<Pooling>,
    /// How the server itself is reached, around a pooler.
    pub direct: Option<ConnectionSettings>,
    /// How logins of the application reach it, by role: what probes log in with.
    pub logins: BTreeMap<Ident, ConnectionSettings>,
    /// Where its data is.
    pub region: Option<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// What tenantctl itself may open there.
    pub max_connections: usize,
}

/// How the tenants of one isolation model are named.
#[derive(Debug)]
pub struct Layout {
    /// The database; the one that the cluster's URL names without it.
    pub database: Option<Template>,
    /// The schema.
    pub schema: Template,
    /// Who owns everything.
    pub owner: Template,
    /// What the application becomes.
    pub roles: Vec<Template>,
    /// What only reads.
    pub readonly: Option<Template>,
    /// The pool's login.
    pub login_role: Option<Ident>,
    /// Whether new databases are copies of one that has every migration already.
    pub copying: Copying,
    /// How rows of shared tables are told apart.
    pub sharing: Option<Sharing>,
}

/// What tenants of one tier may use.
#[derive(Debug)]
pub struct Tier {
    /// The isolation model of new tenants.
    pub isolation: Option<Isolation>,
    /// Limits and settings.
    pub limits: Limits,
}

impl Fleet {
    /// Finds and reads the configuration.
    ///
    /// # Errors
    ///
    /// [`Code::Config`] with the file, the line and what is wrong; [`Code::NotFound`] when a file
    /// that was named is not there.
    pub fn load(sources: &Sources, environment: &Environment) -> Result<Self, Error> {
        let (file, raw, given) = match find(sources, environment)? {
            Some(path) => {
                let (raw, given) = read(&path)?;
                (Some(path), raw, given)
            }
            None => (None, raw::File::default(), BTreeSet::new()),
        };
        let base =
            file.as_deref().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        let registry_cluster = raw
            .registry
            .cluster
            .clone()
            .or_else(|| raw.clusters.keys().next().cloned())
            .unwrap_or_else(|| ClusterName::DEFAULT.to_owned());
        let registry_cluster = ClusterName::new(registry_cluster)?;
        let clusters =
            clusters(raw.clusters, &registry_cluster, sources, environment, file.as_deref())?;
        let Some(control) = clusters.get(&registry_cluster) else {
            return Err(Error::new(
                Code::Config,
                format!("[registry] names cluster {registry_cluster}, which is not in [clusters]"),
            )
            .hint(format!("clusters: {}", names(clusters.keys()))));
        };
        let registry_database = match raw.registry.database {
            Some(name) => Ident::new(name)?,
            None => Ident::new(control.connection.database.clone())?,
        };
        let mut migrations = BTreeMap::new();
        for (isolation, directory) in [
            (Isolation::Shared, raw.migrations.shared),
            (Isolation::Schema, raw.migrations.schema),
            (Isolation::Database, raw.migrations.database),
        ] {
            let chosen =
                sources.migrations.clone().or_else(|| directory.map(|path| base.join(path)));
            if let Some(path) = chosen {
                migrations.insert(isolation, path);
            }
        }
        let tiers = raw
            .tiers
            .into_iter()
            .map(|(name, tier)| Ok((name.clone(), self::tier(&name, tier)?)))
            .collect::<Result<_, Error>>()?;
        let fleet = Self {
            clusters,
            registry: (registry_cluster, registry_database),
            shared: layout(Isolation::Shared, raw.isolation.shared)?,
            schema: layout(Isolation::Schema, raw.isolation.schema)?,
            database: layout(Isolation::Database, raw.isolation.database)?,
            migrations,
            tiers,
            allow: raw.verify.allow.into_iter().map(allow).collect::<Result<_, Error>>()?,
            password_age: password_age(raw.credentials.max_age.as_deref())?,
            tenants: raw.tenants,
            file,
            given,
        };
        fleet.check_declared()?;
        Ok(fleet)
    }

    /// The layout of one isolation model.
    pub fn layout(&self, isolation: Isolation) -> &Layout {
        match isolation {
            Isolation::Shared => &self.shared,
            Isolation::Schema => &self.schema,
            Isolation::Database => &self.database,
        }
    }

    /// A cluster by name.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] with the names that exist.
    pub fn cluster(&self, name: &ClusterName) -> Result<&Cluster, Error> {
        self.clusters.get(name).ok_or_else(|| {
            Error::new(Code::NotFound, format!("there is no cluster {name}"))
                .hint(format!("clusters: {}", names(self.clusters.keys())))
        })
    }

    /// Refuses a list in `tenants.toml` that contradicts itself.
    fn check_declared(&self) -> Result<(), Error> {
        let mut ids = BTreeSet::new();
        for tenant in &self.tenants {
            if !ids.insert(&tenant.id) {
                return Err(Error::new(
                    Code::Config,
                    format!("[[tenants]] lists {} twice", tenant.id),
                ));
            }
            if let Some(tier) = &tenant.tier {
                self.tier(tier)?;
            }
        }
        Ok(())
    }

    /// A tier by name.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] with the names that exist.
    pub fn tier(&self, name: &str) -> Result<&Tier, Error> {
        self.tiers.get(name).ok_or_else(|| {
            let error = Error::new(Code::NotFound, format!("there is no tier {name:?}"));
            if self.tiers.is_empty() {
                error.hint("declare it in tenants.toml: [tiers.<name>]")
            } else {
                error.hint(format!("tiers: {}", names(self.tiers.keys())))
            }
        })
    }
}

fn names<T: ToString>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

fn find(sources: &Sources, environment: &Environment) -> Result<Option<PathBuf>, Error> {
    let named = sources.config.clone().map(|path| (path, "--config".to_owned())).or_else(|| {
        environment
            .variable("TENANTCTL_CONFIG")
            .filter(|path| !path.is_empty())
            .map(|path| (PathBuf::from(path), "TENANTCTL_CONFIG".to_owned()))
    });
    if let Some((path, by)) = named {
        let path = sources.directory.join(path);
        return if path.is_file() {
            Ok(Some(path))
        } else {
            Err(Error::new(
                Code::NotFound,
                format!("{by} names {}, which is no file", path.display()),
            )
            .hint("make one with: tenantctl init"))
        };
    }
    Ok(sources
        .directory
        .ancestors()
        .map(|directory| directory.join(FILE))
        .find(|path| path.is_file()))
}

/// Reads the file, and which keys it sets.
fn read(path: &Path) -> Result<(raw::File, BTreeSet<String>), Error> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::new(Code::Io, format!("read {name}")).because(error))?;
    let raw = toml::from_str(&text).map_err(|error| {
        let failure = Error::new(Code::Config, format!("read {name}: {}", error.message()));
        match error.span() {
            Some(span) => {
                let place = crate::sql::position::line_column(&text, span.start);
                failure.at(Location { file: name, line: place.line, column: place.column })
            }
            None => failure,
        }
        .hint("every key is explained in tenants.example.toml (tenantctl init writes one)")
    })?;
    let mut given = BTreeSet::new();
    // What is read above can be read as a table.
    if let Ok(table) = text.parse::<toml::Table>() {
        collect_keys("", &table, &mut given);
    }
    Ok((raw, given))
}

fn collect_keys(prefix: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => collect_keys(&path, inner, keys),
            _ => {
                keys.insert(path);
            }
        }
    }
}

/// An exception, with a reason and an end that can be meant.
fn allow(raw: raw::Allow) -> Result<Allow, Error> {
    let refused = |what: &str| {
        Error::new(Code::Config, format!("[verify] allow of {}: {what}", raw.rule))
            .hint("give it reason = \"why it is safe here\" and expires = 2027-06-30, or expires = \"never\"")
    };
    if raw.reason.trim().is_empty() {
        return Err(refused("an exception needs a reason"));
    }
    let text = match &raw.expires {
        raw::Day::Date(date) => date.to_string(),
        raw::Day::Text(text) => text.clone(),
    };
    let expires = match text.as_str() {
        "never" => Expiry::Never,
        day => Expiry::On(
            day.parse().map_err(|_| refused(&format!("{day:?} is no day and not \"never\"")))?,
        ),
    };
    let raw::Allow { rule, object, tenant, reason, .. } = raw;
    Ok(Allow { rule, object, tenant, reason, expires })
}

fn clusters(
    raw: BTreeMap<String, raw::Cluster>,
    registry: &ClusterName,
    sources: &Sources,
    environment: &Environment,
    file: Option<&Path>,
) -> Result<BTreeMap<ClusterName, Cluster>, Error> {
    let flag = sources
        .database_url
        .as_deref()
        .map(|url| conninfo::resolve(url, &Source::Flag("--database-url".to_owned()), environment))
        .transpose()?;
    let mut clusters = BTreeMap::new();
    if raw.is_empty() {
        let variable = environment.variable("DATABASE_URL").filter(|url| !url.is_empty());
        let connection = match (flag, variable) {
            (Some(connection), _) => connection,
            (None, Some(url)) => conninfo::resolve(
                url,
                &Source::Environment("DATABASE_URL".to_owned()),
                environment,
            )?,
            (None, None) => conninfo::from_environment(environment)?,
        };
        let cluster = Cluster {
            connection,
            pooler: None,
            direct: None,
            logins: BTreeMap::new(),
            region: None,
            labels: BTreeMap::new(),
            max_connections: MAX_CONNECTIONS,
        };
        clusters.insert(registry.clone(), cluster);
        return Ok(clusters);
    }
    for (name, raw) in raw {
        let name = ClusterName::new(name)?;
        let configured =
            url(&name, ("url", &raw.url), ("url_env", &raw.url_env), environment, file);
        let connection = match (&flag, configured) {
            (Some(flag), _) if name == *registry => flag.clone(),
            (_, configured) => configured?.ok_or_else(|| {
                Error::new(Code::Config, format!("cluster {name} has no url"))
                    .hint("add url = \"postgres://user@host/database\", or url_env = \"NAME\"")
            })?,
        };
        // Whoever names another server on the command line does not mean the way around this one's
        // pooler.
        let direct = if flag.is_some() && name == *registry {
            None
        } else {
            let written = ("direct_url", &raw.direct_url);
            url(&name, written, ("direct_url_env", &raw.direct_url_env), environment, file)?
        };
        let mut logins = BTreeMap::new();
        for (login, variable) in raw.login_url_env {
            let named = ("login_url_env", &Some(variable));
            if let Some(settings) = url(&name, ("login url", &None), named, environment, file)? {
                logins.insert(Ident::new(login)?, settings);
            }
        }
        let max_connections = raw.max_connections.unwrap_or(MAX_CONNECTIONS);
        if max_connections < MIN_CONNECTIONS {
            return Err(Error::new(
                Code::Config,
                format!(
                    "cluster {name} allows {max_connections} connections: {MIN_CONNECTIONS} is the least"
                ),
            ));
        }
        let cluster = Cluster {
            connection,
            pooler: raw.pooler,
            direct,
            logins,
            region: raw.region,
            labels: raw.labels,
            max_connections,
        };
        clusters.insert(name, cluster);
    }
    Ok(clusters)
}

/// Resolves one of a cluster's connection strings, which is written down or named by a variable.
fn url(
    cluster: &ClusterName,
    written: (&str, &Option<String>),
    named: (&str, &Option<String>),
    environment: &Environment,
    file: Option<&Path>,
) -> Result<Option<ConnectionSettings>, Error> {
    let (text, source) = match (written.1, named.1) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Error::new(
                Code::Config,
                format!("cluster {cluster} has both {} and {}: keep one", written.0, named.0),
            ));
        }
        (Some(url), None) => {
            (url.as_str(), Source::File(file.map(Path::to_path_buf).unwrap_or_default()))
        }
        (None, Some(variable)) => {
            let url =
                environment.variable(variable).filter(|url| !url.is_empty()).ok_or_else(|| {
                    Error::new(
                        Code::Config,
                        format!(
                            "cluster {cluster} takes its {} from {variable}, which is not set",
                            written.0.replace("url", "URL").replace('_', " ")
                        ),
                    )
                    .hint(format!("export {variable}=postgres://user@host:5432/database"))
                })?;
            (url, Source::Environment(variable.clone()))
        }
    };
    let settings = conninfo::resolve(text, &source, environment);
    settings.map(Some).map_err(|error| in_cluster(cluster, error))
}

fn in_cluster(name: &ClusterName, mut error: Error) -> Error {
    error.message = format!("cluster {name}: {}", error.message);
    error
}

fn layout(isolation: Isolation, raw: raw::Layout) -> Result<Layout, Error> {
    let place = format!("[isolation.{isolation}]");
    let template = |key: &str, given: Option<String>, default: &str| {
        Template::new(given.unwrap_or_else(|| default.to_owned())).map_err(|mut error| {
            error.message = format!("{place} {key}: {}", error.message);
            error
        })
    };
    let shared = isolation == Isolation::Shared;
    if !shared && (raw.column.is_some() || raw.setting.is_some() || raw.key_type.is_some()) {
        return Err(Error::new(
            Code::Config,
            format!(
                "{place} takes no column, setting or key_type: they belong to [isolation.shared]"
            ),
        ));
    }
    if isolation != Isolation::Database && raw.template.is_some() {
        return Err(Error::new(
            Code::Config,
            format!("{place} takes no template: it belongs to [isolation.database]"),
        ));
    }
    let (schema, database, role) = match isolation {
        Isolation::Shared => ("app", None, "app_rw"),
        Isolation::Schema => ("tenant_{tenant}", None, "app_tenant_{tenant}"),
        Isolation::Database => ("app", Some("tenant_{tenant}"), "app_tenant_{tenant}"),
    };
    let schema = template("schema", raw.schema, schema)?;
    let database = match (raw.database, database) {
        (None, None) => None,
        (given, default) => Some(template("database", given, default.unwrap_or_default())?),
    };
    let own = match isolation {
        Isolation::Shared if schema.per_tenant() => Some(("schema", false)),
        Isolation::Schema if !schema.per_tenant() => Some(("schema", true)),
        Isolation::Database if !database.as_ref().is_some_and(Template::per_tenant) => {
            Some(("database", true))
        }
        _ => None,
    };
    if let Some((key, needs)) = own {
        let must = if needs { "must" } else { "must not" };
        return Err(Error::new(
            Code::Config,
            format!("{place} {key}: the template {must} hold {{tenant}} in this model"),
        ));
    }
    if isolation != Isolation::Database && database.as_ref().is_some_and(Template::per_tenant) {
        return Err(Error::new(
            Code::Config,
            format!("{place} database: the template must not hold {{tenant}} in this model"),
        ));
    }
    let base = match (&database, isolation) {
        (Some(database), Isolation::Database) => database.as_str(),
        _ => schema.as_str(),
    };
    let owner = template("owner", raw.owner, &format!("{base}_owner"))?;
    let roles = match raw.role {
        None => vec![template("role", None, role)?],
        Some(raw::OneOrMany::One(name)) => vec![template("role", Some(name), role)?],
        Some(raw::OneOrMany::Many(names)) if names.is_empty() => {
            return Err(Error::new(Code::Config, format!("{place} role: the list is empty")));
        }
        Some(raw::OneOrMany::Many(names)) => names
            .into_iter()
            .map(|name| template("role", Some(name), role))
            .collect::<Result<_, _>>()?,
    };
    if roles.iter().any(|role| role.per_tenant() != (roles[0].per_tenant())) {
        return Err(Error::new(
            Code::Config,
            format!("{place} role: either every role holds {{tenant}}, or none does"),
        ));
    }
    if !shared && !roles[0].per_tenant() {
        return Err(Error::new(
            Code::Config,
            format!(
                "{place} role: the template must hold {{tenant}}: one role for all could read every tenant"
            ),
        ));
    }
    let readonly =
        raw.readonly_role.map(|name| template("readonly_role", Some(name), "")).transpose()?;
    if readonly.as_ref().is_some_and(|name| name.per_tenant() != roles[0].per_tenant()) {
        return Err(Error::new(
            Code::Config,
            format!("{place} readonly_role: it must hold {{tenant}} exactly when role does"),
        ));
    }
    let sharing = shared
        .then(|| {
            Ok::<_, Error>(Sharing {
                tenancy: Tenancy {
                    column: Ident::new(raw.column.unwrap_or_else(|| "tenant_id".to_owned()))?,
                    setting: Setting::new(
                        raw.setting.unwrap_or_else(|| "app.tenant_id".to_owned()),
                    )?,
                },
                key_type: raw.key_type.as_deref().map_or(Ok(KeyType::Uuid), str::parse)?,
            })
        })
        .transpose()?;
    let copying = match raw.template {
        // A schema that is called after its tenant is no other tenant's.
        _ if isolation != Isolation::Database || schema.per_tenant() => Copying::Never,
        Some(raw::CopyTemplate::Never) => Copying::Never,
        Some(raw::CopyTemplate::Always) => Copying::Always,
        Some(raw::CopyTemplate::Auto) | None => Copying::Auto,
    };
    Ok(Layout {
        copying,
        database,
        schema,
        owner,
        roles,
        readonly,
        login_role: raw.login_role.map(Ident::new).transpose()?,
        sharing,
    })
}

/// When a password is old: after 90 days unless the file says otherwise.
fn password_age(text: Option<&str>) -> Result<SignedDuration, Error> {
    let Some(text) = text else { return Ok(SignedDuration::from_hours(90 * 24)) };
    text.parse::<jiff::Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()
        .filter(SignedDuration::is_positive)
        .ok_or_else(|| {
            Error::new(Code::Config, format!("[credentials] max_age: {text:?} is no duration"))
                .hint("write it in days: max_age = \"90d\"")
        })
}

/// Settings that decide who a session is or what it sees: no tier may set them.
const NOT_FOR_TIERS: [&str; 6] = [
    "role",
    "row_security",
    "search_path",
    "session_authorization",
    "session_replication_role",
    "session_preload_libraries",
];

fn tier(name: &str, raw: raw::Tier) -> Result<Tier, Error> {
    let mut settings = raw.settings;
    for (setting, value) in [
        ("statement_timeout", raw.statement_timeout),
        ("lock_timeout", raw.lock_timeout),
        ("idle_in_transaction_session_timeout", raw.idle_in_transaction_session_timeout),
        ("idle_session_timeout", raw.idle_session_timeout),
        ("work_mem", raw.work_mem),
        ("temp_file_limit", raw.temp_file_limit),
    ] {
        if let Some(value) = value {
            settings.insert(setting.to_owned(), value);
        }
    }
    for setting in settings.keys() {
        let plain = !setting.is_empty()
            && setting
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c));
        let named = setting.split('.').all(|part| Ident::new(part).is_ok());
        if !plain || !named || NOT_FOR_TIERS.contains(&setting.as_str()) {
            return Err(Error::new(
                Code::Config,
                format!("[tiers.{name}] may not set {setting:?}"),
            ));
        }
    }
    if raw.connection_limit.is_some_and(|limit| limit < -1) {
        return Err(Error::new(
            Code::Config,
            format!("[tiers.{name}] connection_limit: use 0 or more, or -1 for no limit"),
        ));
    }
    Ok(Tier {
        isolation: raw.isolation,
        limits: Limits { connection_limit: raw.connection_limit, settings },
    })
}
