//! What is delivered: passwords with all that an application needs beside them, in three spellings.

use std::collections::BTreeMap;

use serde_json::json;

use super::password;
use crate::error::Error;
use crate::model::connection::{ConnectionSettings, Host, percent_encode};
use crate::model::credential::Validity;
use crate::model::ident::Ident;
use crate::model::secret::Secret;
use crate::model::tenant::{ClusterName, TenantId};

/// How a document is spelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretFormat {
    /// The JSON of `create --credentials-file`, with what was replaced and how to connect.
    #[default]
    Json,
    /// Lines of an environment file, with libpq's names.
    Env,
    /// A Kubernetes Secret.
    Kubernetes,
}

/// A text with `{tenant}`, `{role}` and `{cluster}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether each tenant gets its own.
    pub fn per_tenant(&self) -> bool {
        self.0.contains("{tenant}")
    }

    pub(super) fn of(&self, document: &Document<'_>) -> String {
        self.0
            .replace("{tenant}", document.name())
            .replace("{role}", document.entries[0].role.as_str())
            .replace("{cluster}", document.cluster.as_str())
    }
}

/// One new password.
pub(super) struct Entry<'a> {
    /// The role that the application works as.
    pub(super) role: &'a Ident,
    /// The role that logs in.
    pub(super) login: &'a Ident,
    pub(super) password: &'a Secret,
    pub(super) until: Validity,
    /// The login that it replaces, and until when that works.
    pub(super) replaces: Option<&'a (Ident, Validity)>,
}

/// The new passwords of one tenant, or of several that use the same.
pub(super) struct Document<'a> {
    /// Never empty.
    pub(super) tenants: Vec<&'a TenantId>,
    pub(super) cluster: &'a ClusterName,
    /// The database, where all of them use one.
    pub(super) database: Option<&'a Ident>,
    /// The schema, where all of them use one.
    pub(super) schema: Option<&'a Ident>,
    /// Never empty.
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) connection: &'a ConnectionSettings,
}

