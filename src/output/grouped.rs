//! Answers about many tenants: failures that struck several alike, each told once, and how it ended.

use std::time::Duration;

use super::progress::duration;
use super::style::Style;
use crate::model::tenant::TenantId;
use crate::report::Failure;

/// So many tenants are named where more than that stand alike.
const NAMED: usize = 5;

/// Each failure once, with the tenants that it struck; `struck` says how each stands, who it is, and
/// why.
pub(super) fn failures<'a>(
    struck: impl Iterator<Item = (&'static str, &'a TenantId, &'a Failure)>,
    style: &Style,
) -> String {
    let mut groups: Vec<(&'static str, &Failure, Vec<&TenantId>)> = Vec::new();
    for (word, tenant, failure) in struck {
        let same = |other: &Failure| {
            other.message == failure.message
                && other.line == failure.line
                && other.hints == failure.hints
        };
        match groups.iter_mut().find(|(_, other, _)| same(other)) {
            Some((_, _, tenants)) => tenants.push(tenant),
            None => groups.push((word, failure, vec![tenant])),
        }
    }
    let mut text = String::new();
    for (word, failure, tenants) in groups {
        let name = style.bad(&format!("{word} {}", names(&tenants)));
        text.push_str(&format!("{name}: {}\n", failure.message));
        if let (Some(file), Some(line), Some(column)) =
            (&failure.file, failure.line, failure.column)
        {
            text.push_str(&format!("  at: {file}:{line}:{column}\n"));
        }
        if let Some(sqlstate) = &failure.sqlstate {
            text.push_str(&format!("  sqlstate: {sqlstate}\n"));
        }
        for detail in &failure.details {
            text.push_str(&format!("  {detail}\n"));
        }
        for hint in &failure.hints {
            text.push_str(&format!("  {}: {hint}\n", style.attention("hint")));
        }
        text.push('\n');
    }
    text
}

/// How a run over tenants ended: its `parts`, whether anything was done, and what is left.
pub(super) fn closing(
    parts: &[String],
    took: Option<Duration>,
    stopped: Option<&str>,
    interrupted: bool,
    style: &Style,
) -> String {
    let mut text = parts.join(", ");
    match took {
        None => text.push_str("; nothing is done\n"),
        Some(took) => text.push_str(&format!(" in {}\n", duration(took))),
    }
    if let Some(why) = stopped {
        text.push_str(&format!("{}: {why}; run it again to go on\n", style.bad("stopped")));
    }
    if interrupted {
        text.push_str("interrupted: what was begun was finished; run it again to go on\n");
    }
    text
}

/// Tenants by name, the rest counted.
pub(super) fn names(tenants: &[&TenantId]) -> String {
    let named: Vec<&str> = tenants.iter().take(NAMED).map(|tenant| tenant.as_str()).collect();
    match tenants.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
