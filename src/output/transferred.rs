//! What became of a tenant's data, for people and for scripts.

use serde_json::{Value, json};

use super::json::{FORMAT, tenant};
use super::layout::{table, version};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::report::Transferred;

pub(super) fn human(answer: &Transferred, style: &Style) -> String {
    let id = style.strong(answer.tenant.id.as_str());
    if answer.unchanged {
        return format!("nothing to do: tenant {id} was {} before\n", past(answer));
    }
    let mut text = format!(
        "{} tenant {id}: {} in {}, {} in {}\n",
        past(answer),
        plural(answer.rows(), "row"),
        count(answer.tables.len(), "table"),
        size(answer.bytes()),
        duration(answer.took)
    );
    let mut facts = Vec::new();
    if let Some(from) = answer.from.as_ref().filter(|from| **from != answer.tenant.id.as_str()) {
        facts.push(("data of", format!("tenant {from}")));
    }
    if let Some(place) = &answer.place {
        let written = answer.size.map(|bytes| format!(" ({})", size(bytes))).unwrap_or_default();
        facts.push(("archive", format!("{place}{written}")));
    }
    facts.push(("isolation", answer.tenant.isolation.to_string()));
    facts.push(("place", answer.tenant.placement.to_string()));
    facts.push(("version", version(answer.version)));
    for (name, value) in facts {
        text.push_str(&format!("  {name:<10} {value}\n"));
    }
    if !answer.tables.is_empty() {
        let rows = answer
            .tables
            .iter()
            .map(|moved| vec![moved.table.clone(), moved.rows.to_string(), size(moved.bytes)])
            .collect();
        text.push_str(&table(&["table", "rows", "size"], rows, style));
    }
    for note in &answer.notes {
        text.push_str(&format!("{}: {note}\n", style.attention("note")));
    }
    text
}

fn past(answer: &Transferred) -> String {
    match answer.verb {
        "export" => "exported".to_owned(),
        "import" => "imported".to_owned(),
        "clone" => "cloned".to_owned(),
        "backup" => "backed up".to_owned(),
        "restore" => "restored".to_owned(),
        other => format!("{other}d"),
    }
}

fn plural(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

/// A length as people read it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut whole = bytes;
    let mut rest = 0;
    while whole >= 1000 && unit + 1 < UNITS.len() {
        rest = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    if unit == 0 || whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{rest} {}", UNITS[unit])
    }
}

pub(super) fn json(answer: &Transferred) -> Value {
    let tables: Vec<Value> = answer
        .tables
        .iter()
        .map(|moved| json!({"table": moved.table, "rows": moved.rows, "bytes": moved.bytes}))
        .collect();
    json!({
        "format": FORMAT,
        "done": past(answer),
        "unchanged": answer.unchanged,
        "tenant": tenant(&answer.tenant, answer.version, None),
        "from": answer.from,
        "archive": answer.place.as_ref().map(|place| json!({
            "place": place,
            "fingerprint": answer.fingerprint,
            "size": answer.size,
        })),
        "summary": {
            "tables": answer.tables.len(),
            "rows": answer.rows(),
            "bytes": answer.bytes(),
        },
        "tables": tables,
        "steps": answer.steps,
        "notes": answer.notes,
        "duration_ms": super::migration::milliseconds(answer.took),
    })
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn lengths_are_read_at_a_glance() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (123_456, "123 kB"),
            (5_250_000_000, "5.2 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
