//! `verify-rls` for people: what is wrong with which object, said once for all that are alike.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::wrapped;
use super::progress::duration;
use super::style::Style;
use crate::audit::{Causes, Finding, Fix, Pairs, Severity, Suppression, subject};
use crate::model::count;
use crate::model::tenant::TenantId;
use crate::report::{AuditedDatabase, Failure, FindingsSummary, NotProbed, Verified};

pub(super) fn findings(answer: &Verified, style: &Style) -> String {
    let report = &answer.report;
    let mut text = found(answer, style);
    text.push_str(&beside(answer, style));
    for assumption in &report.assumptions {
        text.push_str(&wrapped(&format!("assumed: {assumption}"), 0, style));
    }
    if !report.not_probed.is_empty() {
        text.push_str(&not_probed(&report.not_probed, style));
    }
    let shown = if style.whole { usize::MAX } else { SHOWN };
    for unseen in report.unseen.iter().take(shown) {
        text.push_str(&wrapped(&format!("not seen: {unseen}"), 0, style));
    }
    if report.unseen.len() > shown {
        let rest = report.unseen.len() - shown;
        text.push_str(&format!("not seen: {rest} more, which -v and -o json tell\n"));
    }
    text.push_str(&unaudited(answer.failures(), answer.untouched, style));
    text
}

/// The databases that could not be looked at, each with why, and how many were not begun.
pub(super) fn unaudited<'a>(
    failures: impl Iterator<Item = (&'a AuditedDatabase, &'a Failure)>,
    untouched: usize,
    style: &Style,
) -> String {
    let mut text = String::new();
    for (database, failure) in failures {
        let (cluster, name) = (&database.cluster, database.database.as_str());
        let head = style.bad("not audited");
        let line = format!("{head}: {cluster}/{name}: {}", failure.message);
        text.push_str(&wrapped(&line, 0, style));
        for hint in &failure.hints {
            text.push_str(&wrapped(&format!("hint: {hint}"), 2, style));
        }
    }
    if untouched > 0 {
        text.push_str(&format!("interrupted: {} not audited\n", count(untouched, "database")));
    }
    text
}

/// So many of a long list are shown.
const SHOWN: usize = 8;

/// What could not be tried, by reason: a table that is locked is told once, and what keeps a thousand
/// tables from being probed is as well.
fn not_probed(silent: &[NotProbed], style: &Style) -> String {
    let mut reasons: BTreeMap<(&str, &str), BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for one in silent {
        let relations = reasons.entry((&one.reason, &one.role)).or_default();
        relations.entry(&one.relation).or_default().insert(one.operation);
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, relations)| std::cmp::Reverse(relations.len()));
    let head = format!("{} not probed", silent.len());
    let mut text = format!("{}:\n", style.attention(&head));
    let shown = if style.whole { reasons.len() } else { SHOWN };
    for ((reason, role), relations) in reasons.iter().take(shown) {
        let operations: BTreeSet<&str> = relations.values().flatten().copied().collect();
        let operations = operations.into_iter().collect::<Vec<_>>().join(", ");
        let names = some(relations.keys(), style);
        text.push_str(&wrapped(&format!("{operations} on {names} as {role}: {reason}"), 2, style));
    }
    if reasons.len() > shown {
        let more = count(reasons.len() - shown, "more reason");
        text.push_str(&format!("  and {more}: -v and -o json tell them\n"));
    }
    text
}

/// What is found about one object.
struct Block<'a> {
    findings: Vec<&'a Finding>,
}

impl<'a> Block<'a> {
    fn first(&self) -> Option<&'a Finding> {
        self.findings.first().copied()
    }

    /// The object, as people name it: a policy is told with its table.
    fn name(&self) -> &'a str {
        self.first().map_or("", |first| subject(&first.object))
    }

    /// What must agree for two blocks to be told as one: the rules, how grave, and what is done.
    fn alike(&self) -> Vec<(&'a str, Severity, Option<&'a str>)> {
        let key = |one: &&'a Finding| (one.rule, one.severity, one.operation.as_deref());
        let mut keys: Vec<_> = self.findings.iter().map(key).collect();
        keys.dedup();
        keys
    }

    fn tenants(&self) -> BTreeSet<&'a TenantId> {
        self.findings.iter().flat_map(|finding| &finding.tenants).collect()
    }
}

/// Findings by object; the objects in the order of their gravest.
fn blocks(findings: &[Finding]) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut places: BTreeMap<(&str, Option<&str>, &str), usize> = BTreeMap::new();
    for finding in findings {
        let object = &finding.object;
        let key = (object.cluster.as_str(), object.database.as_deref(), subject(object));
        let at = *places.entry(key).or_insert_with(|| {
            blocks.push(Block { findings: Vec::new() });
            blocks.len() - 1
        });
        blocks[at].findings.push(finding);
    }
    blocks
}

