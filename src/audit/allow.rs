//! Findings that are meant so: who says so, why, and until when.

use std::fmt;

use jiff::civil::Date;
use serde::{Serialize, Serializer};

use super::finding::Finding;
use crate::model::tenant::TenantId;

/// An entry of `[verify] allow`: findings of one rule that do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allow {
    /// The rule's id.
    pub rule: String,
    /// The object's name, or that of what it belongs to, as findings write it; `*` stands for any
    /// characters. Every object without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A tenant that the finding concerns. Every finding without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Why it is no hole, or one that is accepted.
    pub reason: String,
    /// Until when that holds.
    pub expires: Expiry,
}

/// Until when an exception holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It does not end.
    Never,
    /// Through this day, in UTC.
    On(Date),
}

impl Expiry {
    /// Whether it is over.
    pub fn is_past(self, today: Date) -> bool {
        match self {
            Self::Never => false,
            Self::On(last) => last < today,
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::On(last) => write!(f, "{last}"),
        }
    }
}

impl Serialize for Expiry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Allow {
    /// Whether a finding is one that it speaks of.
    pub fn covers(&self, finding: &Finding) -> bool {
        let names = || [Some(&finding.object.name), finding.object.parent.as_ref()];
        self.rule == finding.rule
            && self
                .object
                .as_ref()
                .is_none_or(|pattern| names().into_iter().flatten().any(|name| fits(pattern, name)))
            && self.tenant.as_ref().is_none_or(|tenant| finding.tenants.contains(tenant))
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)?;
        if let Some(object) = &self.object {
            write!(f, " on {object}")?;
        }
        if let Some(tenant) = &self.tenant {
            write!(f, " for {tenant}")?;
        }
        Ok(())
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters, none included.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::finding::{Fix, Object, Severity};

    fn finding() -> Finding {
        let object = Object {
            cluster: "eu-1".to_owned(),
            database: Some("app".to_owned()),
            kind: "policy",
            name: "open".to_owned(),
            parent: Some("app.notes".to_owned()),
        };
        let fix = Fix::Advice("…".to_owned());
        let tenant = TenantId::new("acme").unwrap();
        Finding::new("policy-ignores-tenant", Severity::High, object, "…", fix).tenants([&tenant])
    }

    fn allow() -> Allow {
        Allow {
            rule: "policy-ignores-tenant".to_owned(),
            object: None,
            tenant: None,
            reason: "published rows are public".to_owned(),
            expires: Expiry::Never,
        }
    }

    #[test]
    fn it_covers_its_rule_and_narrows_by_object_and_tenant() {
        let finding = finding();
        assert!(allow().covers(&finding));
        assert!(!Allow { rule: "policy-missing".to_owned(), ..allow() }.covers(&finding));
        let on = |object: &str| Allow { object: Some(object.to_owned()), ..allow() };
        assert!(on("app.notes").covers(&finding) && on("open").covers(&finding));
        assert!(on("app.*").covers(&finding) && !on("app.note").covers(&finding));
        let of = |id| Allow { tenant: Some(TenantId::new(id).unwrap()), ..allow() };
        assert!(of("acme").covers(&finding) && !of("zoe").covers(&finding));
    }

    #[test]
    fn a_star_is_anything() {
        for (pattern, name) in
            [("a*c", "abc"), ("a*c", "ac"), ("*", ""), ("*b*", "abc"), ("a*b*b", "abxb")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a*c", "abd"), ("a", "ab"), ("*b", "bc"), ("a*b*c", "acb")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_day_counts() {
        let last: Date = "2026-06-30".parse().unwrap();
        let expiry = Expiry::On(last);
        assert!(!expiry.is_past(last) && expiry.is_past(last.tomorrow().unwrap()));
        assert!(!Expiry::Never.is_past(last));
    }
}
