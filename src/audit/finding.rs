//! Findings: what is wrong, on which object, for whom, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::model::fingerprint;
pub use crate::model::severity::Severity;
use crate::model::tenant::TenantId;
use crate::sql::Sql;

/// How a finding is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Read from the catalogues.
    Static,
    /// Observed by acting as the application.
    Probe,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Object {
    /// The cluster.
    pub cluster: String,
    /// The database; absent for roles, which belong to the cluster.
    pub database: Option<String>,
    /// `table`, `view`, `policy`, `function`, `schema`, `database`, `role`, …
    pub kind: &'static str,
    /// Its name, schema-qualified as PostgreSQL quotes it.
    pub name: String,
    /// What it belongs to: the table of a policy.
    pub parent: Option<String>,
}

/// What to do about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Statements that can be run as they are, one per item.
    Sql(Vec<Sql>),
    /// Words, where a person must decide.
    Advice(String),
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(statements) => {
                for (at, statement) in statements.iter().enumerate() {
                    write!(f, "{}{statement};", if at == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            Self::Advice(words) => f.write_str(words),
        }
    }
}

impl Fix {
    /// Adds the statements of another fix to these.
    pub(super) fn and(&mut self, other: &Self) {
        if let (Self::Sql(all), Self::Sql(more)) = (self, other) {
            let new = more.iter().filter(|one| !all.contains(one)).cloned().collect::<Vec<_>>();
            all.extend(new);
        }
    }
}

impl Serialize for Fix {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// How it is known.
    pub evidence: Evidence,
    /// What it is about.
    pub object: Object,
    /// The role through which it is reached.
    pub role: Option<String>,
    /// What that role can do: SQL commands or privileges.
    pub operation: Option<String>,
    /// The tenants it concerns; empty when it concerns all that share the object.
    pub tenants: Vec<TenantId>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do.
    pub fix: Fix,
    /// Statements that show it, ready to be pasted into a session; they end with a rollback. Only
    /// what was observed has them.
    pub reproduce: Option<String>,
    /// Stays the same from run to run: rule, object, role and operation, hashed.
    pub fingerprint: String,
}

impl Finding {
    /// Starts a finding with what it must have.
    pub fn new(
        rule: &'static str,
        severity: Severity,
        object: Object,
        message: impl Into<String>,
        fix: Fix,
    ) -> Self {
        let mut finding = Self {
            rule,
            severity,
            evidence: Evidence::Static,
            object,
            role: None,
            operation: None,
            tenants: Vec::new(),
            message: message.into(),
            fix,
            reproduce: None,
            fingerprint: String::new(),
        };
        finding.seal();
        finding
    }

    /// Adds the role through which it is reached.
    #[must_use]
    pub fn role(mut self, role: impl fmt::Display) -> Self {
        self.role = Some(role.to_string());
        self.seal();
        self
    }

    /// Adds what that role can do.
    #[must_use]
    pub fn operation(mut self, operation: impl fmt::Display) -> Self {
        self.operation = Some(operation.to_string());
        self.seal();
        self
    }

    /// Adds the tenants it concerns, sorted.
    #[must_use]
    pub fn tenants<'a>(mut self, tenants: impl IntoIterator<Item = &'a TenantId>) -> Self {
        self.tenants = tenants.into_iter().cloned().collect();
        self.tenants.sort();
        self.tenants.dedup();
        self
    }

    /// Adds the statements that show it.
    #[must_use]
    pub fn reproduce(mut self, statements: impl Into<String>) -> Self {
        self.reproduce = Some(statements.into());
        self
    }

    /// Makes it graver or lighter than its rule usually is.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Marks it as observed.
    #[must_use]
    pub fn observed(mut self) -> Self {
        self.evidence = Evidence::Probe;
        self
    }

    /// The order in which findings are listed: the gravest first, then by object, and there what
    /// is wrong before what it was observed to do.
    pub fn sort_key(&self) -> impl Ord + '_ {
        (
            std::cmp::Reverse(self.severity),
            (&self.object.cluster, &self.object.database, &self.object.name, &self.object.parent),
            (self.evidence, self.rule, &self.role, &self.operation),
        )
    }

    fn seal(&mut self) {
        let object = &self.object;
        self.fingerprint = fingerprint::of([
            self.rule,
            object.cluster.as_str(),
            object.database.as_deref().unwrap_or_default(),
            object.kind,
            object.name.as_str(),
            object.parent.as_deref().unwrap_or_default(),
            self.role.as_deref().unwrap_or_default(),
            self.operation.as_deref().unwrap_or_default(),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str) -> Finding {
        let object = Object {
            cluster: "eu-1".to_owned(),
            database: Some("app".to_owned()),
            kind: "table",
            name: name.to_owned(),
            parent: None,
        };
        Finding::new("rls-disabled", Severity::Critical, object, "…", Fix::Advice("…".to_owned()))
    }

    #[test]
    fn a_fingerprint_depends_on_what_the_finding_is_about_and_on_nothing_else() {
        let one = finding("app.notes").role("app_rw");
        assert_eq!(one.fingerprint.len(), 16);
        assert_eq!(one.fingerprint, finding("app.notes").role("app_rw").fingerprint);
        assert_eq!(
            one.fingerprint,
            one.clone().severity(Severity::Low).observed().fingerprint,
            "what a baseline remembers outlives a change of severity"
        );
        assert_ne!(one.fingerprint, finding("app.note").role("app_rw").fingerprint);
        assert_ne!(one.fingerprint, finding("app.notes").role("app_ro").fingerprint);
    }
}
