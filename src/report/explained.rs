//! What `explain` says about a rule, whoever checks it.

use crate::audit;
use crate::lint;
use crate::model::severity::Severity;

/// A rule, explained.
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// Its id.
    pub id: &'static str,
    /// How grave a finding usually is.
    pub severity: Severity,
    /// How it is known: `static`, `probe` or `file`.
    pub evidence: &'static str,
    /// One line: what is wrong.
    pub title: &'static str,
    /// What it means, and when it is not reported.
    pub docs: &'static str,
    /// SQL that breaks it.
    pub example: &'static str,
    /// What to write instead, for rules about files.
    pub instead: Option<&'static str>,
    /// Where the manual says more.
    pub see: &'static [&'static str],
}

impl Explained {
    /// The rule of that id, of `verify-rls` or of `migrate lint`.
    pub fn find(id: &str) -> Option<Self> {
        audit::rules::named(id).map(Self::from).or_else(|| lint::rule(id).map(Self::from))
    }
}

impl From<&'static audit::Rule> for Explained {
    fn from(rule: &'static audit::Rule) -> Self {
        Self {
            id: rule.id,
            severity: rule.severity,
            evidence: match rule.evidence {
                audit::Evidence::Static => "static",
                audit::Evidence::Probe => "probe",
            },
            title: rule.title,
            docs: rule.docs,
            example: rule.example,
            instead: None,
            see: rule.see,
        }
    }
}

impl From<&'static lint::Rule> for Explained {
    fn from(rule: &'static lint::Rule) -> Self {
        Self {
            id: rule.id,
            severity: rule.severity,
            evidence: "file",
            title: rule.title,
            docs: rule.why,
            example: rule.example,
            instead: Some(rule.fix),
            see: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_about_files_has_the_name_of_a_rule_about_servers() {
        for rule in lint::rules() {
            assert!(audit::rules::named(rule.id).is_none(), "{}", rule.id);
            assert!(Explained::find(rule.id).is_some());
        }
    }
}
