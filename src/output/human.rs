//! Answers for people: complete without colour, within the width of the screen.

use comfy_table::{ContentArrangement, Table, presets};

use super::progress::duration;
use super::style::Style;
use crate::audit::{Evidence, Rule, Severity};
use crate::model::count;
use crate::model::migration::Version;
use crate::model::tenant::TenantId;
use crate::report::{
    Configuration, Doctor, Health, Listed, MigrationRun, NotProbed, Outcome, Planned, Provisioned,
    Report, Source, Status, TargetReport, Tenants, Verb, Verified,
};

pub(super) fn render(report: &Report, style: &Style) -> String {
    match report {
        Report::Provisioned(answer) => provisioned(answer, style),
        Report::Planned(answer) => planned(answer, style),
        Report::Tenants(answer) => tenants(answer, style),
        Report::Tenant(answer) => tenant(answer, style),
        Report::Migration(answer) => migration(answer, style),
        Report::Findings(answer) => findings(answer, style),
        Report::Rule(rule) => self::rule(rule, style),
        Report::Doctor(answer) => doctor(answer, style),
        Report::Configuration(answer) => configuration(answer, style),
        Report::Demo(answer) => super::demo::closing(answer, style),
        Report::Text(text) => text.clone(),
    }
}

/// A table without lines, as wide as its content and no wider than the screen.
fn table(header: &[&str], rows: Vec<Vec<String>>, style: &Style) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(style.width).unwrap_or(80))
        .set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if let Some(end) = text.find('\n') {
        let header = style.faint(&text[..end]);
        text.replace_range(..end, &header);
    }
    text
}

fn version(version: Option<Version>) -> String {
    version.map_or_else(|| "-".to_owned(), |version| format!("V{version}"))
}

fn provisioned(answer: &Provisioned, style: &Style) -> String {
    let tenant = &answer.tenant;
    let id = style.strong(tenant.id.as_str());
    let took = duration(answer.took);
    let mut text = match answer.outcome {
        Outcome::Created => format!("created tenant {id} in {took}\n"),
        Outcome::Finished => format!("finished tenant {id} in {took}\n"),
        Outcome::Repaired => {
            format!("put right {} of tenant {id} in {took}\n", count(answer.steps.len(), "thing"))
        }
        Outcome::Unchanged => format!("nothing to do: tenant {id} is as it should be\n"),
    };
    text.push_str(&facts(&Listed {
        tenant: tenant.clone(),
        version: answer.version,
        unread: None,
    }));
    for credential in &answer.credentials {
        // Only `-o json` shows a password; people get a file.
        text.push_str(&format!("  {:<10} {}\n", "password", credential.role));
    }
    if let Some(file) = &answer.credentials_file {
        text.push_str(&format!("  {:<10} written to {} (0600)\n", "password", file.display()));
    }
    for note in &answer.notes {
        text.push_str(&format!("{}: {note}\n", style.attention("note")));
    }
    text
}

fn facts(listed: &Listed) -> String {
    let tenant = &listed.tenant;
    let roles: Vec<&str> = tenant.roles.iter().map(crate::model::ident::Ident::as_str).collect();
    let mut facts = vec![
        ("uuid", tenant.uuid.to_string()),
        ("isolation", tenant.isolation.to_string()),
        ("cluster", tenant.placement.cluster.to_string()),
        ("database", tenant.placement.database.as_str().to_owned()),
        ("schema", tenant.placement.schema.as_str().to_owned()),
        ("role", roles.join(", ")),
        ("version", version(listed.version)),
        ("state", tenant.state.to_string()),
    ];
    let optional = [("tier", &tenant.tier), ("region", &tenant.region), ("unread", &listed.unread)];
    for (name, value) in optional {
        facts.extend(value.as_ref().map(|value| (name, value.clone())));
    }
    if tenant.key != tenant.uuid.to_string() {
        facts.push(("key", tenant.key.clone()));
    }
    if !tenant.labels.is_empty() {
        let labels: Vec<String> =
            tenant.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        facts.push(("labels", labels.join(" ")));
    }
    facts.iter().map(|(name, value)| format!("  {name:<10} {value}\n")).collect()
}

fn tenant(listed: &Listed, style: &Style) -> String {
    format!("{}\n{}", style.strong(listed.tenant.id.as_str()), facts(listed))
}

