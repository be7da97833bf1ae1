//! Passwords and their ages, for people and for scripts.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::grouped;
use super::json::{FORMAT, failure};
use super::layout::table;
use super::style::Style;
use crate::model::count;
use crate::model::credential::Validity;
use crate::model::ident::Ident;
use crate::model::tenant::TenantId;
use crate::report::{
    CredentialList, CredentialRow, CredentialStatus, CredentialTarget, CredentialVerb, Credentials,
    Failure, KnownPassword, LoginChange, Worry,
};

/// So many rows are read one by one.
const READABLE: usize = 20;

pub(super) fn human(answer: &Credentials, style: &Style) -> String {
    let mut text = String::new();
    let changed: Vec<&CredentialTarget> =
        answer.targets.iter().filter(|target| !target.logins.is_empty()).collect();
    if !changed.is_empty() && (changed.len() <= READABLE || style.whole) {
        text.push_str(&changes(answer, &changed, style));
        text.push('\n');
    }
    text.push_str(&places(&changed));
    text.push_str(&reasons(answer, style));
    let struck = answer.targets.iter().filter_map(|target| {
        Some((target.status.word(answer.verb), &target.tenant, target.error.as_ref()?))
    });
    text.push_str(&grouped::failures(struck, style));
    for note in notes(answer) {
        text.push_str(&format!("{}: {note}\n", style.attention("note")));
    }
    text.push_str(&closing(answer, style));
    text
}

fn changes(answer: &Credentials, changed: &[&CredentialTarget], style: &Style) -> String {
    let revoking = answer.verb == CredentialVerb::Revoke;
    let header: &[&str] = if revoking {
        &["tenant", "login", "status"]
    } else {
        &["tenant", "login", "works until", "in place of", "which ends", "status"]
    };
    let mut rows = Vec::new();
    for target in changed {
        let word = target.status.word(answer.verb);
        let status = match target.status {
            CredentialStatus::Done | CredentialStatus::Finished => style.good(word),
            _ => style.attention(word),
        };
        for login in &target.logins {
            let mut row = vec![target.tenant.to_string(), login.login.as_str().to_owned()];
            if !revoking {
                let old = login.replaces.as_ref();
                row.push(end(login.until));
                row.push(old.map_or_else(|| "-".to_owned(), |(old, _)| old.as_str().to_owned()));
                row.push(old.map_or_else(|| "-".to_owned(), |(_, until)| end(*until)));
            }
            row.push(status.clone());
            rows.push(row);
        }
    }
    table(header, rows, style)
}

/// When a password stops working.
fn end(until: Validity) -> String {
    match until {
        Validity::Unsaid | Validity::Endless => "no end".to_owned(),
        Validity::Until(end) => moment(end),
        Validity::Ended => "now".to_owned(),
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Where passwords went, and passwords that were asked for.
fn places(changed: &[&CredentialTarget]) -> String {
    let mut text = String::new();
    let mut places: Vec<&String> = changed.iter().flat_map(|target| &target.delivered).collect();
    places.sort();
    places.dedup();
    match places[..] {
        [] => {}
        [only] => text.push_str(&format!("delivered to {only}\n")),
        [first, .., last] => text.push_str(&format!(
            "delivered to {}: {first} to {last}\n",
            count(places.len(), "place")
        )),
    }
    let mut shown: Vec<&Ident> = Vec::new();
    for secret in changed.iter().flat_map(|target| &target.secrets) {
        if !shown.contains(&&secret.role) {
            shown.push(&secret.role);
            text.push_str(&format!(
                "password of {}: {}\n",
                secret.role.as_str(),
                secret.password.expose()
            ));
        }
    }
    text
}

/// Why nothing was done, each reason once.
fn reasons(answer: &Credentials, style: &Style) -> String {
    let mut groups: Vec<(&str, Vec<&TenantId>)> = Vec::new();
    for target in &answer.targets {
        let Some(reason) = target.reason.as_deref() else { continue };
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, tenants)) => tenants.push(&target.tenant),
            None => groups.push((reason, vec![&target.tenant])),
        }
    }
    let left = groups.len().saturating_sub(READABLE);
    let mut text: String = groups
        .iter()
        .take(READABLE)
        .map(|(reason, tenants)| format!("{}: {reason}\n", style.strong(&grouped::names(tenants))))
        .collect();
    if left > 0 {
        text.push_str(&format!("and {left} more: -o json lists them all\n"));
    }
    text
}

