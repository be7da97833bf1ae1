//! What was observed, and what lets it happen: two findings of one hole.

use std::collections::BTreeSet;

use super::finding::{Evidence, Finding, Object, Severity};

/// The findings that say why something is possible.
#[derive(Debug, Default)]
pub struct Causes<'a> {
    objects: BTreeSet<(&'a str, Option<&'a str>, &'a str)>,
    roles: BTreeSet<(&'a str, &'a str)>,
}

/// What findings about one object have in common: a policy's is its table.
pub fn subject(object: &Object) -> &str {
    object.parent.as_deref().unwrap_or(&object.name)
}

fn place(object: &Object) -> (&str, Option<&str>, &str) {
    (&object.cluster, object.database.as_deref(), subject(object))
}

impl<'a> Causes<'a> {
    /// The causes among findings: what the catalogues say, where it is grave.
    pub fn of(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut causes = Self::default();
        let grave =
            |one: &&Finding| one.evidence == Evidence::Static && one.severity >= Severity::High;
        for finding in findings.into_iter().filter(grave) {
            let object = &finding.object;
            if object.kind == "role" {
                // The object is the role that is too powerful, the role the one that reaches it.
                causes.roles.insert((&object.cluster, &object.name));
                causes
                    .roles
                    .extend(finding.role.as_deref().map(|role| (object.cluster.as_str(), role)));
            } else {
                causes.objects.insert(place(object));
            }
        }
        causes
    }

    /// Whether something that was observed has a cause among them: about the same object, or about
    /// the role that acted.
    pub fn explain(&self, finding: &Finding) -> bool {
        let by_role = || {
            finding
                .role
                .as_deref()
                .is_some_and(|role| self.roles.contains(&(finding.object.cluster.as_str(), role)))
        };
        finding.evidence == Evidence::Probe
            && (self.objects.contains(&place(&finding.object)) || by_role())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::finding::Fix;

    fn finding(kind: &'static str, name: &str) -> Finding {
        let object = Object {
            cluster: "eu-1".to_owned(),
            database: (kind != "role").then(|| "app".to_owned()),
            kind,
            name: name.to_owned(),
            parent: None,
        };
        Finding::new("x", Severity::High, object, "…", Fix::Advice("…".to_owned()))
    }

    #[test]
    fn a_hole_is_explained_by_its_table_or_by_the_role_that_acted() {
        let seen = finding("table", "app.notes").role("app_rw").observed();
        let explains = |cause: &Finding| Causes::of([cause]).explain(&seen);
        assert!(explains(&finding("table", "app.notes")));
        assert!(explains(&finding("role", "app_rw")));
        assert!(explains(&finding("role", "admin").role("app_rw")));
        assert!(!explains(&finding("table", "app.users")));
        assert!(!explains(&finding("table", "app.notes").severity(Severity::Low)));
        assert!(!explains(&seen), "what is observed explains nothing");
        let mut policy = finding("policy", "open");
        policy.object.parent = Some("app.notes".to_owned());
        assert!(explains(&policy));
    }
}
