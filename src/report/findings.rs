//! What `verify-rls` answers: findings, how much was looked at, and whether that is a pass.

use serde::Serialize;

use crate::audit::{Finding, Known, Rule, Severity, Suppressed, Suppression, Survey};
use crate::model::probe::Probe;

/// How many findings there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Critical ones.
    pub critical: usize,
    /// High ones.
    pub high: usize,
    /// Medium ones.
    pub medium: usize,
    /// Low ones.
    pub low: usize,
    /// Informational ones.
    pub info: usize,
}

impl Summary {
    /// Counts findings, given how grave each is.
    pub fn of(findings: impl IntoIterator<Item = Severity>) -> Self {
        let mut sum = Self::default();
        for severity in findings {
            match severity {
                Severity::Critical => sum.critical += 1,
                Severity::High => sum.high += 1,
                Severity::Medium => sum.medium += 1,
                Severity::Low => sum.low += 1,
                Severity::Info => sum.info += 1,
            }
        }
        sum
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Tables that hold tenants' rows, shared or in a schema or database of their own.
    pub tables: usize,
    /// Policies on them.
    pub policies: usize,
    /// Attempts that ran and were answered.
    pub probes: usize,
    /// Attempts that could not be made, or whose answer says nothing.
    pub not_probed: usize,
}

impl Coverage {
    /// Counts what an audit of one database looked at.
    pub fn of(survey: &Survey<'_>) -> Self {
        let Survey { catalog, probes, .. } = survey;
        let own = catalog.relations.values().filter(|relation| {
            relation.kind.is_table() && survey.territories.contains_key(&relation.schema)
        });
        let silent = probes.iter().filter(|probe| probe.silent().is_some()).count();
        Self {
            tables: survey.tenant_tables.len() + own.count(),
            policies: catalog.policies.len(),
            probes: probes.len() - silent,
            not_probed: unanswered(probes).count(),
        }
    }

    /// Adds another database's numbers.
    pub fn add(&mut self, other: Self) {
        self.tables += other.tables;
        self.policies += other.policies;
        self.probes += other.probes;
        self.not_probed += other.not_probed;
    }
}

/// An attempt that says nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotProbed {
    /// The relation, as SQL reads it.
    pub relation: String,
    /// The role that would have acted.
    pub role: String,
    /// The SQL command.
    pub operation: &'static str,
    /// Why.
    pub reason: String,
}

/// The answer of one audit, over any number of databases.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FindingsReport {
    /// Findings by severity.
    pub summary: Summary,
    /// How much was looked at.
    pub coverage: Coverage,
    /// The findings that count, the gravest first.
    pub findings: Vec<Finding>,
    /// The findings that do not count, and why.
    pub suppressed: Vec<Suppressed>,
    /// What the judgement takes for granted; each thing once.
    pub assumptions: Vec<String>,
    /// What was not probed, and why; sorted, each reason once.
    pub not_probed: Vec<NotProbed>,
    /// What the auditing role could not see.
    pub unseen: Vec<String>,
}

impl FindingsReport {
    /// Adds what was found in one database. [`FindingsReport::finish`] must come after the last.
    pub fn add(
        &mut self,
        findings: Vec<Finding>,
        coverage: Coverage,
        probes: &[Probe],
        unseen: &[String],
    ) {
        self.findings.extend(findings);
        self.coverage.add(coverage);
        self.not_probed.extend(unanswered(probes).map(|(probe, reason)| NotProbed {
            relation: probe.object.clone(),
            role: probe.role.to_string(),
            operation: probe.attempt.word(),
            reason,
        }));
        self.unseen.extend(unseen.iter().cloned());
    }

