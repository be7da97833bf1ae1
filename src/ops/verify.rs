//! Proves that tenants cannot see each other, or shows where they can.

use std::collections::BTreeMap;
use std::time::Instant;

use super::select::Selection;
use super::{Context, fleet};
use crate::audit::{self, Severity};
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::layout::Estate;
use crate::model::probe::ProbeOptions;
use crate::model::tenant::{ClusterName, Isolation, Tenant, TenantId};
use crate::pg;
use crate::report::event::Event;
use crate::report::{Coverage, FindingsReport, Report, Verified};

/// How `verify-rls` looks.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Whom it is about; databases are audited whole, and findings about others left out.
    pub selection: Selection,
    /// Whether catalogues are judged.
    pub catalogues: bool,
    /// Whether the application is acted out.
    pub probes: bool,
    /// How it is acted out.
    pub probing: ProbeOptions,
    /// From which severity on a finding is a "no".
    pub fail_on: Severity,
}

/// Audits every database that holds a selected tenant.
///
/// # Errors
///
/// When nobody knows the tenants, and when a database cannot be audited: an audit that saw half of
/// the fleet is no answer.
pub async fn verify(cx: &Context<'_>, options: &VerifyOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (tenants, source) = fleet::tenants(cx).await?;
    if tenants.is_empty() {
        return Err(fleet::none(source).into());
    }
    let selected: Vec<TenantId> =
        options.selection.pick(tenants.clone())?.into_iter().map(|tenant| tenant.id).collect();
    let databases = databases(&tenants, &selected);
    let mut answer = FindingsReport::default();
    cx.observer.on(&Event::RunStarted {
        what: "verify",
        run: None,
        targets: databases.len(),
        clusters: &[],
    });
    for ((cluster, database), estate) in databases {
        cx.interrupt.check("the audit")?;
        let name = format!("{cluster}/{}", database.as_str());
        let began = Instant::now();
        cx.observer.on(&Event::TargetStarted { cluster: None, target: &name });
        let estate = cx.fleet.estate(estate);
        let before = answer.findings.len();
        audit_database(cx, &cluster, &database, &estate, options, &selected, &mut answer).await?;
        let found = answer.findings.len() - before;
        cx.observer.on(&Event::TargetDone {
            cluster: None,
            target: &name,
            rows: &[],
            outcome: crate::model::count(found, "finding"),
            failed: false,
            took: began.elapsed(),
        });
    }
    cx.observer.on(&Event::RunDone);
    Ok(Report::Findings(Box::new(Verified {
        tenants: selected.len(),
        report: answer,
        fail_on: options.fail_on,
        took: started.elapsed(),
    })))
}

/// The databases that hold selected tenants, each with everybody who matters there: the tenants in
/// it, and those of its cluster that have a database of their own, whose roles must not get in.
fn databases(
    tenants: &[Tenant],
    selected: &[TenantId],
) -> BTreeMap<(ClusterName, Ident), Vec<Tenant>> {
    let mut databases: BTreeMap<(ClusterName, Ident), Vec<Tenant>> = tenants
        .iter()
        .filter(|tenant| selected.contains(&tenant.id))
        .map(|tenant| {
            ((tenant.placement.cluster.clone(), tenant.placement.database.clone()), Vec::new())
        })
        .collect();
    for ((cluster, database), inside) in &mut databases {
        inside.extend(
            tenants
                .iter()
                .filter(|tenant| tenant.placement.cluster == *cluster)
                .filter(|tenant| {
                    tenant.placement.database == *database
                        || tenant.isolation == Isolation::Database
                })
                .cloned(),
        );
        // The first two tenants of shared tables are who tries them: whoever is asked about acts.
        inside.sort_by_key(|tenant| !selected.contains(&tenant.id));
    }
    databases
}

async fn audit_database(
    cx: &Context<'_>,
    cluster: &ClusterName,
    database: &Ident,
    estate: &Estate,
    options: &VerifyOptions,
    selected: &[TenantId],
    answer: &mut FindingsReport,
) -> Result<(), Error> {
    let session = cx.servers.dedicated(cluster, Some(database)).await?;
    let catalog = pg::read_catalog(&session, estate).await?;
    drop(session);
    let (probes, notes) = if options.probes {
        pg::run_probes(cx.servers, &catalog, estate, options.probing).await?
    } else {
        (Vec::new(), Vec::new())
    };
    let wanted = |evidence| match evidence {
        audit::Evidence::Static => options.catalogues,
        audit::Evidence::Probe => options.probes,
    };
    let mut findings = audit::check(&catalog, estate, &probes);
    findings.retain(|finding| {
        wanted(finding.evidence)
            && (finding.tenants.is_empty()
                || finding.tenants.iter().any(|tenant| selected.contains(tenant)))
    });
    let coverage = Coverage::of(&catalog, estate, &probes);
    answer.add(findings, coverage, &probes, &[catalog.unseen.as_slice(), &notes].concat());
    Ok(())
}
