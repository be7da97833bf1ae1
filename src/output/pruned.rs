//! What `runs prune` forgot, for people and for scripts.

use serde_json::{Value, json};

use super::json::FORMAT;
use super::migration::milliseconds;
use super::progress::duration;
use super::runs::{listing, overview_json, shortened};
use super::style::Style;
use crate::model::{count, some_of};
use crate::plan::retention::Stay;
use crate::report::Pruned;

/// So many runs are read one by one; of more, unless all are asked for, the newest and the oldest.
const READABLE: usize = 20;

/// So many runs are named.
const NAMED: usize = 5;

pub(super) fn human(answer: &Pruned, style: &Style) -> String {
    let mut text = String::new();
    if answer.dry_run && !answer.runs.is_empty() {
        if answer.runs.len() <= READABLE || style.whole {
            text.push_str(&listing(&answer.runs, style));
        } else if let (Some(newest), Some(oldest)) = (answer.runs.first(), answer.runs.last()) {
            let (from, to) = (&oldest.run.started, &newest.run.started);
            text.push_str(&format!("runs that began from {from} to {to}; -v lists them\n"));
        }
        text.push('\n');
    }
    text.push_str(&kept(answer, style));
    let (runs, rows) = (count(answer.runs.len(), "run"), count(answer.tenants(), "tenant row"));
    let what = format!("{runs} with {rows}");
    text.push_str(&match (answer.runs.is_empty(), answer.dry_run) {
        (true, _) => format!("nothing to do: {} remembered\n", are(answer.left)),
        (false, true) => format!("{what} to be removed; nothing is done\n"),
        (false, false) => {
            format!("removed {what} in {}; {} left\n", duration(answer.took), are(answer.left))
        }
    });
    if answer.interrupted {
        text.push_str("interrupted: what was begun was finished; run it again to go on\n");
    }
    text
}

fn are(runs: usize) -> String {
    format!("{} {}", count(runs, "run"), if runs == 1 { "is" } else { "are" })
}

/// Which stay although they are old enough.
fn kept(answer: &Pruned, style: &Style) -> String {
    let which = |stays: fn(Stay) -> bool| -> Vec<String> {
        answer.kept.iter().filter(|one| stays(one.why)).map(|one| shortened(one.run)).collect()
    };
    let most = if style.whole { usize::MAX } else { NAMED };
    let mut text = String::new();
    for (runs, why) in [
        (which(|why| why == Stay::GoesOn), "going on"),
        (which(|why| why != Stay::GoesOn), "the last that tried a tenant"),
    ] {
        if !runs.is_empty() {
            text.push_str(&format!(
                "{}: {} ({why})\n",
                style.attention("kept"),
                some_of(&runs, most)
            ));
        }
    }
    text
}

pub(super) fn json(answer: &Pruned) -> Value {
    let kept: Vec<Value> = answer
        .kept
        .iter()
        .map(|one| {
            let tenants = match one.why {
                Stay::GoesOn => None,
                Stay::LastTry(tenants) => Some(tenants),
            };
            json!({"run": one.run.to_string(), "reason": one.why.word(), "tenants": tenants})
        })
        .collect();
    json!({
        "format": FORMAT,
        "dry_run": answer.dry_run,
        "interrupted": answer.interrupted,
        "runs": answer.runs.iter().map(overview_json).collect::<Vec<_>>(),
        "rows": answer.tenants(),
        "kept": kept,
        "left": answer.left,
        "took_ms": milliseconds(answer.took),
    })
}
