//! `migrate baseline`, `repair` and `down`, for people and for scripts.

use serde_json::{Value, json};

use super::grouped;
use super::json::{FORMAT, failure as failure_value};
use super::layout::{table, version};
use super::progress::duration;
use super::style::Style;
use crate::model::count;
use crate::model::tenant::TenantId;
use crate::plan::rewrite::{Row, RowChange};
use crate::report::{Rewriting, Rewritten, RewrittenTarget, Status};

/// So many rows are read one by one.
const READABLE: usize = 20;

pub(super) fn human(answer: &Rewritten, style: &Style) -> String {
    let mut text = String::new();
    for (targets, rows) in alike(answer) {
        text.push_str(&format!("{}\n", style.strong(&names(&targets))));
        let rows = rows.iter().map(|(change, left)| row(answer, change, *left, style)).collect();
        let header: &[&str] = match answer.verb {
            Rewriting::Repair => &["version", "file", "then", "recorded as", "difference"],
            Rewriting::Baseline | Rewriting::Down => &["version", "file", "then"],
        };
        text.push_str(&table(header, rows, style));
        text.push('\n');
    }
    let moved: Vec<&RewrittenTarget> =
        answer.targets.iter().filter(|target| target.status != Status::UpToDate).collect();
    if !moved.is_empty() && moved.len() <= READABLE {
        let rows = moved.iter().map(|target| standing(target, style)).collect();
        text.push_str(&table(&["tenant", "schema", "from", "to", "status"], rows, style));
        text.push('\n');
    }
    let struck = answer
        .targets
        .iter()
        .filter_map(|one| Some((one.status.word(), &one.tenant, one.error.as_ref()?)));
    text.push_str(&grouped::failures(struck, style));
    for note in &answer.notes {
        text.push_str(&format!("{}: {note}\n", style.attention("note")));
    }
    text.push_str(&closing(answer, style));
    text
}

/// Tenants to which the same happens, and what: rows, and whether each is left as it is.
type Alike<'a> = (Vec<&'a RewrittenTarget>, Vec<(&'a RowChange, bool)>);

/// What happens to rows, each list of them once, with the tenants to which it happens.
fn alike(answer: &Rewritten) -> Vec<Alike<'_>> {
    let mut groups: Vec<Alike<'_>> = Vec::new();
    for target in &answer.targets {
        let changed = target.changes.iter().map(|change| (change, false));
        let left = target.refused.iter().map(|change| (change, true));
        let mut rows: Vec<(&RowChange, bool)> = changed.chain(left).collect();
        if rows.is_empty() {
            continue;
        }
        if answer.verb != Rewriting::Down {
            rows.sort_by_key(|(change, _)| change.version);
        }
        match groups.iter_mut().find(|(_, same)| *same == rows) {
            Some((targets, _)) => targets.push(target),
            None => groups.push((vec![target], rows)),
        }
    }
    groups
}

fn names(targets: &[&RewrittenTarget]) -> String {
    let tenants: Vec<&TenantId> = targets.iter().map(|target| &target.tenant).collect();
    grouped::names(&tenants)
}

fn row(answer: &Rewritten, change: &RowChange, left: bool, style: &Style) -> Vec<String> {
    let done = match (&change.was, &change.now) {
        _ if left => style.attention("left as it is"),
        (None, _) => "recorded".to_owned(),
        (Some(_), Some(_)) => "re-recorded".to_owned(),
        (Some(_), None) if answer.verb == Rewriting::Down => "taken back".to_owned(),
        (Some(_), None) => "removed".to_owned(),
    };
    let then = if answer.dry_run && !left { format!("to be {done}") } else { done };
    let mut cells = vec![
        version(Some(change.version)),
        change.file.as_deref().map_or_else(|| "-".to_owned(), base),
        then,
    ];
    if answer.verb == Rewriting::Repair {
        cells.push(change.was.as_ref().map_or_else(|| "-".to_owned(), |was| was.name.clone()));
        cells.push(change.why.word().to_owned());
    }
    cells
}

