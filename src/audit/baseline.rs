//! Findings that were there before: a file that can only shrink.
//!
//! One line per finding, sorted by object, so that two branches that mend different things merge and
//! a reviewer sees what was mended. A finding is known by its fingerprint, and only as long as it is
//! no graver than it was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::finding::{Evidence, Finding, Severity};
use crate::error::{Code, Error};

/// The number of the file's format.
const FORMAT: u32 = 1;

/// A finding that was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The finding's fingerprint.
    pub fingerprint: String,
    /// The rule's id.
    pub rule: String,
    /// How grave it was.
    pub severity: Severity,
    /// How it was known.
    pub evidence: Evidence,
    /// The cluster.
    pub cluster: String,
    /// The database; absent for what belongs to the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// What kind of object it is about.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What the object belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The role through which it was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What that role could do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

impl From<&Finding> for Known {
    fn from(finding: &Finding) -> Self {
        let object = &finding.object;
        Self {
            fingerprint: finding.fingerprint.clone(),
            rule: finding.rule.to_owned(),
            severity: finding.severity,
            evidence: finding.evidence,
            cluster: object.cluster.clone(),
            database: object.database.clone(),
            kind: object.kind.to_owned(),
            name: object.name.clone(),
            parent: object.parent.clone(),
            role: finding.role.clone(),
            operation: finding.operation.clone(),
        }
    }
}

/// The findings that were there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline(BTreeMap<String, Known>);

#[derive(Deserialize)]
struct Written {
    format: u32,
    findings: Vec<Known>,
}

impl Baseline {
    /// What would be known from now on.
    pub fn of(known: impl IntoIterator<Item = Known>) -> Self {
        Self(known.into_iter().map(|one| (one.fingerprint.clone(), one)).collect())
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Code::Config`] for what is no baseline, or one that a newer version wrote.
    pub fn read(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| {
            Error::new(Code::Config, format!("it is no baseline of verify-rls: {why}"))
                .hint("--write-baseline FILE writes one")
        };
        let written: Written =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if written.format != FORMAT {
            return Err(wrong(format!("its format is {}, and not {FORMAT}", written.format)));
        }
        Ok(Self::of(written.findings))
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut known: Vec<&Known> = self.0.values().collect();
        let key = |one: &Known| {
            let place = (one.cluster.clone(), one.database.clone(), one.parent.clone());
            (place, one.name.clone(), one.rule.clone(), one.fingerprint.clone())
        };
        known.sort_by_key(|one| key(one));
        let lines: Vec<String> = known
            .into_iter()
            .map(|one| serde_json::to_string(one).unwrap_or_default())
            .map(|line| format!("  {line}"))
            .collect();
        let end = if lines.is_empty() { "" } else { "\n" };
        format!("{{\"format\": {FORMAT}, \"findings\": [\n{}{end}]}}\n", lines.join(",\n"))
    }

    /// How many findings it knows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a finding was there before, and no graver now.
    pub fn covers(&self, finding: &Finding) -> bool {
        self.0.get(&finding.fingerprint).is_some_and(|known| finding.severity <= known.severity)
    }

    /// The findings that were there before and are not among these, by object.
    pub fn gone<'a>(&self, found: impl IntoIterator<Item = &'a Finding>) -> Vec<Known> {
        let mut gone = self.0.clone();
        for finding in found {
            gone.remove(&finding.fingerprint);
        }
        let mut gone: Vec<Known> = gone.into_values().collect();
        gone.sort_by(|a, b| {
            (&a.cluster, &a.database, &a.name, &a.rule).cmp(&(
                &b.cluster,
                &b.database,
                &b.name,
                &b.rule,
            ))
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::finding::{Fix, Object};

    fn finding(name: &str, severity: Severity) -> Finding {
        let object = Object {
            cluster: "eu-1".to_owned(),
            database: Some("app".to_owned()),
            kind: "table",
            name: name.to_owned(),
            parent: None,
        };
        Finding::new("rls-disabled", severity, object, "…", Fix::Advice("…".to_owned()))
            .role("app_rw")
    }

    #[test]
    fn it_is_read_as_it_was_written_and_one_line_is_one_finding() {
        let all = [finding("app.b", Severity::High), finding("app.\"ä\"\n", Severity::Low)];
        let baseline = Baseline::of(all.iter().map(Known::from));
        let text = baseline.text();
        assert_eq!(Baseline::read(&text).unwrap(), baseline);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(Baseline::read(&Baseline::default().text()).unwrap().len(), 0);
        for wrong in ["", "{}", "[]", "{\"format\": 2, \"findings\": []}"] {
            assert_eq!(Baseline::read(wrong).unwrap_err().code, Code::Config, "{wrong}");
        }
    }

    #[test]
    fn what_became_graver_is_not_known() {
        let baseline = Baseline::of([Known::from(&finding("app.a", Severity::Medium))]);
        assert!(baseline.covers(&finding("app.a", Severity::Low)));
        assert!(baseline.covers(&finding("app.a", Severity::Medium)));
        assert!(!baseline.covers(&finding("app.a", Severity::High)));
        assert!(!baseline.covers(&finding("app.b", Severity::Low)));
    }

    #[test]
    fn what_is_found_no_more_is_gone() {
        let (a, b) = (finding("app.a", Severity::High), finding("app.b", Severity::High));
        let baseline = Baseline::of([Known::from(&a), Known::from(&b)]);
        let gone: Vec<_> = baseline.gone([&a]).into_iter().map(|known| known.name).collect();
        assert_eq!(gone, ["app.b"]);
    }
}
