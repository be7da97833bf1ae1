//! Proves that tenants cannot see each other, or shows where they can.

mod files;
mod lanes;
mod matrix;
mod targets;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use matrix::{MatrixOptions, matrix};

use super::select::Selection;
use super::{Context, fleet};
use crate::audit::{
    self, Allow, Baseline, Finding, Known, Pairs, Severity, Suppression, Survey, remedies, settle,
};
use crate::error::{Code, Error};
use crate::model::cluster::ClusterFacts;
use crate::model::tenant::TenantId;
use crate::pg::{self, Manner};
use crate::report::event::Event;
use crate::report::{AuditedDatabase, Coverage, FindingsReport, Report, Verified};

use files::{Place, read_baseline};
use lanes::{Looked, Seen, each};
use targets::{Target, targets};

/// How long a probe may take, unless it is said otherwise.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How `verify-rls` looks.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Whom it is about; databases are audited whole, and findings about others left out.
    pub selection: Selection,
    /// Whether catalogues are judged.
    pub catalogues: bool,
    /// Whether the application is acted out.
    pub probes: bool,
    /// From which severity on a finding is a "no".
    pub fail_on: Severity,
    /// Which tenants act against which.
    pub pairs: Pairs,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Whether `TRUNCATE` is run, which locks a table against everybody for as long as it takes.
    pub truncate: bool,
    /// How many databases of a cluster are audited at once; a few, within `max_connections`,
    /// without it.
    pub jobs: Option<usize>,
    /// Findings that were there before, and do not fail.
    pub baseline: Option<PathBuf>,
    /// Where the findings of this audit are written to, as a baseline for the next.
    pub write_baseline: Option<PathBuf>,
    /// Where the fixes are written to.
    pub fix_sql: Option<PathBuf>,
}

/// Everybody, with both engines.
impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            catalogues: true,
            probes: true,
            fail_on: Severity::High,
            pairs: Pairs::default(),
            timeout: PROBE_TIMEOUT,
            truncate: false,
            jobs: None,
            baseline: None,
            write_baseline: None,
            fix_sql: None,
        }
    }
}

/// Audits every database that holds a selected tenant. A database that cannot be audited is part of
/// the answer, and hides no other.
///
/// # Errors
///
/// When nobody knows the tenants, for a selection that names one that does not exist, for an
/// exception or a baseline that cannot be meant, and for a file that cannot be written.
pub async fn verify(cx: &Context<'_>, options: &VerifyOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let allow = &cx.fleet.allow;
    check_rules(allow)?;
    let before = options.baseline.as_deref().map(read_baseline).transpose()?;
    let place = |path: &Option<PathBuf>| path.as_deref().map(Place::at).transpose();
    let (next, fixes) = (place(&options.write_baseline)?, place(&options.fix_sql)?);
    let (tenants, source) = fleet::tenants(cx).await?;
    if tenants.is_empty() {
        return Err(fleet::none(source).into());
    }
    let selected: BTreeSet<TenantId> =
        options.selection.pick(tenants.clone())?.into_iter().map(|tenant| tenant.id).collect();
    let audit = Audit {
        cx,
        options,
        manner: Manner {
            pairs: options.pairs,
            timeout: options.timeout,
            asked: Arc::new(selected),
            truncate: options.truncate,
        },
    };
    let everybody = audit.manner.asked.len() == tenants.len();
    let targets = targets(&tenants, &audit.manner.asked);
    let mut answer = audit.all(targets).await;
    let scope = Scope::of(&answer, options, everybody);
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let findings = std::mem::take(&mut answer.report.findings);
    let mut settled = settle(findings, before.as_ref(), allow, today);
    // What was not looked for cannot be gone, and an exception for it not be needless.
    let (gone, unjudged): (Vec<Known>, Vec<Known>) =
        settled.gone.into_iter().partition(|known| scope.would_see(known));
    settled.unused.retain(|_| scope.whole);
    answer.report.settle(settled.open, settled.suppressed);
    if let Some(place) = fixes {
        let suppressed = answer.report.suppressed.iter();
        let known = suppressed.filter(|one| one.suppression == Suppression::Baseline);
        let mut wrong: Vec<&Finding> =
            answer.report.findings.iter().chain(known.map(|one| &one.finding)).collect();
        wrong.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        answer.fixes = Some(place.write_fixes(remedies(&wrong))?);
    }
    if let Some(place) = next {
        let written = Baseline::of(
            answer
                .report
                .findings
                .iter()
                .map(Known::from)
                .chain(answer.report.known())
                .chain(unjudged),
        );
        answer.report.accept();
        answer.written_baseline = Some((place.write(&written.text())?, written.len()));
    }
    answer.baseline.clone_from(&options.baseline);
    answer.gone = gone;
    answer.unused = settled.unused;
    answer.expired = settled.expired;
    answer.took = started.elapsed();
    Ok(Report::Findings(Box::new(answer)))
}

/// Refuses exceptions for rules that do not exist: they would allow nothing, and hide a slip.
fn check_rules(allow: &[Allow]) -> Result<(), Error> {
    match allow.iter().find(|one| audit::rules::named(&one.rule).is_none()) {
        Some(one) => {
            let message =
                format!("[verify] allow names {}, which is no rule of verify-rls", one.rule);
            Err(Error::new(Code::Config, message).hint("tenantctl explain lists every rule"))
        }
        None => Ok(()),
    }
}

