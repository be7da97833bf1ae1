//! What `explain` says about a rule, whoever checks it.

use crate::audit;
use crate::lint;
use crate::model::severity::Severity;

/// A rule, explained. The parts stand in the order in which they are told.
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// Its id.
    pub id: &'static str,
    /// What it is about: a family of `verify-rls`, or `files`.
    pub family: &'static str,
    /// How grave a finding usually is.
    pub severity: Severity,
    /// How it is known: `static`, `probe` or `file`.
    pub evidence: &'static str,
    /// One line: what is wrong.
    pub title: &'static str,
    /// When it is reported, and when not; for rules about files the title says it.
    pub what: Option<&'static str>,
    /// What it costs.
    pub why: &'static str,
    /// SQL that breaks it.
    pub example: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Where to read more: URLs and CVE numbers.
    pub references: &'static [&'static str],
}

/// What rules about migration files are about.
const FILES: &str = "files";

impl Explained {
    /// The rule of that id, of `verify-rls` or of `migrate lint`.
    pub fn find(id: &str) -> Option<Self> {
        audit::rules::named(id).map(Self::from).or_else(|| lint::rule(id).map(Self::from))
    }

    /// Every rule: those of `verify-rls` by family, then those about files; in a family by id.
    pub fn all() -> Vec<Self> {
        let mut rules: Vec<&'static audit::Rule> = audit::rules::ALL.to_vec();
        rules.sort_by_key(|rule| (rule.family, rule.id));
        let mut files: Vec<&'static lint::Rule> = lint::rules().collect();
        files.sort_by_key(|rule| rule.id);
        rules.into_iter().map(Self::from).chain(files.into_iter().map(Self::from)).collect()
    }
}

impl From<&'static audit::Rule> for Explained {
    fn from(rule: &'static audit::Rule) -> Self {
        Self {
            id: rule.id,
            family: rule.family.word(),
            severity: rule.severity,
            evidence: match rule.evidence {
                audit::Evidence::Static => "static",
                audit::Evidence::Probe => "probe",
            },
            title: rule.title,
            what: Some(rule.what),
            why: rule.why,
            example: rule.example,
            fix: rule.fix,
            references: rule.references,
        }
    }
}

impl From<&'static lint::Rule> for Explained {
    fn from(rule: &'static lint::Rule) -> Self {
        Self {
            id: rule.id,
            family: FILES,
            severity: rule.severity,
            evidence: "file",
            title: rule.title,
            what: None,
            why: rule.why,
            example: rule.example,
            fix: rule.fix,
            references: &[],
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
        let mut ids: Vec<_> = Explained::all().iter().map(|rule| rule.id).collect();
        let number = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), number);
    }
}