/// A column's name, whether it is shown, and what it says of a tenant.
type Column = (&'static str, bool, fn(&Listed) -> String);

fn tenants(answer: &Tenants, style: &Style) -> String {
    if answer.tenants.is_empty() {
        return "no tenants\nmake one with: tenantctl create acme\n".to_owned();
    }
    // A column that says the same of every tenant only takes room.
    let first = answer.tenants.first().map(|listed| &listed.tenant.placement.cluster);
    let clusters =
        answer.tenants.iter().any(|listed| Some(&listed.tenant.placement.cluster) != first);
    let tiers = answer.tenants.iter().any(|listed| listed.tenant.tier.is_some());
    let columns: [Column; 8] = [
        ("id", true, |listed| listed.tenant.id.to_string()),
        ("isolation", true, |listed| listed.tenant.isolation.to_string()),
        ("cluster", clusters, |listed| listed.tenant.placement.cluster.to_string()),
        ("database", true, |listed| listed.tenant.placement.database.as_str().to_owned()),
        ("schema", true, |listed| listed.tenant.placement.schema.as_str().to_owned()),
        ("tier", tiers, |listed| listed.tenant.tier.clone().unwrap_or_else(|| "-".to_owned())),
        ("version", true, |listed| match &listed.unread {
            Some(_) => "?".to_owned(),
            None => version(listed.version),
        }),
        ("state", true, |listed| listed.tenant.state.to_string()),
    ];
    let shown = || columns.iter().filter(|(_, shown, _)| *shown);
    let header: Vec<&str> = shown().map(|(name, ..)| *name).collect();
    let rows = answer
        .tenants
        .iter()
        .map(|listed| shown().map(|(_, _, cell)| cell(listed)).collect())
        .collect();
    let mut text = table(&header, rows, style);
    if answer.source == Source::Declared {
        text.push_str("from tenants.toml: there is no registry\n");
    }
    let mut unread: Vec<&String> =
        answer.tenants.iter().filter_map(|listed| listed.unread.as_ref()).collect();
    unread.sort_unstable();
    unread.dedup();
    for error in unread {
        text.push_str(&format!("{}: {error}\n", style.attention("version unknown")));
    }
    text
}

fn planned(answer: &Planned, style: &Style) -> String {
    let id = style.strong(answer.tenant.id.as_str());
    if answer.steps.is_empty() {
        let mut text = format!("nothing to do: tenant {id} is as it should be\n");
        text.push_str(&notes(&answer.notes, style));
        return text;
    }
    let mut text = format!(
        "plan for tenant {id} ({} at {}), nothing is done:\n",
        answer.tenant.isolation, answer.tenant.placement
    );
    let mut site = "";
    for (at, step) in answer.steps.iter().enumerate() {
        if site != step.site {
            site = &step.site;
            text.push_str(&format!("\n{}\n", style.faint(&format!("-- {site}"))));
        }
        let mut hazards = String::new();
        for hazard in &step.hazards {
            hazards.push_str(&format!(" [{}]", style.attention(hazard.word())));
        }
        text.push_str(&format!("{:>3}. {}{hazards}\n", at + 1, step.what));
        for statement in &step.statements {
            text.push_str(&format!("     {}\n", style.faint(&format!("{statement};"))));
        }
    }
    text.push('\n');
    text.push_str(&notes(&answer.notes, style));
    let hazards: Vec<&str> = answer.hazards.iter().map(|hazard| hazard.word()).collect();
    let hazards = if hazards.is_empty() { "none".to_owned() } else { hazards.join(", ") };
    text.push_str(&format!("{}, hazards: {hazards}\n", count(answer.steps.len(), "step")));
    text
}

fn notes(notes: &[String], style: &Style) -> String {
    notes.iter().map(|note| format!("{}: {note}\n", style.attention("note"))).collect()
}

fn migration(run: &MigrationRun, style: &Style) -> String {
    let mut text = String::new();
    let shown: Vec<&TargetReport> = match run.verb {
        Verb::Status => run.targets.iter().collect(),
        Verb::Up => run.targets.iter().filter(|target| target.status != Status::UpToDate).collect(),
    };
    if !shown.is_empty() {
        let rows = rows(&shown, run.verb, style);
        let header = match run.verb {
            Verb::Up => ["tenant", "schema", "from", "to", "status"],
            Verb::Status => ["tenant", "schema", "version", "pending", "status"],
        };
        text.push_str(&table(&header, rows, style));
        text.push('\n');
    }
    text.push_str(&failures(run, style));
    text.push_str(&closing(run, style));
    text
}

/// So many rows are read one by one; of more, those that stand alike are counted.
const READABLE: usize = 20;

/// One row per tenant; in a large fleet, one row for all that stand alike and well.
fn rows(shown: &[&TargetReport], verb: Verb, style: &Style) -> Vec<Vec<String>> {
    if shown.len() <= READABLE {
        return shown.iter().map(|target| row(target, verb, style)).collect();
    }
    let mut rows = Vec::new();
    let mut alike: Vec<(Vec<String>, usize)> = Vec::new();
    for target in shown {
        let row = row(target, verb, style);
        if matches!(target.status, Status::Diverged | Status::Missing | Status::Failed) {
            rows.push(row);
            continue;
        }
        match alike.iter_mut().find(|(other, _)| other[2..] == row[2..]) {
            Some((_, number)) => *number += 1,
            None => alike.push((row, 1)),
        }
    }
    for (mut row, number) in alike {
        if number > 1 {
            row.splice(..2, [count(number, "tenant"), "-".to_owned()]);
        }
        rows.push(row);
    }
    rows
}

fn row(target: &TargetReport, verb: Verb, style: &Style) -> Vec<String> {
    let status = match target.status {
        Status::Applied | Status::UpToDate => style.good(target.status.word()),
        Status::Pending | Status::Skipped => style.attention(target.status.word()),
        Status::Diverged | Status::Missing | Status::Failed => style.bad(target.status.word()),
    };
    let (third, fourth) = match verb {
        Verb::Up => (version(target.from), version(target.to)),
        Verb::Status => {
            let pending = if target.pending.is_empty() {
                "-".to_owned()
            } else {
                target.pending.len().to_string()
            };
            (version(target.from), pending)
        }
    };
    let schema = format!("{}.{}", target.placement.database, target.placement.schema);
    vec![target.tenant.to_string(), schema, third, fourth, status]
}

/// Each failure once, with the tenants that it struck.
fn failures(run: &MigrationRun, style: &Style) -> String {
    let mut text = String::new();
    let mut told: Vec<(&str, &str)> = Vec::new();
    for target in &run.targets {
        let Some(failure) = &target.error else {
            continue;
        };
        let schema = target.placement.schema.as_str();
        if told.contains(&(schema, failure.message.as_str())) {
            continue;
        }
        told.push((schema, &failure.message));
        let name = format!("{} {}", target.status.word(), target.tenant);
        text.push_str(&format!("{}: {}\n", style.bad(&name), failure.message));
        if let Some(file) = &failure.file {
            let place = match (failure.line, failure.column) {
                (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
                _ => file.clone(),
            };
            text.push_str(&format!("  at: {place}\n"));
        }
        if let Some(sqlstate) = &failure.sqlstate {
            text.push_str(&format!("  sqlstate: {sqlstate}\n"));
        }
        for detail in &failure.details {
            text.push_str(&format!("  {detail}\n"));
        }
        for hint in &failure.hints {
            text.push_str(&format!("  {}: {hint}\n", style.attention("hint")));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn closing(run: &MigrationRun, style: &Style) -> String {
    if run.targets.is_empty() {
        return "nothing to do: no tenant fits the selection\n".to_owned();
    }
    let summary = run.summary();
    let applied: usize = run.targets.iter().filter(|target| !target.applied.is_empty()).count();
    let mut parts = Vec::new();
    if run.verb == Verb::Up
        && summary.failed + summary.pending + summary.skipped == 0
        && applied == 0
    {
        return format!(
            "nothing to do: {} up to date\n",
            if summary.ok == 1 {
                "1 tenant is".to_owned()
            } else {
                format!("all {} tenants are", summary.ok)
            }
        );
    }
    if run.verb == Verb::Up {
        parts.push(format!("{} migrated", count(applied, "tenant")));
        parts.push(format!("{} up to date", summary.ok.saturating_sub(applied)));
    } else {
        parts.push(format!("{} up to date", count(summary.ok, "tenant")));
    }
    for (number, word) in
        [(summary.pending, "pending"), (summary.skipped, "skipped"), (summary.failed, "failed")]
    {
        if number > 0 {
            let text = format!("{number} {word}");
            parts.push(if word == "failed" { style.bad(&text) } else { style.attention(&text) });
        }
    }
    let mut text = format!("{} in {}\n", parts.join(", "), duration(run.took));
    if run.interrupted {
        text.push_str("interrupted: what was begun was finished; run it again to go on\n");
    }
    text
}

fn findings(answer: &Verified, style: &Style) -> String {
    let report = &answer.report;
    let mut text = found(answer, style);
    if !report.not_probed.is_empty() {
        text.push_str(&not_probed(&report.not_probed, style));
    }
    for unseen in &report.unseen {
        text.push_str(&wrapped(&format!("not seen: {unseen}"), 0, style));
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
    let sum = &report.summary;
    let counted = [
        (sum.critical, "critical"),
        (sum.high, "high"),
        (sum.medium, "medium"),
        (sum.low, "low"),
        (sum.info, "info"),
    ];
    let parts: Vec<String> = counted
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let verdict = if parts.is_empty() {
        style.good("no findings")
    } else {
        style.bad(&format!("{}: {}", count(report.findings.len(), "finding"), parts.join(", ")))
    };
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

/// Text broken at blanks, so that it fits the screen.
fn wrapped(text: &str, indent: usize, style: &Style) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut line = " ".repeat(indent);
        for word in paragraph.split(' ') {
            let begun = !line.trim_start().is_empty();
            if begun && line.chars().count() + 1 + word.chars().count() > style.width {
                lines.push_str(&line);
                lines.push('\n');
                line = " ".repeat(indent);
            } else if begun {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

fn rule(rule: &Rule, style: &Style) -> String {
    let head = format!(
        "{} ({}, {})",
        style.strong(rule.id),
        rule.severity,
        match rule.evidence {
            Evidence::Static => "read from the catalogues",
            Evidence::Probe => "observed by acting as the application",
        }
    );
    format!("{head}\n{}\n{}", wrapped(rule.title, 0, style), wrapped(rule.docs, 0, style))
}

fn doctor(answer: &Doctor, style: &Style) -> String {
    let mut text = String::new();
    let mut subject = None;
    for check in &answer.checks {
        if subject != Some(&check.subject) {
            text.push_str(&format!("{}\n", style.strong(&check.subject)));
            subject = Some(&check.subject);
        }
        let word = match check.health {
            Health::Ok => style.good("ok     "),
            Health::Warning => style.attention("warning"),
            Health::Failed => style.bad("failed "),
        };
        text.push_str(&format!("  {word}  {}: {}\n", check.name, check.detail));
        if let Some(hint) = &check.hint {
            text.push_str(&format!("           {}: {hint}\n", style.attention("hint")));
        }
    }
    let of = |health| answer.checks.iter().filter(|check| check.health == health).count();
    text.push_str(&format!(
        "{}, {}, {} failed\n",
        count(answer.checks.len(), "check"),
        count(of(Health::Warning), "warning"),
        of(Health::Failed)
    ));
    text
}

/// What a value's origin is called when it is the configuration file.
const FILE_ITSELF: &str = "the file";

fn configuration(answer: &Configuration, style: &Style) -> String {
    let file = answer.file.as_ref().map_or_else(
        || "none: a URL or the environment names the only cluster".to_owned(),
        |path| path.display().to_string(),
    );
    let mut text = format!("file  {file}\n");
    for cluster in &answer.clusters {
        text.push_str(&format!("\n{}", style.strong(&format!("cluster {}", cluster.name))));
        if let Some(region) = &cluster.region {
            text.push_str(&format!(", region {region}"));
        }
        text.push_str(&format!(", up to {}\n", count(cluster.max_connections, "connection")));
        let rows = cluster
            .parameters
            .iter()
            .map(|shown| {
                let origin = shown.origin.to_string();
                // The file's path stands above already.
                let origin = if origin == file { FILE_ITSELF.to_owned() } else { origin };
                vec![shown.parameter.to_owned(), shown.value.clone(), origin]
            })
            .collect();
        text.push_str(&table(&["parameter", "value", "from"], rows, style));
        for warning in &cluster.warnings {
            text.push_str(&format!("{}: {warning}\n", style.attention("warning")));
        }
    }
    text.push('\n');
    let rows = answer
        .values
        .iter()
        .map(|shown| vec![shown.path.clone(), shown.value.clone(), shown.origin.to_string()])
        .collect();
    text.push_str(&table(&["setting", "value", "from"], rows, style));
    text
}
