//! What `adopt` found, for people and for scripts.

use serde_json::{Value, json};

use super::grouped;
use super::json::{FORMAT, failure};
use super::layout::{table, version};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::model::ident::Ident;
use crate::model::tenant::TenantId;
use crate::report::{Adopted, AdoptedStatus, AdoptedTarget};

/// So many rows are read one by one.
const READABLE: usize = 40;

pub(super) fn human(answer: &Adopted, style: &Style) -> String {
    let mut text = String::new();
    let shown: Vec<&AdoptedTarget> = answer
        .targets
        .iter()
        .filter(|target| target.status != AdoptedStatus::Known || answer.targets.len() <= READABLE)
        .collect();
    if !shown.is_empty() && (shown.len() <= READABLE || style.whole) {
        let rows = shown.iter().map(|target| row(target, style)).collect();
        let header = ["tenant", "schema", "owner", "role", "version", "differs in", "status"];
        text.push_str(&table(&header, rows, style));
        text.push('\n');
    }
    text.push_str(&alike(answer, |target| &target.differences, "create would", style));
    text.push_str(&alike(answer, |target| &target.notes, "note", style));
    let struck = answer.targets.iter().filter_map(|target| {
        Some((target.status.word(), &target.tenant.id, target.error.as_ref()?))
    });
    text.push_str(&grouped::failures(struck, style));
    text.push_str(&closing(answer, style));
    text
}

fn row(target: &AdoptedTarget, style: &Style) -> Vec<String> {
    let tenant = &target.tenant;
    let word = target.status.word();
    let status = match target.status {
        AdoptedStatus::Adopted | AdoptedStatus::Known => style.good(word),
        AdoptedStatus::Pending | AdoptedStatus::Skipped => style.attention(word),
        AdoptedStatus::Failed => style.bad(word),
    };
    let roles: Vec<&str> = tenant.roles.iter().map(Ident::as_str).collect();
    vec![
        tenant.id.to_string(),
        format!("{}.{}", tenant.placement.database.as_str(), tenant.placement.schema.as_str()),
        tenant.owner.as_str().to_owned(),
        roles.join(", "),
        version(target.version),
        match target.differences.len() {
            0 => "-".to_owned(),
            number => count(number, "thing"),
        },
        status,
    ]
}

/// Lines that several tenants have alike, with the tenants' own names taken out, each list once.
fn alike<'a>(
    answer: &'a Adopted,
    what: impl Fn(&'a AdoptedTarget) -> &'a Vec<String>,
    title: &str,
    style: &Style,
) -> String {
    let mut groups: Vec<(Vec<String>, Vec<&TenantId>)> = Vec::new();
    for target in &answer.targets {
        let lines: Vec<String> = what(target).iter().map(|line| general(line, target)).collect();
        if lines.is_empty() {
            continue;
        }
        match groups.iter_mut().find(|(known, _)| *known == lines) {
            Some((_, tenants)) => tenants.push(&target.tenant.id),
            None => groups.push((lines, vec![&target.tenant.id])),
        }
    }
    let left = groups.len().saturating_sub(READABLE);
    let mut text = String::new();
    for (lines, tenants) in groups.iter().take(READABLE) {
        let who = style.strong(&grouped::names(tenants));
        text.push_str(&format!("{who}, {title}:\n"));
        text.push_str(&lines.iter().map(|line| format!("  {line}\n")).collect::<String>());
    }
    if left > 0 {
        text.push_str(&format!("and {left} more: -o json lists them all\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// A line with what is the tenant's own called by its kind, so that many tenants read alike.
fn general(line: &str, target: &AdoptedTarget) -> String {
    let tenant = &target.tenant;
    let mut own = vec![
        (tenant.owner.to_string(), "OWNER"),
        (tenant.placement.schema.to_string(), "SCHEMA"),
        (tenant.placement.database.to_string(), "DATABASE"),
    ];
    own.extend(tenant.roles.iter().map(|role| (role.to_string(), "ROLE")));
    // The longer name first: one may be the beginning of another.
    own.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let words: Vec<String> = line
        .split(' ')
        .map(|word| {
            let bare = word.trim_end_matches([',', ':', ';']);
            let (head, tail) = bare.split_once('.').map_or((bare, ""), |(head, tail)| (head, tail));
            let end = &word[bare.len()..];
            if bare == tenant.id.as_str() {
                return format!("ID{end}");
            }
            match own.iter().find(|(name, _)| name == bare || name == head) {
                Some((name, kind)) if name == bare => format!("{kind}{end}"),
                Some((_, kind)) => format!("{kind}.{tail}{end}"),
                None => word.to_owned(),
            }
        })
        .collect();
    words.join(" ")
}

fn closing(answer: &Adopted, style: &Style) -> String {
    let of = |status| answer.count(status);
    let mut parts = Vec::new();
    if answer.dry_run {
        parts.push(format!("{} to be adopted", count(of(AdoptedStatus::Pending), "tenant")));
    } else {
        parts.push(format!("{} adopted", count(of(AdoptedStatus::Adopted), "tenant")));
    }
    for (number, word) in
        [(of(AdoptedStatus::Known), "known already"), (of(AdoptedStatus::Skipped), "skipped")]
    {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let failed = of(AdoptedStatus::Failed);
    if failed > 0 {
        parts.push(style.bad(&format!("{failed} failed")));
    }
    let mut text = parts.join(", ");
    if answer.dry_run {
        text.push_str("; nothing is done\n");
    } else {
        text.push_str(&format!(" in {}; nothing was changed in them\n", duration(answer.took)));
    }
    if answer.interrupted {
        text.push_str("interrupted: what was begun was finished; run it again to go on\n");
    }
    text
}

pub(super) fn json(answer: &Adopted) -> Value {
    let of = |status| answer.count(status);
    let target = |target: &AdoptedTarget| {
        let tenant = &target.tenant;
        json!({
            "tenant": tenant.id.as_str(),
            "found": target.found,
            "uuid": tenant.uuid.to_string(),
            "key": tenant.key,
            "isolation": tenant.isolation.word(),
            "cluster": tenant.placement.cluster.as_str(),
            "database": tenant.placement.database.as_str(),
            "schema": tenant.placement.schema.as_str(),
            "owner": tenant.owner.as_str(),
            "roles": tenant.roles.iter().map(Ident::as_str).collect::<Vec<_>>(),
            "version": target.version.map(|version| version.0),
            "differences": target.differences,
            "notes": target.notes,
            "status": target.status.word(),
            "error": target.error.as_ref().map(failure),
        })
    };
    json!({
        "format": FORMAT,
        "dry_run": answer.dry_run,
        "interrupted": answer.interrupted,
        "summary": {
            "adopted": of(AdoptedStatus::Adopted),
            "known": of(AdoptedStatus::Known),
            "pending": of(AdoptedStatus::Pending),
            "skipped": of(AdoptedStatus::Skipped),
            "failed": of(AdoptedStatus::Failed),
        },
        "targets": answer.targets.iter().map(target).collect::<Vec<_>>(),
    })
}
