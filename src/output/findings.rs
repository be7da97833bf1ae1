//! `verify-rls` and `explain` for people.

use super::layout::wrapped;
use super::progress::duration;
use super::style::Style;
use crate::audit::Severity;
use crate::model::count;
use crate::model::tenant::TenantId;
use crate::report::{FindingsSummary, NotProbed, Verified};

pub(super) fn findings(answer: &Verified, style: &Style) -> String {
    let report = &answer.report;
    let mut text = found(answer, style);
    if !report.not_probed.is_empty() {
        text.push_str(&not_probed(&report.not_probed, style));
    }
    for unseen in &report.unseen {
        text.push_str(&wrapped(&format!("not seen: {unseen}"), 0, style));
    }
    for (database, failure) in answer.failures() {
        let (cluster, name) = (&database.cluster, database.database.as_str());
        let line = format!("not audited: {cluster}/{name}: {}", failure.message);
        text.push_str(&wrapped(&line, 0, style));
        for hint in &failure.hints {
            text.push_str(&wrapped(&format!("hint: {hint}"), 2, style));
        }
    }
    if answer.untouched > 0 {
        text.push_str(&format!(
            "interrupted: {} not audited\n",
            count(answer.untouched, "database")
        ));
    }
    text
}

/// What could not be tried, by table: several operations on one often fail for one reason.
fn not_probed(silent: &[NotProbed], style: &Style) -> String {
    let mut tables: Vec<(&NotProbed, Vec<&str>)> = Vec::new();
    for one in silent {
        match tables.last_mut() {
            Some((first, operations))
                if first.relation == one.relation && first.role == one.role =>
            {
                if !operations.contains(&one.operation) {
                    operations.push(one.operation);
                }
            }
            _ => tables.push((one, vec![one.operation])),
        }
    }
    let head = format!("{} not probed", silent.len());
    let mut text = format!("{}:\n", style.attention(&head));
    for (first, operations) in tables.iter().take(SHOWN) {
        let line = format!(
            "{} on {} as {}: {}",
            operations.join(", "),
            first.relation,
            first.role,
            first.reason
        );
        text.push_str(&wrapped(&line, 2, style));
    }
    if tables.len() > SHOWN {
        let more = count(tables.len() - SHOWN, "more table");
        text.push_str(&format!("  and {more}: -o json lists them\n"));
    }
    text
}

/// The findings, their number, and how much was looked at.
pub(super) fn found(answer: &Verified, style: &Style) -> String {
    let report = &answer.report;
    let mut text = String::new();
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Critical | Severity::High => style.bad(finding.severity.word()),
            Severity::Medium => style.attention(finding.severity.word()),
            Severity::Low | Severity::Info => style.faint(finding.severity.word()),
        };
        let object = &finding.object;
        let place = match &object.database {
            Some(database) => format!("{}/{database}", object.cluster),
            None => object.cluster.clone(),
        };
        let on = object.parent.as_ref().map_or_else(String::new, |parent| format!(" on {parent}"));
        text.push_str(&format!(
            "{severity} {}: {} {}{on} ({place})\n",
            style.strong(finding.rule),
            object.kind,
            object.name
        ));
        text.push_str(&wrapped(&finding.message, 2, style));
        if !finding.tenants.is_empty() {
            text.push_str(&wrapped(&format!("tenants: {}", some(&finding.tenants)), 2, style));
        }
        for line in finding.fix.to_string().lines() {
            text.push_str(&format!("  {}: {line}\n", style.attention("fix")));
        }
        text.push('\n');
    }
    let sum = tally(&report.summary);
    let verdict = if report.findings.is_empty() { style.good(&sum) } else { style.bad(&sum) };
    let seen = &report.coverage;
    text.push_str(&format!("{verdict}\n"));
    text.push_str(&format!(
        "looked at {}, {}, {} and {} in {}\n",
        count(answer.tenants, "tenant"),
        count(seen.tables, "table"),
        if seen.policies == 1 {
            "1 policy".to_owned()
        } else {
            format!("{} policies", seen.policies)
        },
        count(seen.probes, "probe"),
        duration(answer.took)
    ));
    text
}

/// So many of a long list are shown.
const SHOWN: usize = 8;

fn some(tenants: &[TenantId]) -> String {
    let names: Vec<&str> = tenants.iter().take(SHOWN).map(TenantId::as_str).collect();
    let rest = tenants.len() - names.len();
    if rest == 0 { names.join(", ") } else { format!("{} and {rest} more", names.join(", ")) }
}

/// How many findings there are, and of which severity.
pub(super) fn tally(sum: &FindingsSummary) -> String {
    let counted = [
        (sum.critical, "critical"),
        (sum.high, "high"),
        (sum.medium, "medium"),
        (sum.low, "low"),
        (sum.info, "info"),
    ];
    let total = counted.iter().map(|(number, _)| number).sum();
    let parts: Vec<String> = counted
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    if parts.is_empty() {
        "no findings".to_owned()
    } else {
        format!("{}: {}", count(total, "finding"), parts.join(", "))
    }
}