/// The findings, their number, and how much was looked at.
pub(super) fn found(answer: &Verified, style: &Style) -> String {
    let mut text = String::new();
    let blocks = blocks(&answer.report.findings);
    let mut groups: Vec<(&Block<'_>, Vec<&Block<'_>>)> = Vec::new();
    let mut known = BTreeMap::new();
    for block in &blocks {
        let kind = block.first().map_or("", |first| first.object.kind);
        let at = *known.entry((kind, block.alike())).or_insert_with(|| {
            groups.push((block, Vec::new()));
            groups.len() - 1
        });
        if !std::ptr::eq(groups[at].0, block) {
            groups[at].1.push(block);
        }
    }
    let causes = Causes::of(&answer.report.findings);
    for (block, others) in &groups {
        text.push_str(&told(block, others, &causes, style));
        text.push('\n');
    }
    text.push_str(&verdict(answer, style));
    text
}

/// One object, and those that are alike.
fn told(block: &Block<'_>, others: &[&Block<'_>], causes: &Causes<'_>, style: &Style) -> String {
    let Some(first) = block.first() else { return String::new() };
    let mut text = String::new();
    let object = &first.object;
    let kind = if object.parent.is_some() { "table" } else { object.kind };
    text.push_str(&format!(
        "{} {} ({})\n",
        painted(first.severity, style),
        style.strong(&format!("{kind} {}", block.name())),
        place(first)
    ));
    let mut last = ("", Severity::Info);
    for finding in &block.findings {
        let message = if (finding.rule, finding.severity) == last {
            finding.message.clone()
        } else if finding.severity == first.severity {
            format!("{}: {}", finding.rule, finding.message)
        } else {
            format!("{} ({}): {}", finding.rule, finding.severity, finding.message)
        };
        let indent = if (finding.rule, finding.severity) == last { 4 } else { 2 };
        last = (finding.rule, finding.severity);
        text.push_str(&wrapped(&message, indent, style));
    }
    let tenants = block.tenants();
    if !tenants.is_empty() {
        let names = some(tenants.iter().map(|tenant| tenant.as_str()), style);
        text.push_str(&wrapped(&format!("tenants: {names}"), 2, style));
    }
    text.push_str(&fixes(block, causes, style));
    text.push_str(&reproduced(block, style));
    if !others.is_empty() {
        let names = others.iter().map(|other| named(other, first)).collect::<Vec<_>>();
        let names = some(names.iter().map(String::as_str), style);
        let line = format!("the same on {}: {names}", count(others.len(), &format!("more {kind}")));
        text.push_str(&wrapped(&style.attention(&line), 2, style));
    }
    text
}

/// Another object, with its place where that is not the first one's.
fn named(block: &Block<'_>, first: &Finding) -> String {
    match block.first() {
        Some(other) if place(other) != place(first) => {
            format!("{} ({})", block.name(), place(other))
        }
        _ => block.name().to_owned(),
    }
}

fn place(finding: &Finding) -> String {
    let object = &finding.object;
    match &object.database {
        Some(database) => format!("{}/{database}", object.cluster),
        None => object.cluster.clone(),
    }
}

fn painted(severity: Severity, style: &Style) -> String {
    match severity {
        Severity::Critical | Severity::High => style.bad(severity.word()),
        Severity::Medium => style.attention(severity.word()),
        Severity::Low | Severity::Info => style.faint(severity.word()),
    }
}

/// What to do about an object, each thing once. What a probe observed is mended with its cause, which
/// is told as well.
fn fixes(block: &Block<'_>, causes: &Causes<'_>, style: &Style) -> String {
    let mut told = BTreeSet::new();
    let mut text = String::new();
    for finding in &block.findings {
        if causes.explain(finding) {
            continue;
        }
        for line in finding.fix.to_string().lines() {
            if !told.insert(line.to_owned()) {
                continue;
            }
            match finding.fix {
                // Statements are copied: nothing breaks their lines.
                Fix::Sql(_) => text.push_str(&format!("  {}: {line}\n", style.attention("fix"))),
                Fix::Advice(_) => text.push_str(&wrapped(&format!("fix: {line}"), 2, style)),
            }
        }
    }
    text
}