impl Document<'_> {
    /// What stands for `{tenant}`.
    fn name(&self) -> &str {
        match self.tenants[..] {
            [only] => only.as_str(),
            _ => self.entries[0].role.as_str(),
        }
    }

    /// The document, spelled.
    pub(super) fn spell(
        &self,
        format: SecretFormat,
        secret_name: Option<&Pattern>,
        namespace: Option<&str>,
    ) -> Result<Secret, Error> {
        Ok(Secret::new(match format {
            SecretFormat::Json => self.json()?,
            SecretFormat::Env => self.env(),
            SecretFormat::Kubernetes => self.manifest(secret_name, namespace),
        }))
    }

    fn json(&self) -> Result<String, Error> {
        let logins = self.entries.iter().map(|entry| {
            let variables: BTreeMap<String, String> = self.variables(entry).into_iter().collect();
            json!({
                "role": entry.role.as_str(),
                "login": entry.login.as_str(),
                "valid_until": entry.until.end().map(|end| end.to_string()),
                "replaces": entry.replaces.map(|(login, until)| json!({
                    "login": login.as_str(),
                    "valid_until": until.end().map(|end| end.to_string()),
                })),
                "cluster": self.cluster.as_str(),
                "database": self.database.map(Ident::as_str),
                "schema": self.schema.map(Ident::as_str),
                "environment": variables,
            })
        });
        let several = self.tenants.len() > 1;
        password::text(&password::File {
            format: 1,
            tenant: (!several).then(|| self.tenants[0].to_string()),
            tenants: if several {
                self.tenants.iter().map(ToString::to_string).collect()
            } else {
                Vec::new()
            },
            credentials: self
                .entries
                .iter()
                .map(|entry| (entry.login.as_str().to_owned(), entry.password.expose().to_owned()))
                .collect(),
            logins: logins.collect(),
        })
    }

    fn env(&self) -> String {
        let mut text = format!("# {}: {}\n", MARK, self.entries[0].role.as_str());
        for (name, value) in self.all_variables() {
            text.push_str(&format!("{name}={}\n", quoted(&value)));
        }
        text
    }

    /// YAML, in which every text is quoted as JSON quotes it.
    fn manifest(&self, name: Option<&Pattern>, namespace: Option<&str>) -> String {
        let mut text = String::from("---\napiVersion: v1\nkind: Secret\nmetadata:\n");
        text.push_str(&format!("  name: {}\n", json!(self.secret_name(name))));
        if let Some(namespace) = namespace {
            text.push_str(&format!("  namespace: {}\n", json!(namespace)));
        }
        let tenants: Vec<&str> = self.tenants.iter().map(|id| id.as_str()).collect();
        text.push_str("  labels:\n    app.kubernetes.io/managed-by: tenantctl\n  annotations:\n");
        text.push_str(&format!("    {MARK}: {}\n", json!(self.entries[0].role.as_str())));
        text.push_str(&format!("    tenantctl/tenants: {}\n", json!(tenants.join(","))));
        text.push_str("type: Opaque\nstringData:\n");
        for (name, value) in self.all_variables() {
            text.push_str(&format!("  {name}: {}\n", json!(value)));
        }
        text
    }

    /// What Kubernetes takes as a name: lower-case letters, digits, `-` and `.`.
    pub(super) fn secret_name(&self, pattern: Option<&Pattern>) -> String {
        let named =
            pattern.map_or_else(|| format!("{}-postgres", self.name()), |name| name.of(self));
        let plain: String = named
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        let ends = |c: char| !c.is_ascii_alphanumeric();
        plain.trim_matches(ends).chars().take(253).collect::<String>().trim_end_matches(ends).into()
    }

    /// The variables of every login: those of the first as libpq knows them, a number behind the
    /// others'.
    fn all_variables(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let behind = if at == 0 { String::new() } else { format!("_{}", at + 1) };
            let variables = self.variables(entry).into_iter();
            all.extend(variables.map(|(name, value)| (format!("{name}{behind}"), value)));
        }
        all
    }

    fn variables(&self, entry: &Entry<'_>) -> Vec<(String, String)> {
        let hosts: Vec<String> = self
            .connection
            .servers
            .iter()
            .map(|server| match &server.host {
                Host::Tcp { name, .. } => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let ports: Vec<String> =
            self.connection.servers.iter().map(|server| server.port.to_string()).collect();
        let mode = self.connection.tls.mode.word();
        let mut variables = vec![
            ("PGHOST", hosts.join(",")),
            ("PGPORT", ports.join(",")),
            ("PGUSER", entry.login.as_str().to_owned()),
            ("PGPASSWORD", entry.password.expose().to_owned()),
            ("PGSSLMODE", mode.to_owned()),
        ];
        let database = self.database.map(Ident::as_str).unwrap_or_default();
        if !database.is_empty() {
            variables.push(("PGDATABASE", database.to_owned()));
        }
        let url = format!(
            "postgresql://{}:{}@/{}?host={}&port={}&sslmode={mode}",
            percent_encode(entry.login.as_str()),
            percent_encode(entry.password.expose()),
            percent_encode(database),
            percent_encode(&hosts.join(",")),
            percent_encode(&ports.join(",")),
        );
        variables.push(("DATABASE_URL", url));
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What tells a file of ours from somebody else's: it stands beside the role's name.
const MARK: &str = "tenantctl/role";

/// Whether a text is an earlier document about the same role, in any of the spellings. A manifest
/// whose values were encrypted still is.
pub(super) fn is_about(text: &str, role: &Ident, logins: &[&Ident]) -> bool {
    if let Ok(file) = serde_json::from_str::<password::File>(text) {
        return logins.iter().any(|login| file.credentials.contains_key(login.as_str()));
    }
    text.lines().any(|line| {
        let line = line.trim_start_matches(['#', ' ']);
        line.strip_prefix(MARK)
            .and_then(|rest| rest.trim_start().strip_prefix(':'))
            .is_some_and(|name| name.trim().trim_matches('"') == role.as_str())
    })
}

/// A value as shells and env files read it: bare when it is plain.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%,".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::conninfo::{Environment, Source, resolve};

    fn with<T>(role: &str, use_it: impl FnOnce(&Document<'_>) -> T) -> T {
        let url = "postgres://platform@db.internal:6432/app?sslmode=verify-full";
        let source = Source::Flag("x".to_owned());
        let connection = resolve(url, &source, &Environment::default()).unwrap();
        let role = Ident::new(role).unwrap();
        let login = Ident::new(format!("{}-b", role.as_str())).unwrap();
        let (tenant, cluster) =
            (TenantId::new("acme_eu").unwrap(), ClusterName::new("main").unwrap());
        let database = Ident::new("app").unwrap();
        let password = Secret::new("geheim");
        use_it(&Document {
            tenants: vec![&tenant],
            cluster: &cluster,
            database: Some(&database),
            schema: None,
            entries: vec![Entry {
                role: &role,
                login: &login,
                password: &password,
                until: Validity::Endless,
                replaces: None,
            }],
            connection: &connection,
        })
    }

    #[test]
    fn every_spelling_is_known_again_and_somebody_elses_is_not() {
        let (mine, other) = (Ident::new("app_acme").unwrap(), Ident::new("app_other").unwrap());
        let second = Ident::new("app_acme-b").unwrap();
        for format in [SecretFormat::Json, SecretFormat::Env, SecretFormat::Kubernetes] {
            let text = with("app_acme", |document| {
                document.spell(format, None, None).unwrap().expose().to_owned()
            });
            assert!(is_about(&text, &mine, &[&mine, &second]), "{text}");
            assert!(!is_about(&text, &other, &[&other]), "{text}");
        }
        assert!(!is_about("do not lose me", &mine, &[&mine]));
    }

    #[test]
    fn a_manifest_is_yaml_that_kubernetes_takes() {
        let text = with("app_acme", |document| {
            let name = Pattern("Db.{tenant}_".to_owned());
            document
                .spell(SecretFormat::Kubernetes, Some(&name), Some("shop"))
                .unwrap()
                .expose()
                .to_owned()
        });
        insta::assert_snapshot!(text, @r#"
        ---
        apiVersion: v1
        kind: Secret
        metadata:
          name: "db.acme-eu"
          namespace: "shop"
          labels:
            app.kubernetes.io/managed-by: tenantctl
          annotations:
            tenantctl/role: "app_acme"
            tenantctl/tenants: "acme_eu"
        type: Opaque
        stringData:
          PGHOST: "db.internal"
          PGPORT: "6432"
          PGUSER: "app_acme-b"
          PGPASSWORD: "geheim"
          PGSSLMODE: "verify-full"
          PGDATABASE: "app"
          DATABASE_URL: "postgresql://app_acme-b:geheim@/app?host=db.internal&port=6432&sslmode=verify-full"
        "#);
    }

    #[test]
    fn an_environment_file_says_what_libpq_reads() {
        let text = with("app_acme", |document| {
            document.spell(SecretFormat::Env, None, None).unwrap().expose().to_owned()
        });
        assert!(text.contains("\nPGUSER=app_acme-b\nPGPASSWORD=geheim\n"), "{text}");
        assert!(text.contains("\nDATABASE_URL='postgresql://"), "{text}");
    }
}
