//! `suspend`, `resume`, `delete`, `undelete`, `hold`, `rename`, `purge` and `erase`, for people and
//! scripts.

use serde_json::{Value, json};

use super::json::{FORMAT, failure as failure_value};
use super::layout::{hanging, table};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::model::tenant::State;
use crate::report::{Lived, LivedTarget};

/// So many tenants are told one by one.
const READABLE: usize = 20;

pub(super) fn human(answer: &Lived, style: &Style) -> String {
    let mut text = String::new();
    match answer.targets.as_slice() {
        [only] => text.push_str(&single(answer, only, style)),
        targets => text.push_str(&several(answer, targets, style)),
    }
    if answer.interrupted {
        text.push_str("interrupted: what was begun was finished; run it again to go on\n");
    }
    text
}

fn single(answer: &Lived, target: &LivedTarget, style: &Style) -> String {
    let id = style.strong(target.tenant.id.as_str());
    let mut text = String::new();
    if answer.dry_run && !target.steps.is_empty() {
        text.push_str(&format!(
            "plan for tenant {id} ({} at {}), nothing is done:\n",
            target.tenant.isolation, target.tenant.placement
        ));
        text.push_str(&plan(target, style));
    } else if target.steps.is_empty() && target.error.is_none() {
        text.push_str(&format!("nothing to do: tenant {id} {}\n", stands(answer, target)));
    } else if target.error.is_none() {
        text.push_str(&format!("{} in {}\n", happened(answer, target, &id), duration(answer.took)));
    }
    text.push_str(&aftermath(target, style));
    text.push_str(&failed(target, style));
    text
}

/// How a tenant stands to which nothing had to be done.
fn stands(answer: &Lived, target: &LivedTarget) -> String {
    match answer.verb {
        "hold set" => "is held for that already".to_owned(),
        "hold clear" => "is not held".to_owned(),
        "rename" => "has that name".to_owned(),
        _ => format!("is {}", target.to),
    }
}

fn happened(answer: &Lived, target: &LivedTarget, id: &str) -> String {
    match answer.verb {
        "suspend" => format!("suspended tenant {id}"),
        "resume" => format!("resumed tenant {id}"),
        "delete" => format!("deleted tenant {id}"),
        "undelete" => format!("brought back tenant {id}: it is {}", target.to),
        "purge" => format!("purged tenant {id}"),
        "erase" => format!("erased tenant {id}"),
        "hold set" => format!("tenant {id} is held"),
        "hold clear" => format!("tenant {id} is held no more"),
        "rename" => match &target.renamed {
            Some(name) => format!("renamed tenant {id} to {name}"),
            None => format!("renamed tenant {id}"),
        },
        verb => format!("{verb} {id}"),
    }
}

fn plan(target: &LivedTarget, style: &Style) -> String {
    let mut text = String::new();
    let mut site = "";
    for (at, step) in target.steps.iter().enumerate() {
        if site != step.site {
            site = &step.site;
            text.push_str(&format!("\n{}\n", style.faint(&format!("-- {site}"))));
        }
        text.push_str(&format!("{:>3}. {}\n", at + 1, step.what));
        for statement in &step.statements {
            let sql = hanging("     ", &format!("{statement};"), 7, style);
            for line in sql.lines() {
                text.push_str(&format!("{}\n", style.faint(line)));
            }
        }
    }
    text.push_str(&format!("\n{}\n", count(target.steps.len(), "step")));
    text
}

fn aftermath(target: &LivedTarget, style: &Style) -> String {
    let mut text = String::new();
    let mut fact = |name: &str, value: String| {
        text.push_str(&hanging(&format!("  {name:<10} "), &value, 13, style));
    };
    if target.ended > 0 {
        fact("sessions", format!("{} ended", target.ended));
    }
    if let Some(until) = &target.delete_after
        && target.to == State::Deleting
    {
        fact("grace", format!("until {until}; then: tenantctl purge {}", target.tenant.id));
    }
    for (what, old, new) in &target.names {
        fact(what, format!("{old} -> {new}"));
    }
    for hold in &target.holds {
        fact("hold", format!("{} ({}, {})", hold.reason, hold.by, hold.since));
    }
    if let Some(receipt) = &target.receipt {
        let rows = usize::try_from(receipt.receipt.rows()).unwrap_or(usize::MAX);
        let tables = count(receipt.receipt.tables.len(), "table");
        fact("rows", format!("{rows} in {tables}, 0 left"));
        for removed in &receipt.receipt.removed {
            fact("removed", removed.clone());
        }
        fact("receipt", receipt.file.display().to_string());
        fact("sha256", receipt.sha256.clone());
    }
    for note in &target.notes {
        text.push_str(&hanging(&format!("{}: ", style.attention("note")), note, 2, style));
    }
    text
}