/// What an audit would have seen, if it were still there.
struct Scope {
    /// Everybody, everywhere, with both engines and every pair that it can try.
    whole: bool,
    catalogues: bool,
    probes: bool,
    everybody: bool,
    databases: BTreeSet<(String, String)>,
    failed: BTreeSet<String>,
    silent: BTreeSet<String>,
}

impl Scope {
    fn of(answer: &Verified, options: &VerifyOptions, everybody: bool) -> Self {
        let name = |one: &AuditedDatabase| {
            (one.cluster.as_str().to_owned(), one.database.as_str().to_owned())
        };
        let (good, bad): (Vec<_>, Vec<_>) =
            answer.databases.iter().partition(|one| one.error.is_none());
        let silent = &answer.report.not_probed;
        let whole = everybody
            && bad.is_empty()
            && answer.untouched == 0
            && options.catalogues
            && options.probes
            && silent.is_empty()
            && !matches!(options.pairs, Pairs::Sample { .. });
        Self {
            whole,
            catalogues: options.catalogues,
            probes: options.probes && !matches!(options.pairs, Pairs::Sample { .. }),
            everybody: everybody && answer.untouched == 0,
            databases: good.into_iter().map(name).collect(),
            failed: bad.into_iter().map(|one| name(one).0).collect(),
            silent: silent.iter().map(|one| one.relation.clone()).collect(),
        }
    }

    fn would_see(&self, known: &Known) -> bool {
        let engine = match known.evidence {
            audit::Evidence::Static => self.catalogues,
            audit::Evidence::Probe => self.probes && !self.silent.contains(&known.name),
        };
        let place = match &known.database {
            Some(database) => self.databases.contains(&(known.cluster.clone(), database.clone())),
            // What belongs to the cluster is seen from any of its databases.
            None => {
                !self.failed.contains(&known.cluster)
                    && self.databases.iter().any(|(cluster, _)| *cluster == known.cluster)
            }
        };
        self.everybody && engine && place
    }
}

/// One audit over any number of databases.
struct Audit<'a, 'c> {
    cx: &'a Context<'c>,
    options: &'a VerifyOptions,
    manner: Manner,
}

impl Audit<'_, '_> {
    /// Audits databases. What was audited stands in the answer, also when somebody asked to stop.
    async fn all(&self, targets: Vec<Target<'_>>) -> Verified {
        let mut report = FindingsReport::default();
        let take = |found: Found| {
            report.assumptions.extend(found.assumptions);
            report.add(found.findings, found.coverage, &found.probes, &found.unseen);
        };
        let look = async |session: &pg::Session, facts: &ClusterFacts, target: &Target<'_>| {
            let found = self.look(session, facts, target).await?;
            let findings = found.findings.len();
            let outcome = crate::model::count(findings, "finding");
            Ok(Seen { findings, outcome, value: found })
        };
        let Looked { databases, untouched, interrupted } =
            each(self.cx, targets, self.options.jobs, look, take).await;
        report.finish();
        Verified {
            tenants: self.manner.asked.len(),
            interrupted,
            untouched,
            databases,
            report,
            baseline: None,
            written_baseline: None,
            gone: Vec::new(),
            unused: Vec::new(),
            expired: Vec::new(),
            fixes: None,
            fail_on: self.options.fail_on,
            pairs: self.options.probes.then_some(self.options.pairs),
            took: Duration::ZERO,
        }
    }

    async fn look(
        &self,
        session: &pg::Session,
        facts: &ClusterFacts,
        target: &Target<'_>,
    ) -> Result<Found, Error> {
        let mut estate = self.cx.fleet.estate(target.tenants());
        let catalog = pg::read_catalog(session, facts, &estate).await?;
        estate.add_second_logins(catalog.roles.values().map(|role| &role.name));
        let (probes, notes) = if self.options.probes {
            let (cluster, name) = (Some(target.cluster), target.name());
            let told = |what: &str| {
                self.cx.observer.on(&Event::TargetWorking { cluster, target: &name, what });
            };
            let servers = self.cx.servers;
            pg::run_probes(servers, session, &catalog, &estate, &self.manner, &told).await?
        } else {
            (Vec::new(), Vec::new())
        };
        let wanted = |evidence| match evidence {
            audit::Evidence::Static => self.options.catalogues,
            audit::Evidence::Probe => self.options.probes,
        };
        let asked = &self.manner.asked;
        let survey = Survey::new(&catalog, &estate, &probes);
        let mut findings = audit::judge(&survey);
        findings.retain(|finding| {
            wanted(finding.evidence)
                && (finding.tenants.is_empty()
                    || finding.tenants.iter().any(|tenant| asked.contains(tenant)))
        });
        let coverage = Coverage::of(&survey);
        let assumptions = audit::assumptions(&survey);
        let unseen = [catalog.unseen, notes].concat();
        Ok(Found { findings, coverage, assumptions, probes, unseen })
    }
}

/// What was found in one database.
struct Found {
    findings: Vec<Finding>,
    coverage: Coverage,
    assumptions: Vec<String>,
    probes: Vec<crate::model::probe::Probe>,
    unseen: Vec<String>,
}