    /// Brings what was added into order: it depends on what was found, and not on which database
    /// was done first.
    pub fn finish(&mut self) {
        self.findings.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        // What belongs to the cluster (roles, databases) is found from each of its databases.
        self.findings.dedup_by(|a, b| a.fingerprint == b.fingerprint && a.rule == b.rule);
        self.summary = Summary::of(self.findings.iter().map(|finding| finding.severity));
        self.assumptions.sort();
        self.assumptions.dedup();
        self.not_probed.sort();
        self.not_probed.dedup();
        self.unseen.sort();
        self.unseen.dedup();
    }

    /// Divides the findings into those that count and those that do not.
    pub fn settle(&mut self, open: Vec<Finding>, suppressed: Vec<Suppressed>) {
        self.summary = Summary::of(open.iter().map(|finding| finding.severity));
        self.findings = open;
        self.suppressed = suppressed;
    }

    /// Takes every finding that counts as one that was there before.
    pub fn accept(&mut self) {
        let open = std::mem::take(&mut self.findings);
        let known = open
            .into_iter()
            .map(|finding| Suppressed { finding, suppression: Suppression::Baseline });
        let mut suppressed = std::mem::take(&mut self.suppressed);
        suppressed.extend(known);
        suppressed.sort_by(|a, b| a.finding.sort_key().cmp(&b.finding.sort_key()));
        self.settle(Vec::new(), suppressed);
    }

    /// The findings that were there before, as a baseline knows them.
    pub fn known(&self) -> impl Iterator<Item = Known> {
        let known = |one: &&Suppressed| one.suppression == Suppression::Baseline;
        self.suppressed.iter().filter(known).map(|one| Known::from(&one.finding))
    }

    /// Whether no finding is as grave as the limit, or graver.
    pub fn verdict(&self, fail_on: Severity) -> Verdict {
        if self.findings.iter().any(|finding| finding.severity >= fail_on) {
            Verdict::Fail
        } else {
            Verdict::Pass
        }
    }

    /// The rules that found something, in the order of their ids.
    pub fn rules(&self) -> Vec<&'static Rule> {
        let found = |rule: &&&'static Rule| self.findings.iter().any(|f| f.rule == rule.id);
        crate::audit::rules::ALL.iter().filter(found).copied().collect()
    }
}

/// What the answer amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing at or above the limit.
    Pass,
    /// Something is.
    Fail,
}

/// The attempts that say nothing where no other one answers.
fn unanswered(probes: &[Probe]) -> impl Iterator<Item = (&Probe, String)> {
    probes
        .iter()
        .filter_map(|probe| Some((probe, probe.silent()?)))
        .filter(|(silent, _)| !probes.iter().any(|probe| probe.answers(silent)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Fix, Object};

    fn finding(name: &str, severity: Severity) -> Finding {
        let object = Object {
            cluster: "eu-1".to_owned(),
            database: None,
            kind: "role",
            name: name.to_owned(),
            parent: None,
        };
        Finding::new("role-superuser", severity, object, "…", Fix::Advice("…".to_owned()))
    }

    #[test]
    fn the_verdict_is_a_matter_of_the_limit() {
        let mut report = FindingsReport::default();
        assert_eq!(report.verdict(Severity::Info), Verdict::Pass);
        report.add(vec![finding("a", Severity::Medium)], Coverage::default(), &[], &[]);
        report.finish();
        assert_eq!(report.verdict(Severity::High), Verdict::Pass);
        assert_eq!(report.verdict(Severity::Medium), Verdict::Fail);
    }

    #[test]
    fn a_role_seen_from_two_databases_is_found_once_and_the_gravest_stands_first() {
        let mut report = FindingsReport::default();
        let both = vec![finding("a", Severity::Low), finding("b", Severity::Critical)];
        report.add(both.clone(), Coverage::default(), &[], &["roles".to_owned()]);
        report.add(both, Coverage::default(), &[], &["roles".to_owned()]);
        report.finish();
        assert_eq!(report.summary, Summary { critical: 1, low: 1, ..Summary::default() });
        assert_eq!(report.findings[0].object.name, "b");
        assert_eq!(report.unseen, ["roles"]);
    }
}