fn notes(answer: &Credentials) -> Vec<String> {
    let mut notes = answer.notes.clone();
    let using: Vec<&LoginChange> = answer
        .targets
        .iter()
        .filter(|target| target.status == CredentialStatus::Done)
        .flat_map(|target| &target.logins)
        .filter(|login| login.old_sessions > 0)
        .collect();
    let sessions: usize = using.iter().map(|login| login.old_sessions).sum();
    if let Some(first) = using.first() {
        let login = first.replaces.as_ref().map_or(&first.login, |(old, _)| old);
        let more = match using.len() {
            1 => String::new(),
            more => format!(" and {} more", more - 1),
        };
        notes.push(format!(
            "{} of {}{more} {} open: they end by themselves, or with --end-sessions",
            count(sessions, "session"),
            login.as_str(),
            if sessions == 1 { "is" } else { "are" }
        ));
    }
    notes
}

fn closing(answer: &Credentials, style: &Style) -> String {
    let of = |status| answer.count(status);
    let (done, finished) = (of(CredentialStatus::Done), of(CredentialStatus::Finished));
    let mut parts = Vec::new();
    let what = match answer.verb {
        CredentialVerb::Issue => "given a password",
        CredentialVerb::Rotate | CredentialVerb::Revoke => answer.verb.done(),
    };
    if answer.dry_run {
        let pending = of(CredentialStatus::Pending);
        parts.push(format!("{} to be {what}", count(pending, "tenant")));
    } else {
        parts.push(format!("{} {what}", count(done, "tenant")));
    }
    for (number, word) in [
        (finished, "finished"),
        (of(CredentialStatus::Unchanged), "unchanged"),
        (of(CredentialStatus::Skipped), "skipped"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let failed = of(CredentialStatus::Failed);
    if failed > 0 {
        parts.push(style.bad(&format!("{failed} failed")));
    }
    let ended: usize = answer.targets.iter().map(|target| target.ended).sum();
    if ended > 0 {
        parts.push(format!("{} ended", count(ended, "session")));
    }
    let took = (!answer.dry_run).then_some(answer.took);
    grouped::closing(&parts, took, answer.stopped.as_deref(), answer.interrupted, style)
}

pub(super) fn json(answer: &Credentials) -> Value {
    let of = |status| answer.count(status);
    json!({
        "format": FORMAT,
        "command": answer.verb.word(),
        "dry_run": answer.dry_run,
        "interrupted": answer.interrupted,
        "stopped": answer.stopped,
        "notes": notes(answer),
        "summary": {
            "done": of(CredentialStatus::Done) + of(CredentialStatus::Finished),
            "unchanged": of(CredentialStatus::Unchanged),
            "pending": of(CredentialStatus::Pending),
            "skipped": of(CredentialStatus::Skipped),
            "failed": of(CredentialStatus::Failed),
        },
        "targets": answer.targets.iter().map(|one| target(answer, one)).collect::<Vec<_>>(),
    })
}

fn target(answer: &Credentials, target: &CredentialTarget) -> Value {
    let login = |login: &LoginChange| {
        json!({
            "role": login.role.as_str(),
            "login": login.login.as_str(),
            "valid_until": login.until.to_string(),
            "replaces": login.replaces.as_ref().map(|(old, until)| json!({
                "login": old.as_str(),
                "valid_until": until.to_string(),
                "sessions": login.old_sessions,
            })),
        })
    };
    let secrets: Vec<Value> = target
        .secrets
        .iter()
        .map(|one| json!({"role": one.role.as_str(), "password": one.password.expose()}))
        .collect();
    json!({
        "tenant": target.tenant.as_str(),
        "isolation": target.isolation.word(),
        "cluster": target.placement.cluster.as_str(),
        "database": target.placement.database.as_str(),
        "schema": target.placement.schema.as_str(),
        "status": target.status.word(answer.verb),
        "reason": target.reason,
        "logins": target.logins.iter().map(login).collect::<Vec<_>>(),
        "delivered": target.delivered,
        "credentials": secrets,
        "sessions_ended": target.ended,
        "error": target.error.as_ref().map(failure),
    })
}

pub(super) fn list(answer: &CredentialList, style: &Style) -> String {
    let mut text = String::new();
    if !answer.rows.is_empty() {
        let rows = answer.rows.iter().map(|row| listed(row, style)).collect();
        let header = ["tenant", "login", "state", "age", "works until", "sessions"];
        text.push_str(&table(&header, rows, style));
    }
    for (cluster, failure) in &answer.unread {
        text.push_str(&format!(
            "{}: {}\n",
            style.bad(&format!("cluster {cluster}")),
            failure.message
        ));
    }
    let of = |worry| answer.rows.iter().filter(|row| row.worry == Some(worry)).count();
    let mut parts = vec![count(answer.rows.len(), "login")];
    for (number, word) in [
        (of(Worry::Expired), "expired".to_owned()),
        (of(Worry::Old), format!("older than {}", age(answer.max_age))),
        (of(Worry::Expiring), "about to end".to_owned()),
        (of(Worry::Lingering), "ended with sessions open".to_owned()),
    ] {
        if number > 0 {
            parts.push(style.attention(&format!("{number} {word}")));
        }
    }
    text.push_str(&format!("{}\n", parts.join(", ")));
    text
}

fn listed(row: &CredentialRow, style: &Style) -> Vec<String> {
    let tenants: Vec<&TenantId> = row.tenants.iter().collect();
    let tenants = match tenants[..] {
        [only] => only.to_string(),
        [first, .., last] => format!("{first} … {last} ({})", tenants.len()),
        [] => "-".to_owned(),
    };
    let state = match row.worry {
        Some(worry @ (Worry::Expired | Worry::Old)) => style.bad(worry.word()),
        Some(worry) => style.attention(worry.word()),
        None => row.state.to_owned(),
    };
    vec![
        tenants,
        row.login.as_str().to_owned(),
        state,
        row.age.map_or_else(|| "-".to_owned(), age),
        match row.until {
            Validity::Unsaid | Validity::Endless => "no end".to_owned(),
            Validity::Until(end) => moment(end),
            Validity::Ended => "-".to_owned(),
        },
        row.sessions.to_string(),
    ]
}

/// An age in the unit that suits it.
pub(super) fn age(age: SignedDuration) -> String {
    let (hours, minutes) = (age.as_hours(), age.as_mins());
    if hours >= 48 {
        format!("{} d", hours / 24)
    } else if minutes >= 120 {
        format!("{hours} h")
    } else {
        format!("{} min", minutes.max(0))
    }
}

/// How old a current password is, where that is known.
pub(super) fn known_age(password: Option<&KnownPassword>) -> String {
    password.and_then(|password| password.age).map_or_else(|| "-".to_owned(), age)
}

/// A current password, in a line.
pub(super) fn known(password: &KnownPassword) -> String {
    let mut text = password.login.as_str().to_owned();
    if let Some(old) = password.age {
        text.push_str(&format!(", {} old", age(old)));
    }
    if let Validity::Until(end) = password.until {
        text.push_str(&format!(", works until {}", moment(end)));
    }
    text
}

/// A current password, as the registry knows it.
pub(super) fn known_json(password: &KnownPassword) -> Value {
    json!({
        "login": password.login.as_str(),
        "issued": password.issued.map(|at| at.to_string()),
        "age_days": password.age.map(|age| age.as_hours() / 24),
        "valid_until": password.until.to_string(),
    })
}

pub(super) fn list_json(answer: &CredentialList) -> Value {
    let row = |row: &CredentialRow| {
        json!({
            "tenants": row.tenants.iter().map(TenantId::as_str).collect::<Vec<_>>(),
            "cluster": row.cluster.as_str(),
            "role": row.role.as_str(),
            "login": row.login.as_str(),
            "state": row.state,
            "issued": row.issued.map(|at| at.to_string()),
            "age_days": row.age.map(|age| age.as_hours() / 24),
            "valid_until": row.until.to_string(),
            "sessions": row.sessions,
            "worry": row.worry.map(Worry::word),
        })
    };
    let unread = |(cluster, why): &(crate::model::tenant::ClusterName, Failure)| json!({"cluster": cluster.as_str(), "error": failure(why)});
    json!({
        "format": FORMAT,
        "max_age_days": answer.max_age.as_hours() / 24,
        "credentials": answer.rows.iter().map(row).collect::<Vec<_>>(),
        "unread": answer.unread.iter().map(unread).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_well() {
        for (hours, text) in [(0, "0 min"), (1, "60 min"), (5, "5 h"), (49, "2 d"), (2400, "100 d")]
        {
            assert_eq!(age(SignedDuration::from_hours(hours)), text);
        }
    }
}
