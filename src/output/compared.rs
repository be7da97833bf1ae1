//! `migrate verify` for people and for scripts.

use serde_json::{Value, json};

use super::json::{FORMAT, failure};
use super::layout::{table, version, wrapped};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::plan::drift::{Change, Difference};
use crate::report::{Compared, Deviant, Subject, Unread};

/// So many tenants of one deviation are named, and so many of its differences.
const NAMED: usize = 10;
const SHOWN: usize = 20;

pub(super) fn compared(answer: &Compared, style: &Style) -> String {
    let mut text = String::new();
    if !answer.groups.is_empty() {
        // A column that says the same of every schema only takes room.
        let first = answer.groups.first().map(|group| group.claim.major);
        let several = answer.groups.iter().any(|group| Some(group.claim.major) != first);
        let rows = answer.groups.iter().map(|group| {
            let alike = match (group.schemas, group.tied) {
                (1, _) => style.attention("nothing to compare with"),
                (_, true) => style.attention(&format!("{}, as many as deviate alike", group.alike)),
                (all, _) if all == group.alike => style.good(&group.alike.to_string()),
                _ => group.alike.to_string(),
            };
            let mut row = vec![group.claim.isolation.to_string(), version(group.claim.version)];
            row.extend(several.then(|| group.claim.major.to_string()));
            row.extend([group.schemas.to_string(), alike]);
            row
        });
        let mut header = vec!["isolation", "version", "schemas", "alike"];
        if several {
            header.insert(2, "server");
        }
        text.push_str(&table(&header, rows.collect(), style));
        text.push('\n');
    }
    for deviant in &answer.deviants {
        text.push_str(&deviation(deviant, style));
    }
    for one in &answer.flaws {
        let word = if one.flaw.is_fault() { style.bad("fault") } else { style.attention("note") };
        text.push_str(&format!("{word}: {}\n", one.flaw));
        text.push_str(&wrapped(&format!("tenants: {}", names(&one.schemas)), 2, style));
    }
    text.push_str(&unread(&answer.unread, style));
    if answer.half_made > 0 {
        let made = count(answer.half_made, "tenant");
        text.push_str(&format!("{}: {made} still being made\n", style.attention("passed over")));
    }
    text.push_str(&closing(answer, style));
    text
}

fn deviation(deviant: &Deviant, style: &Style) -> String {
    let head = format!("{} deviates", names(&deviant.schemas));
    let head = if deviant.schemas.len() == 1 { head } else { head.replace("deviates", "deviate") };
    let claim = match deviant.claim.version {
        None => "with an empty history".to_owned(),
        version => format!("at {}", self::version(version)),
    };
    let mut text = format!("{} from {} {claim}:\n", style.bad(&head), named(&deviant.against));
    for difference in deviant.differences.iter().take(SHOWN) {
        text.push_str(&told(difference, style));
    }
    if deviant.differences.len() > SHOWN {
        let more = count(deviant.differences.len() - SHOWN, "more difference");
        text.push_str(&format!("  and {more}: -o json lists them\n"));
    }
    text.push('\n');
    text
}

fn told(difference: &Difference, style: &Style) -> String {
    let change = style.attention(difference.change.word());
    let mut text = format!("  {change} {} {}\n", difference.kind, difference.object);
    let mut line = |word: &str, definition: &str| {
        if !definition.is_empty() {
            text.push_str(&wrapped(&format!("{word} {definition}"), 4, style));
        }
    };
    match &difference.change {
        Change::Missing { expected } => line("expected", expected),
        Change::Extra { found } => line("found", found),
        Change::Changed { expected, found } => {
            let (expected, found) = apart(expected, found);
            line("expected", expected);
            line("found   ", found);
        }
    }
    text
}

/// Two texts of many lines from the first line on in which they differ, one line each.
fn apart<'a>(expected: &'a str, found: &'a str) -> (&'a str, &'a str) {
    if expected.lines().nth(1).is_none() && found.lines().nth(1).is_none() {
        return (expected, found);
    }
    let mut expected = expected.lines();
    let mut found = found.lines();
    loop {
        match (expected.next(), found.next()) {
            (Some(one), Some(other)) if one == other => {}
            (one, other) => {
                return (one.unwrap_or("its end").trim(), other.unwrap_or("its end").trim());
            }
        }
    }
}

/// Who lives in a schema: one tenant, or all that share it.
fn named(schema: &Subject) -> String {
    match schema.tenants.as_slice() {
        [only] => only.to_string(),
        all => format!("{} (shared by {})", schema.placement, count(all.len(), "tenant")),
    }
}

fn names(schemas: &[Subject]) -> String {
    let mut names: Vec<String> = schemas.iter().take(NAMED).map(named).collect();
    if schemas.len() > NAMED {
        let last = names.pop().unwrap_or_default();
        names.push(format!("{last} and {} more", schemas.len() - NAMED));
    }
    names.join(", ")
}

