//! A restore drill, for people and for scripts.

use serde_json::{Value, json};

use super::json::FORMAT;
use super::layout::{table, version};
use super::migration::milliseconds;
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::report::{Drill, Restored};

pub(super) fn human(answer: &Drill, style: &Style) -> String {
    let id = style.strong(&answer.tenant);
    let rows = answer.tables.iter().filter_map(|table| table.found).sum::<u64>();
    let rows = count(usize::try_from(rows).unwrap_or(usize::MAX), "row");
    let tables = count(answer.tables.len(), "table");
    let took = duration(answer.took);
    let mut text = if answer.is_whole() {
        format!("whole: the backup of tenant {id} came back with {rows} in {tables} in {took}\n")
    } else {
        format!(
            "{}: the backup of tenant {id} is not what was recorded ({took})\n",
            style.attention("not whole")
        )
    };
    for (name, value) in [
        ("backup", answer.place.clone()),
        ("made at", answer.made_at.clone()),
        ("version", version(answer.version)),
    ] {
        text.push_str(&format!("  {name:<10} {value}\n"));
    }
    let rows = answer
        .tables
        .iter()
        .map(|one| {
            let found = one.found.map_or_else(|| "-".to_owned(), |found| found.to_string());
            vec![one.table.clone(), one.recorded.to_string(), found, word(one).to_owned()]
        })
        .collect();
    text.push_str(&table(&["table", "recorded", "restored", "content"], rows, style));
    text
}

fn word(one: &Restored) -> &'static str {
    match (one.found, one.is_same()) {
        (_, true) => "same",
        (None, _) => "missing",
        (Some(_), false) => "differs",
    }
}

pub(super) fn json(answer: &Drill) -> Value {
    let tables: Vec<Value> = answer
        .tables
        .iter()
        .map(|one| {
            json!({
                "table": one.table,
                "recorded": one.recorded,
                "restored": one.found,
                "content": word(one),
            })
        })
        .collect();
    json!({
        "format": FORMAT,
        "whole": answer.is_whole(),
        "tenant": answer.tenant,
        "backup": answer.place,
        "made_at": answer.made_at,
        "version": answer.version.map(|version| version.0),
        "tables": tables,
        "duration_ms": milliseconds(answer.took),
    })
}