fn failed(target: &LivedTarget, style: &Style) -> String {
    let Some(failure) = &target.error else {
        return String::new();
    };
    let mut text =
        format!("{}: {}\n", style.bad(&format!("failed {}", target.tenant.id)), failure.message);
    if let Some(sqlstate) = &failure.sqlstate {
        text.push_str(&format!("  sqlstate: {sqlstate}\n"));
    }
    for detail in &failure.details {
        text.push_str(&format!("  {detail}\n"));
    }
    for hint in &failure.hints {
        text.push_str(&format!("  {}: {hint}\n", style.attention("hint")));
    }
    text
}

fn several(answer: &Lived, targets: &[LivedTarget], style: &Style) -> String {
    let mut text = String::new();
    if !targets.is_empty() && targets.len() <= READABLE {
        let rows = targets
            .iter()
            .map(|target| {
                let word = answer.status(target);
                let status = match word {
                    "failed" => style.bad(word),
                    "pending" => style.attention(word),
                    _ => style.good(word),
                };
                let from = target.tenant.state.to_string();
                vec![target.tenant.id.to_string(), from, target.to.to_string(), status]
            })
            .collect();
        text.push_str(&table(&["tenant", "from", "to", "status"], rows, style));
        text.push('\n');
    }
    for target in targets {
        for note in &target.notes {
            let head = format!("{}: {}: ", style.attention("note"), target.tenant.id);
            text.push_str(&hanging(&head, note, 2, style));
        }
        if let Some(receipt) = &target.receipt {
            text.push_str(&format!(
                "receipt of {}: {}\n",
                target.tenant.id,
                receipt.file.display()
            ));
        }
        text.push_str(&failed(target, style));
    }
    let of = |word: &str| targets.iter().filter(|target| answer.status(target) == word).count();
    let mut parts = Vec::new();
    for (word, told) in [("done", "done"), ("pending", "to be done"), ("unchanged", "unchanged")] {
        if of(word) > 0 {
            parts.push(format!("{} {told}", of(word)));
        }
    }
    if of("failed") > 0 {
        parts.push(style.bad(&format!("{} failed", of("failed"))));
    }
    let closing = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
    if answer.dry_run {
        text.push_str(&format!("{closing}; nothing is done\n"));
    } else {
        text.push_str(&format!("{closing} in {}\n", duration(answer.took)));
    }
    text
}

pub(super) fn json(answer: &Lived) -> Value {
    let of = |word: &str| answer.targets.iter().filter(|one| answer.status(one) == word).count();
    json!({
        "format": FORMAT,
        "command": answer.verb,
        "dry_run": answer.dry_run,
        "interrupted": answer.interrupted,
        "summary": {
            "ok": of("done") + of("unchanged"),
            "failed": of("failed"),
            "pending": of("pending"),
            "skipped": 0,
        },
        "targets": answer.targets.iter().map(|one| target(answer, one)).collect::<Vec<_>>(),
    })
}

fn target(answer: &Lived, target: &LivedTarget) -> Value {
    let tenant = &target.tenant;
    json!({
        "tenant": tenant.id.as_str(),
        "isolation": tenant.isolation.word(),
        "cluster": tenant.placement.cluster.as_str(),
        "database": tenant.placement.database.as_str(),
        "schema": tenant.placement.schema.as_str(),
        "from": tenant.state.word(),
        "to": target.to.word(),
        "status": answer.status(target),
        "steps": target.steps.iter().map(|step| json!({
            "step": step.what,
            "site": step.site,
            "sql": step.statements.iter().map(crate::sql::Sql::as_str).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "sessions_ended": target.ended,
        "delete_after": target.delete_after,
        "holds": target.holds,
        "names": target.names.iter().map(|(what, old, new)| json!({
            "what": what,
            "from": old.as_str(),
            "to": new.as_str(),
        })).collect::<Vec<_>>(),
        "renamed_to": target.renamed.as_ref().map(crate::model::tenant::TenantId::as_str),
        "receipt": target.receipt.as_ref().map(|one| json!({
            "file": one.file.display().to_string(),
            "sha256": one.sha256,
            "document": one.receipt,
        })),
        "notes": target.notes,
        "error": target.error.as_ref().map(failure_value),
    })
}