/// Each reason once, with those that it kept from being read.
fn unread(all: &[Unread], style: &Style) -> String {
    let mut reasons: Vec<(&Unread, Vec<Subject>)> = Vec::new();
    for one in all {
        let same = |(first, _): &&mut (&Unread, Vec<Subject>)| {
            first.failure.message == one.failure.message
        };
        match reasons.iter_mut().find(same) {
            Some((_, schemas)) => schemas.push(one.schema.clone()),
            None => reasons.push((one, vec![one.schema.clone()])),
        }
    }
    let mut text = String::new();
    for (first, schemas) in reasons {
        let head = style.bad(&format!("not read {}", names(&schemas)));
        text.push_str(&format!("{head}: {}\n", first.failure.message));
        for hint in &first.failure.hints {
            text.push_str(&format!("  {}: {hint}\n", style.attention("hint")));
        }
    }
    text
}

fn closing(answer: &Compared, style: &Style) -> String {
    if answer.groups.is_empty() && answer.unread.is_empty() {
        return "nothing to compare\n".to_owned();
    }
    let schemas: usize = answer.groups.iter().map(|group| group.schemas).sum();
    let mut parts = vec![if answer.compared < schemas {
        format!("{} compared with the fleet's {schemas}", count(answer.compared, "schema"))
    } else {
        format!("{} compared", count(schemas, "schema"))
    }];
    let counted = [
        (answer.deviating(), format!("{} deviating", answer.deviating())),
        (answer.faults(), count(answer.faults(), "fault")),
        (answer.unread.len(), format!("{} not read", answer.unread.len())),
    ];
    parts.extend(counted.iter().filter(|(number, _)| *number > 0).map(|(_, text)| style.bad(text)));
    if parts.len() == 1 {
        parts.push("none deviates".to_owned());
    }
    let text = format!("{} in {}\n", parts.join(", "), duration(answer.took));
    if answer.groups.iter().any(|group| group.tied) {
        return format!(
            "{text}as many are of one kind as of another: --against ID says who is right\n"
        );
    }
    text
}

pub(super) fn document(answer: &Compared) -> Value {
    let groups: Vec<Value> = answer
        .groups
        .iter()
        .map(|group| {
            json!({
                "isolation": group.claim.isolation.word(),
                "version": group.claim.version.map(|version| version.0),
                "server_major": group.claim.major,
                "schemas": group.schemas,
                "alike": group.alike,
                "tied": group.tied,
                "fingerprint": group.fingerprint.to_string(),
            })
        })
        .collect();
    let flaws: Vec<Value> = answer
        .flaws
        .iter()
        .map(|one| {
            json!({
                "flaw": one.flaw.word(),
                "fault": one.flaw.is_fault(),
                "message": one.flaw.to_string(),
                "schemas": one.schemas.iter().map(subject).collect::<Vec<_>>(),
            })
        })
        .collect();
    let unread: Vec<Value> = answer
        .unread
        .iter()
        .map(|one| json!({"schema": subject(&one.schema), "error": failure(&one.failure)}))
        .collect();
    json!({
        "format": FORMAT,
        "summary": {
            "schemas": answer.groups.iter().map(|group| group.schemas).sum::<usize>(),
            "compared": answer.compared,
            "deviating": answer.deviating(),
            "faults": answer.faults(),
            "unread": answer.unread.len(),
            "half_made": answer.half_made,
        },
        "groups": groups,
        "deviants": answer.deviants.iter().map(deviant).collect::<Vec<_>>(),
        "flaws": flaws,
        "unread": unread,
    })
}

fn deviant(deviant: &Deviant) -> Value {
    let differences: Vec<Value> = deviant
        .differences
        .iter()
        .map(|one| {
            let (expected, found) = match &one.change {
                Change::Missing { expected } => (Some(expected), None),
                Change::Extra { found } => (None, Some(found)),
                Change::Changed { expected, found } => (Some(expected), Some(found)),
            };
            json!({
                "kind": one.kind,
                "object": one.object,
                "change": one.change.word(),
                "expected": expected,
                "found": found,
            })
        })
        .collect();
    json!({
        "isolation": deviant.claim.isolation.word(),
        "version": deviant.claim.version.map(|version| version.0),
        "fingerprint": deviant.fingerprint.to_string(),
        "schemas": deviant.schemas.iter().map(subject).collect::<Vec<_>>(),
        "against": subject(&deviant.against),
        "differences": differences,
    })
}

fn subject(schema: &Subject) -> Value {
    let tenants: Vec<&str> =
        schema.tenants.iter().map(crate::model::tenant::TenantId::as_str).collect();
    json!({
        "tenants": tenants,
        "cluster": schema.placement.cluster.as_str(),
        "database": schema.placement.database.as_str(),
        "schema": schema.placement.schema.as_str(),
    })
}
