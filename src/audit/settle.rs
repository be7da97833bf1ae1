//! Which findings count: those that nobody allowed, and that were not there before.

use jiff::civil::Date;
use serde::Serialize;

use super::allow::{Allow, Expiry};
use super::baseline::{Baseline, Known};
use super::finding::Finding;

/// A finding that does not count, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Suppressed {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// Why it does not count.
    pub suppression: Suppression,
}

/// Why a finding does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Suppression {
    /// It was there before.
    Baseline,
    /// Somebody said that it is meant so.
    Allow {
        /// Why.
        reason: String,
        /// Until when.
        expires: Expiry,
    },
}

/// Findings, settled.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Those that count.
    pub open: Vec<Finding>,
    /// Those that do not.
    pub suppressed: Vec<Suppressed>,
    /// Exceptions that cover nothing.
    pub unused: Vec<Allow>,
    /// Exceptions that are over: what they cover counts again.
    pub expired: Vec<Allow>,
    /// What was there before and is found no more.
    pub gone: Vec<Known>,
}

/// Settles findings. An exception comes before the baseline: what is allowed need not be known.
pub fn settle(
    findings: Vec<Finding>,
    baseline: Option<&Baseline>,
    allow: &[Allow],
    today: Date,
) -> Settled {
    let mut settled = Settled {
        gone: baseline.map(|known| known.gone(&findings)).unwrap_or_default(),
        ..Settled::default()
    };
    let mut used = vec![false; allow.len()];
    for finding in findings {
        let mut allowed = None;
        for (at, one) in allow.iter().enumerate().filter(|(_, one)| one.covers(&finding)) {
            used[at] = true;
            if allowed.is_none() && !one.expires.is_past(today) {
                allowed =
                    Some(Suppression::Allow { reason: one.reason.clone(), expires: one.expires });
            }
        }
        let known = || baseline.is_some_and(|known| known.covers(&finding));
        match allowed.or_else(|| known().then_some(Suppression::Baseline)) {
            Some(suppression) => settled.suppressed.push(Suppressed { finding, suppression }),
            None => settled.open.push(finding),
        }
    }
    for (one, used) in allow.iter().zip(used) {
        if one.expires.is_past(today) {
            settled.expired.push(one.clone());
        } else if !used {
            settled.unused.push(one.clone());
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::finding::{Fix, Object, Severity};

    fn finding(rule: &'static str, name: &str) -> Finding {
        let object = Object {
            cluster: "eu-1".to_owned(),
            database: Some("app".to_owned()),
            kind: "table",
            name: name.to_owned(),
            parent: None,
        };
        Finding::new(rule, Severity::High, object, "…", Fix::Advice("…".to_owned()))
    }

    fn allow(rule: &str, expires: &str) -> Allow {
        let expires = match expires {
            "never" => Expiry::Never,
            day => Expiry::On(day.parse().unwrap()),
        };
        Allow {
            rule: rule.to_owned(),
            object: None,
            tenant: None,
            reason: "so".to_owned(),
            expires,
        }
    }

    fn today() -> Date {
        "2026-06-30".parse().unwrap()
    }

    #[test]
    fn what_is_allowed_or_known_does_not_count_and_the_rest_does() {
        let known = finding("rls-disabled", "app.old");
        let baseline =
            Baseline::of([&known, &finding("rls-disabled", "app.mended")].map(Known::from));
        let found =
            vec![finding("definer-view", "app.report"), known, finding("rls-disabled", "app.new")];
        let rules = [allow("definer-view", "2026-06-30"), allow("role-shared", "never")];
        let settled = settle(found, Some(&baseline), &rules, today());
        let open: Vec<_> = settled.open.iter().map(|one| one.object.name.as_str()).collect();
        assert_eq!(open, ["app.new"]);
        assert!(matches!(settled.suppressed[0].suppression, Suppression::Allow { .. }));
        assert_eq!(settled.suppressed[1].suppression, Suppression::Baseline);
        assert_eq!(settled.gone[0].name, "app.mended");
        assert_eq!(settled.unused, [allow("role-shared", "never")]);
        assert!(settled.expired.is_empty());
    }

    #[test]
    fn an_exception_that_is_over_allows_nothing() {
        let found = vec![finding("definer-view", "app.report")];
        let settled = settle(found, None, &[allow("definer-view", "2026-06-29")], today());
        assert_eq!((settled.open.len(), settled.expired.len()), (1, 1));
        assert!(settled.unused.is_empty());
    }
}
