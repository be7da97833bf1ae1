//! `migrate plan` for people and for scripts.

use serde_json::{Value, json};

use super::json::{FORMAT, failure};
use super::layout::{table, version, wrapped};
use super::style::Style;
use crate::model::count;
use crate::plan::locks::{Hazard, Impact};
use crate::plan::rollout::RolloutGroup;
use crate::report::{Failure, PlannedSql, RolloutPlan};

/// So many tenants that are left alone for one reason are named.
const NAMED: usize = 10;

pub(super) fn rollout(answer: &RolloutPlan, style: &Style) -> String {
    let groups = answer.rollout.groups();
    let mut text = String::new();
    if !groups.is_empty() {
        let rows = groups.iter().map(|group| row(group, style)).collect();
        text.push_str(&table(&["tenants", "isolation", "from", "to", "pending"], rows, style));
        text.push('\n');
    }
    for file in &answer.files {
        text.push_str(&planned(file, style));
        text.push('\n');
    }
    text.push_str(&left(answer, style));
    text.push_str(&closing(answer, &groups, style));
    text
}

fn row(group: &RolloutGroup<'_>, style: &Style) -> Vec<String> {
    let who = match group.targets.as_slice() {
        [only] => only.tenant.to_string(),
        all => count(all.len(), "tenant"),
    };
    let pending = match group.pending {
        [] => style.good("nothing"),
        all => style.attention(&count(all.len(), "file")),
    };
    vec![who, group.isolation.to_string(), version(group.from), version(group.to), pending]
}

fn planned(file: &PlannedSql, style: &Style) -> String {
    let head = format!("V{}__{}", file.version, file.name);
    let outside = if file.outside {
        format!(", {}", style.attention(Hazard::OutsideTransaction.describe()))
    } else {
        String::new()
    };
    let schemas = count(file.schemas, "schema");
    let models: Vec<&str> = file.isolations.iter().map(|model| model.word()).collect();
    let models = models.join(", ");
    let mut text = format!("{} for {schemas} ({models}){outside}\n", style.strong(&head));
    text.push_str(&style.faint(&format!("  {}, checksum {}\n", file.path, file.checksum)));
    for statement in &file.statements {
        text.push_str(&told(statement, style));
    }
    text
}

fn told(statement: &Impact, style: &Style) -> String {
    let sql = statement.sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let room = style.width.saturating_sub(7).max(20);
    let shown: String = if sql.chars().count() > room {
        sql.chars().take(room - 1).chain(['…']).collect()
    } else {
        sql
    };
    let mut text = format!("{:>5}  {shown}\n", statement.line);
    for lock in &statement.locks {
        text.push_str(&format!("       locks {} {}\n", lock.object, lock.mode));
    }
    if !statement.hazards.is_empty() {
        let words: Vec<&str> = statement.hazards.iter().map(|hazard| hazard.describe()).collect();
        let words = format!("{}: {}", style.attention("hazard"), words.join(", "));
        text.push_str(&wrapped(&words, 7, style));
    }
    text
}

/// Each reason once, with the tenants that are left alone for it.
fn left(answer: &RolloutPlan, style: &Style) -> String {
    let mut reasons: Vec<(&Failure, Vec<&str>)> = Vec::new();
    for (tenant, failure) in &answer.left {
        match reasons.iter_mut().find(|(first, _)| first.message == failure.message) {
            Some((_, names)) => names.push(tenant.as_str()),
            None => reasons.push((failure, vec![tenant.as_str()])),
        }
    }
    let mut text = String::new();
    for (failure, names) in reasons {
        let mut who = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        if names.len() > NAMED {
            who.push_str(&format!(" and {} more", names.len() - NAMED));
        }
        let head = style.bad(&format!("not planned {who}"));
        text.push_str(&format!("{head}: {}\n", failure.message));
        for hint in &failure.hints {
            text.push_str(&format!("  {}: {hint}\n", style.attention("hint")));
        }
    }
    text
}

fn closing(answer: &RolloutPlan, groups: &[RolloutGroup<'_>], style: &Style) -> String {
    let pending: usize =
        groups.iter().filter(|group| !group.pending.is_empty()).map(|one| one.targets.len()).sum();
    let mut text = if pending == 0 {
        "nothing to do\n".to_owned()
    } else {
        let mut hazards: Vec<Hazard> = answer.files.iter().flat_map(PlannedSql::hazards).collect();
        hazards.sort_unstable();
        hazards.dedup();
        let words: Vec<&str> = hazards.iter().map(|hazard| hazard.describe()).collect();
        let words = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        let files = count(answer.files.len(), "file");
        wrapped(
            &format!("{} to migrate with {files}, hazards: {words}", count(pending, "tenant")),
            0,
            style,
        )
    };
    let fingerprint: String = answer.rollout.fingerprint().chars().take(12).collect();
    match &answer.written {
        Some(file) => {
            let file = file.display();
            text.push_str(&format!(
                "plan {fingerprint} written to {file}: follow it with tenantctl migrate up {file}\n"
            ));
        }
        None => text.push_str(&style.faint(&format!("plan {fingerprint}: -O FILE keeps it\n"))),
    }
    text
}

pub(super) fn document(answer: &RolloutPlan) -> Value {
    let rollout = &answer.rollout;
    let groups: Vec<Value> = rollout
        .groups()
        .iter()
        .map(|group| {
            json!({
                "isolation": group.isolation.word(),
                "from": group.from.map(|version| version.0),
                "to": group.to.map(|version| version.0),
                "pending": group.pending,
                "tenants": group.targets.len(),
            })
        })
        .collect();
    let left: Vec<Value> = answer
        .left
        .iter()
        .map(|(tenant, why)| json!({"tenant": tenant.as_str(), "error": failure(why)}))
        .collect();
    json!({
        "format": FORMAT,
        "fingerprint": rollout.fingerprint(),
        "file": answer.written,
        "asked": rollout.asked,
        "groups": groups,
        "sets": rollout.sets,
        "files": answer.files.iter().map(file).collect::<Vec<_>>(),
        "targets": rollout.targets,
        "not_planned": left,
    })
}

fn file(file: &PlannedSql) -> Value {
    let words = |hazards: &[Hazard]| hazards.iter().map(|one| one.word()).collect::<Vec<_>>();
    let statements: Vec<Value> = file
        .statements
        .iter()
        .map(|one| {
            let locks: Vec<Value> = one
                .locks
                .iter()
                .map(|lock| json!({"object": lock.object, "mode": lock.mode.word()}))
                .collect();
            json!({"line": one.line, "sql": one.sql, "locks": locks, "hazards": words(&one.hazards)})
        })
        .collect();
    json!({
        "isolations": file.isolations,
        "version": file.version,
        "name": file.name,
        "path": file.path,
        "checksum": file.checksum,
        "transaction": !file.outside,
        "schemas": file.schemas,
        "hazards": words(&file.hazards()),
        "statements": statements,
    })
}
