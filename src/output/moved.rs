//! `move`, `move finish`, `move abort`, `move status`.

use serde_json::{Value, json};

use super::json::FORMAT;
use super::layout::table;
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::model::moving::{Home, Move, Phase, Sum};
use crate::report::{Announced, Moved, MovedHow, Moves};

fn megabytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}

fn rows(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "row")
}

fn all(sums: &[Sum]) -> u64 {
    sums.iter().map(|sum| sum.rows.unsigned_abs()).sum()
}

pub(super) fn human(answer: &Moved, style: &Style) -> String {
    let id = style.strong(answer.tenant.id.as_str());
    let took = duration(answer.took);
    let mut text = match (answer.how, &answer.moved) {
        (MovedHow::Planned, Some(moved)) => {
            format!("tenant {id} would move to {}\n", moved.target)
        }
        (MovedHow::Moved, Some(moved)) => {
            format!("moved tenant {id} to {} in {took}\n", moved.target)
        }
        (MovedHow::ToBeFinished, Some(moved)) => {
            format!("the old place of tenant {id} is to be removed: {}\n", moved.source)
        }
        (MovedHow::Finished, Some(moved)) => {
            format!("finished the move of tenant {id} in {took}: {} is gone\n", moved.source)
        }
        (MovedHow::Aborted, Some(moved)) => {
            format!("aborted the move of tenant {id} in {took}: it lives in {}\n", moved.source)
        }
        (MovedHow::Unchanged, Some(moved)) => {
            format!("nothing to do: tenant {id} has moved to {}\n", moved.target)
        }
        (_, None) => format!(
            "nothing to do: tenant {id} is in {} ({})\n",
            answer.tenant.placement, answer.tenant.isolation
        ),
    };
    let mut fact = |name: &str, value: String| text.push_str(&format!("  {name:<10} {value}\n"));
    if let Some(announced) = &answer.announced {
        fact("rows", format!("{} ({})", announced.load.rows, megabytes(announced.load.bytes)));
        fact("method", announced.method.to_string());
        fact("frozen", format!("about {}", duration(announced.estimate)));
    }
    if let Some(moved) = answer.moved.as_ref().filter(|_| answer.how == MovedHow::Moved) {
        if let Some(sums) = &moved.sums {
            let tables = count(sums.len(), "table");
            fact("compared", format!("{tables}, {}: the same in both places", rows(all(sums))));
        }
        fact(
            "frozen",
            format!("the tenant could not write for {}", duration(moved.could_not_write())),
        );
        fact("kept", format!("{}, closed", moved.source));
        text.push_str(&application(answer, moved, style));
    }
    for note in &answer.notes {
        text.push_str(&format!("{}: {note}\n", style.attention("note")));
    }
    for next in answer.next() {
        text.push_str(&format!("{}: {next}\n", style.faint("next")));
    }
    text
}

/// What the application has to change, without a secret.
fn application(answer: &Moved, moved: &Move, style: &Style) -> String {
    let mut changes = Vec::new();
    for (name, was, now) in differences(moved) {
        if was != now {
            changes.push(format!("  {name:<10} {was} -> {now}\n"));
        }
    }
    if changes.is_empty() {
        return String::new();
    }
    let mut text = format!("{}\n", style.strong("what the application has to change"));
    text.extend(changes);
    if let Some(login) = &answer.login {
        text.push_str(&format!(
            "  {:<10} {login}, which becomes {}\n",
            "login",
            answer.tenant.role()
        ));
    }
    text
}

fn differences(moved: &Move) -> [(&'static str, String, String); 5] {
    let of = |home: &Home| {
        let roles: Vec<&str> = home.roles.iter().map(crate::model::ident::Ident::as_str).collect();
        [
            home.isolation.to_string(),
            home.placement.cluster.to_string(),
            home.placement.database.as_str().to_owned(),
            home.placement.schema.as_str().to_owned(),
            roles.join(", "),
        ]
    };
    let mut pairs = of(&moved.source).into_iter().zip(of(&moved.target));
    ["isolation", "cluster", "database", "schema", "role"].map(|name| {
        let (was, now) = pairs.next().unwrap_or_default();
        (name, was, now)
    })
}

pub(super) fn moves(answer: &Moves, style: &Style) -> String {
    if answer.moves.is_empty() {
        return "no tenant is on its way\n".to_owned();
    }
    let lines = answer
        .moves
        .iter()
        .map(|moved| {
            let phase = match moved.phase {
                Phase::Moving if moved.frozen_for.is_some() => style.bad("frozen"),
                Phase::Moving | Phase::Aborting | Phase::Finishing => {
                    style.attention(moved.phase.word())
                }
                Phase::Kept | Phase::Done | Phase::Aborted => moved.phase.word().to_owned(),
            };
            vec![
                moved.tenant.to_string(),
                phase,
                moved.source.to_string(),
                moved.target.to_string(),
                duration(moved.could_not_write()),
                duration(moved.age),
            ]
        })
        .collect();
    table(&["tenant", "phase", "from", "to", "frozen", "age"], lines, style)
}

fn home(home: &Home) -> Value {
    json!({
        "isolation": home.isolation.word(),
        "cluster": home.placement.cluster.as_str(),
        "database": home.placement.database.as_str(),
        "schema": home.placement.schema.as_str(),
        "owner": home.owner.as_str(),
        "roles": home.roles.iter().map(crate::model::ident::Ident::as_str).collect::<Vec<_>>(),
    })
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn one(moved: &Move) -> Value {
    let tables = moved.sums.as_ref().map(|sums| {
        sums.iter()
            .map(|sum| json!({"table": sum.table.as_str(), "rows": sum.rows, "hash": sum.hash}))
            .collect::<Vec<_>>()
    });
    json!({
        "id": moved.id.to_string(),
        "tenant": moved.tenant.as_str(),
        "phase": moved.phase.word(),
        "method": moved.method.word(),
        "from": home(&moved.source),
        "to": home(&moved.target),
        "version": moved.version.map(|version| version.0),
        "tables": tables,
        "frozen_now": moved.frozen_for.is_some(),
        "could_not_write_ms": milliseconds(moved.could_not_write()),
        "age_ms": milliseconds(moved.age),
    })
}

fn announced(announced: &Announced) -> Value {
    json!({
        "method": announced.method.word(),
        "rows": announced.load.rows,
        "bytes": announced.load.bytes,
        "freeze_estimate_ms": milliseconds(announced.estimate),
    })
}

pub(super) fn document(answer: &Moved) -> Value {
    let changes: Vec<Value> = answer
        .moved
        .iter()
        .filter(|_| answer.how == MovedHow::Moved)
        .flat_map(differences)
        .filter(|(_, was, now)| was != now)
        .map(|(name, was, now)| json!({"what": name, "was": was, "now": now}))
        .collect();
    json!({
        "format": FORMAT,
        "outcome": answer.how.word(),
        "tenant": super::json::tenant(&answer.tenant, None, None),
        "move": answer.moved.as_ref().map(one),
        "announced": answer.announced.as_ref().map(announced),
        "changes": changes,
        "steps": answer.steps,
        "notes": answer.notes,
        "next": answer.next(),
    })
}

pub(super) fn moves_document(answer: &Moves) -> Value {
    json!({"format": FORMAT, "moves": answer.moves.iter().map(one).collect::<Vec<_>>()})
}
