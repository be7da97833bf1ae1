//! `migrate verify` for people and for scripts.

use serde_json::{Value, json};

use super::json::{FORMAT, failure};
use super::layout::{hanging, table, version, wrapped};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::plan::drift::{Change, Difference};
use crate::report::{Compared, ComparedGroup, Deviant, Failure, FromFiles, Norm, Subject, Unread};

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
                (1, _) if answer.asked_files => group.alike.to_string(),
                (1, _) => style.attention("nothing to compare with"),
                (_, true) => style.attention(&format!("{}, as many as deviate alike", group.alike)),
                (all, _) if all == group.alike => style.good(&group.alike.to_string()),
                _ => group.alike.to_string(),
            };
            let mut row = vec![group.claim.isolation.to_string(), version(group.claim.version)];
            row.extend(several.then(|| group.claim.major.to_string()));
            row.extend([group.schemas.to_string(), alike]);
            row.extend(answer.asked_files.then(|| as_files(group, style)));
            row
        });
        let mut header = vec!["isolation", "version", "schemas", "alike"];
        if answer.asked_files {
            header.push("as the files");
        }
        if several {
            header.insert(2, "server");
        }
        text.push_str(&table(&header, rows.collect(), style));
        text.push('\n');
    }
    for deviant in &answer.deviants {
        text.push_str(&deviation(deviant, style));
    }
    for group in &answer.groups {
        text.push_str(&about_files(group, style));
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

/// How many are as the migration files make them.
fn as_files(group: &ComparedGroup, style: &Style) -> String {
    match &group.files {
        None => "-".to_owned(),
        Some(FromFiles::NotMade(_)) => style.attention("not known"),
        Some(FromFiles::Made { alike, .. }) if *alike == group.schemas => {
            style.good(&alike.to_string())
        }
        Some(FromFiles::Made { alike: 0, .. }) => style.bad("0"),
        Some(FromFiles::Made { alike, .. }) => alike.to_string(),
    }
}

/// Why the files could not be asked, or what of them a schema does not show.
fn about_files(group: &ComparedGroup, style: &Style) -> String {
    let which = format!("{} {}", group.claim.isolation, version(group.claim.version));
    match &group.files {
        Some(FromFiles::NotMade(failure)) => {
            let head = style.bad(&format!("{which} not compared with the files"));
            let mut text = hanging(&format!("{head}: "), &failure.message, 2, style);
            let line = |word: &str, what: &str| hanging(&format!("  {word}: "), what, 4, style);
            if let Some(place) = placed(failure) {
                text.push_str(&line("at", &place));
            }
            for detail in &failure.details {
                text.push_str(&hanging("  ", detail, 4, style));
            }
            for hint in &failure.hints {
                text.push_str(&line(&style.attention("hint"), hint));
            }
            text
        }
        Some(FromFiles::Made { outside, .. }) if !outside.is_empty() => {
            let word = style.attention("note");
            let named = outside.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let what = format!(
                "the files of {which} make or change {} outside of the schema, which is not \
                 compared: {named}",
                count(outside.len(), "object")
            );
            hanging(&format!("{word}: "), &what, 2, style)
        }
        _ => String::new(),
    }
}

fn placed(failure: &Failure) -> Option<String> {
    let file = failure.file.as_ref()?;
    let number = |number: Option<usize>| number.map_or_else(String::new, |at| format!(":{at}"));
    Some(format!("{file}{}{}", number(failure.line), number(failure.column)))
}

fn deviation(deviant: &Deviant, style: &Style) -> String {
    let head = format!("{} deviates", names(&deviant.schemas));
    let head = if deviant.schemas.len() == 1 { head } else { head.replace("deviates", "deviate") };
    let claim = match deviant.claim.version {
        None => "with an empty history".to_owned(),
        version => format!("at {}", self::version(version)),
    };
    let norm = match &deviant.against {
        Norm::Files => "the migration files".to_owned(),
        Norm::Schema(schema) => named(schema),
    };
    let mut text = hanging("", &format!("{} from {norm} {claim}:", style.bad(&head)), 2, style);
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
        (answer.not_made(), format!("{} not known", count(answer.not_made(), "version"))),
    ];
    parts.extend(counted.iter().filter(|(number, _)| *number > 0).map(|(_, text)| style.bad(text)));
    let calm = parts.len() == 1;
    if calm {
        parts.push("none deviates".to_owned());
    }
    let text = hanging("", &format!("{} in {}", parts.join(", "), duration(answer.took)), 2, style);
    if answer.groups.iter().any(|group| group.tied) {
        return format!(
            "{text}as many are of one kind as of another: --against ID says who is right\n"
        );
    }
    if calm && !answer.asked_files {
        return format!(
            "{text}a change that all have alike is not seen: --against-files asks the files\n"
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
                "files": group.files.as_ref().map(files),
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
            "not_made": answer.not_made(),
        },
        "groups": groups,
        "deviants": answer.deviants.iter().map(deviant).collect::<Vec<_>>(),
        "flaws": flaws,
        "unread": unread,
    })
}

fn files(said: &FromFiles) -> Value {
    match said {
        FromFiles::Made { alike, outside } => {
            json!({"made": true, "alike": alike, "outside": outside, "error": null})
        }
        FromFiles::NotMade(why) => {
            json!({"made": false, "alike": null, "outside": [], "error": failure(why)})
        }
    }
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
    let against = match &deviant.against {
        Norm::Files => None,
        Norm::Schema(schema) => Some(schema),
    };
    json!({
        "isolation": deviant.claim.isolation.word(),
        "version": deviant.claim.version.map(|version| version.0),
        "fingerprint": deviant.fingerprint.to_string(),
        "schemas": deviant.schemas.iter().map(subject).collect::<Vec<_>>(),
        "norm": if against.is_some() { "schema" } else { "files" },
        "against": against.map(subject),
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