/// The file's own name, with `down/` before it where it stands there.
fn base(path: &str) -> String {
    let mut parts: Vec<&str> = path.rsplit('/').take(2).collect();
    if parts.get(1) != Some(&"down") {
        parts.truncate(1);
    }
    parts.reverse();
    parts.join("/")
}

fn standing(target: &RewrittenTarget, style: &Style) -> Vec<String> {
    let word = target.status.word();
    let status = match target.status {
        Status::Applied | Status::UpToDate => style.good(word),
        Status::Pending | Status::Skipped => style.attention(word),
        Status::Diverged | Status::Missing | Status::Failed => style.bad(word),
    };
    vec![
        target.tenant.to_string(),
        format!("{}.{}", target.placement.database, target.placement.schema),
        version(target.from),
        version(target.to),
        status,
    ]
}

fn closing(answer: &Rewritten, style: &Style) -> String {
    let counts = answer.counts();
    let touched = answer.targets.iter().filter(|target| !target.changes.is_empty()).count();
    if touched == 0 && counts.failed == 0 {
        let as_asked = match answer.verb {
            Rewriting::Baseline => "recorded already",
            Rewriting::Repair => "in order",
            Rewriting::Down => "taken back already",
        };
        let who = match counts.ok {
            1 => "1 tenant is".to_owned(),
            all => format!("all {all} tenants are"),
        };
        return format!("nothing to do: {who} {as_asked}\n");
    }
    let word = match answer.verb {
        Rewriting::Baseline => "adopted",
        Rewriting::Repair => "mended",
        Rewriting::Down => "taken back",
    };
    let first = count(touched, "tenant");
    let mut parts = vec![if answer.dry_run {
        format!("{first} to be {word}")
    } else {
        format!("{first} {word}")
    }];
    let of = |wanted: &[Status]| {
        answer.targets.iter().filter(|target| wanted.contains(&target.status)).count()
    };
    for (number, word) in [
        (of(&[Status::Diverged]), "still diverged"),
        (of(&[Status::Failed, Status::Missing]), "failed"),
    ] {
        if number > 0 {
            parts.push(style.bad(&format!("{number} {word}")));
        }
    }
    let mut text = parts.join(", ");
    if answer.dry_run {
        text.push_str("; nothing is done\n");
    } else {
        text.push_str(&format!(" in {}\n", duration(answer.took)));
    }
    if answer.interrupted {
        text.push_str(
            "interrupted: what was begun was finished, or cancelled; run it again to go on\n",
        );
    }
    text
}

pub(super) fn json(answer: &Rewritten) -> Value {
    let counts = answer.counts();
    json!({
        "format": FORMAT,
        "command": answer.verb.word(),
        "dry_run": answer.dry_run,
        "reason": answer.reason,
        "interrupted": answer.interrupted,
        "notes": answer.notes,
        "summary": {
            "ok": counts.ok,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "pending": counts.pending,
        },
        "targets": answer.targets.iter().map(target).collect::<Vec<_>>(),
    })
}

fn target(target: &RewrittenTarget) -> Value {
    json!({
        "tenant": target.tenant.as_str(),
        "isolation": target.isolation.word(),
        "cluster": target.placement.cluster.as_str(),
        "database": target.placement.database.as_str(),
        "schema": target.placement.schema.as_str(),
        "from": target.from.map(|version| version.0),
        "to": target.to.map(|version| version.0),
        "changes": target.changes.iter().map(change).collect::<Vec<_>>(),
        "refused": target.refused.iter().map(change).collect::<Vec<_>>(),
        "status": target.status.word(),
        "error": target.error.as_ref().map(failure_value),
    })
}

/// Checksums are text: they are wider than the numbers of most readers of JSON.
fn change(change: &RowChange) -> Value {
    let row = |row: &Row| json!({"name": row.name, "checksum": row.checksum.to_string()});
    json!({
        "version": change.version.0,
        "difference": change.why.word(),
        "file": change.file,
        "was": change.was.as_ref().map(row),
        "now": change.now.as_ref().map(row),
    })
}