/// The statements that show the first hole that was observed; of all of them where lists are whole.
fn reproduced(block: &Block<'_>, style: &Style) -> String {
    let statements = block.findings.iter().filter_map(|finding| finding.reproduce.as_ref());
    let mut text = String::new();
    for statements in statements.take(if style.whole { usize::MAX } else { 1 }) {
        text.push_str(&format!("  {}:\n", style.attention("reproduce")));
        for line in statements.lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

/// How many findings there are, and how much was looked at.
fn verdict(answer: &Verified, style: &Style) -> String {
    let report = &answer.report;
    let mut sum = tally(&report.summary);
    let known = report.known().count();
    let allowed = report.suppressed.len() - known;
    for (number, word) in [(known, "known"), (allowed, "allowed")] {
        if number > 0 {
            sum.push_str(&format!("; {number} {word}"));
        }
    }
    let gravest = report.findings.first().map(|finding| finding.severity);
    let sum = match gravest {
        Some(gravest) if gravest >= answer.fail_on => style.bad(&sum),
        Some(_) => style.attention(&sum),
        None => style.good(&sum),
    };
    let seen = &report.coverage;
    let policies = match seen.policies {
        1 => "1 policy".to_owned(),
        number => format!("{number} policies"),
    };
    let mut text = format!("{sum}\n");
    text.push_str(&format!(
        "looked at {}, {}, {policies} and {} in {}\n",
        count(answer.tenants, "tenant"),
        count(seen.tables, "table"),
        count(seen.probes, "probe"),
        duration(answer.took)
    ));
    if let Some(pairs @ Pairs::Sample { .. }) = answer.pairs {
        text.push_str(&format!("a sample of pairs acted; the same again: {pairs}\n"));
    }
    if let Some(finding) = report.findings.first() {
        text.push_str(&format!("what a rule means: tenantctl explain {}\n", finding.rule));
    }
    text
}

/// Exceptions, the baseline, and files that were written.
fn beside(answer: &Verified, style: &Style) -> String {
    let mut text = String::new();
    for one in &answer.expired {
        let head = style.bad("exception is over");
        let line = format!("{head}: {one} (until {}): {}", one.expires, one.reason);
        text.push_str(&wrapped(&line, 0, style));
    }
    for one in &answer.unused {
        let head = style.attention("exception covers nothing");
        text.push_str(&wrapped(&format!("{head}: {one}; remove it"), 0, style));
    }
    if style.whole {
        for one in &answer.report.suppressed {
            let object = &one.finding.object;
            let why = match &one.suppression {
                Suppression::Baseline => "known".to_owned(),
                Suppression::Allow { reason, expires } => {
                    format!("allowed until {expires}, {reason}")
                }
            };
            let line = format!(
                "{} {}: {} {}: {why}",
                one.finding.severity, one.finding.rule, object.kind, object.name
            );
            text.push_str(&wrapped(&style.faint(&line), 0, style));
        }
    }
    if let (Some(file), false) = (&answer.baseline, answer.gone.is_empty()) {
        let names: Vec<String> =
            answer.gone.iter().map(|one| format!("{} on {}", one.rule, one.name)).collect();
        let head = style.good(&format!("{} of the baseline gone", answer.gone.len()));
        let names = some(names.iter().map(String::as_str), style);
        text.push_str(&wrapped(&format!("{head}: {names}"), 0, style));
        if answer.written_baseline.is_none() {
            let file = file.display();
            let line = format!("let it shrink: --baseline {file} --write-baseline {file}");
            text.push_str(&wrapped(&line, 2, style));
        }
    }
    if let Some((file, number)) = &answer.written_baseline {
        let number = count(*number, "known finding");
        text.push_str(&format!("wrote {}: {number}\n", file.display()));
    }
    for fix in answer.fixes.iter().flatten() {
        let decisions = match fix.decisions {
            0 => String::new(),
            1 => ", 1 needs a decision".to_owned(),
            more => format!(", {more} need a decision"),
        };
        let places = match fix.databases.as_slice() {
            [] => String::new(),
            databases => format!(" for {}", some(databases.iter().map(String::as_str), style)),
        };
        let line = format!(
            "wrote {}: {}{places}{decisions}",
            fix.file.display(),
            count(fix.statements, "statement")
        );
        text.push_str(&wrapped(&line, 0, style));
    }
    if answer.fixes.as_ref().is_some_and(Vec::is_empty) {
        text.push_str("nothing to fix\n");
    }
    text
}

/// A list, or its beginning and how much more there is.
fn some<'a, T: AsRef<str> + 'a + ?Sized>(
    names: impl ExactSizeIterator<Item = &'a T>,
    style: &Style,
) -> String {
    let shown = if style.whole { usize::MAX } else { SHOWN };
    let rest = names.len().saturating_sub(shown);
    let names: Vec<&str> = names.take(shown).map(AsRef::as_ref).collect();
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
