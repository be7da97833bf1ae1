//! `audit log` and `audit verify`, for people and as JSON.

use serde_json::{Value, json};

use super::json::FORMAT;
use super::layout::table;
use super::style::Style;
use crate::model::count;
use crate::model::trail::{LoggedEvent, Outcome, Tampering};
use crate::report::{Log, LogVerified};

/// So many breaks of the chain are told one by one.
const READABLE: usize = 20;

pub(super) fn log(answer: &Log, style: &Style) -> String {
    if answer.events.is_empty() {
        let why = if answer.kept { "that fit" } else { "yet, and no registry to keep them" };
        return format!("no events {why}\n");
    }
    let rows = answer.events.iter().map(|event| row(event, style)).collect();
    let mut text = table(&["nr", "at", "who", "tenant", "event", "outcome", "what"], rows, style);
    if answer.more {
        text.push_str("there are older ones: see more with --limit\n");
    }
    text
}

fn row(event: &LoggedEvent, style: &Style) -> Vec<String> {
    let seconds = event.at.split('.').next().unwrap_or(&event.at);
    vec![
        event.id.to_string(),
        format!("{}Z", seconds.trim_end_matches('Z')),
        who(event),
        event.tenant.clone().unwrap_or_else(|| "-".to_owned()),
        event.event.clone(),
        match event.outcome {
            None => "-".to_owned(),
            Some(Outcome::Begun) => style.attention(Outcome::Begun.word()),
            Some(Outcome::Done) => style.good(Outcome::Done.word()),
            Some(Outcome::Failed) => style.bad(Outcome::Failed.word()),
        },
        what(event),
    ]
}

/// The role, and the person behind it as the process says.
fn who(event: &LoggedEvent) -> String {
    match (event.origin["user"].as_str(), event.origin["host"].as_str()) {
        (Some(user), Some(host)) => format!("{} ({user}@{host})", event.actor),
        _ => event.actor.clone(),
    }
}

/// What tells one event from the next: how the state changed, why it failed, what was typed.
fn what(event: &LoggedEvent) -> String {
    let state = |value: &Value| value["state"].as_str().map(str::to_owned);
    let detail = &event.detail;
    if let Some(message) = detail["error"]["message"].as_str() {
        return message.to_owned();
    }
    match (state(&event.before), state(&event.after)) {
        (Some(before), Some(after)) if before != after => return format!("{before} -> {after}"),
        _ => {}
    }
    if let Some(state) = state(detail) {
        return state;
    }
    detail["reason"].as_str().map(str::to_owned).or_else(|| event.asked.clone()).unwrap_or_default()
}

pub(super) fn log_json(answer: &Log) -> Value {
    json!({
        "format": FORMAT,
        "events": answer.events.iter().map(event_json).collect::<Vec<_>>(),
        "more": answer.more,
    })
}

fn event_json(event: &LoggedEvent) -> Value {
    json!({
        "id": event.id,
        "at": event.at,
        "tenant": event.tenant,
        "event": event.event,
        "outcome": event.outcome.map(Outcome::word),
        "actor": event.actor,
        "application": event.application,
        "client": event.client,
        "origin": event.origin,
        "run": event.run.map(|run| run.to_string()),
        "asked": event.asked,
        "before": event.before,
        "after": event.after,
        "detail": event.detail,
        "hash": event.hash.to_string(),
    })
}

pub(super) fn verified(answer: &LogVerified, style: &Style) -> String {
    let mut text = String::new();
    for tampering in answer.tampered.iter().take(READABLE) {
        text.push_str(&format!("{}: {tampering}\n", style.bad(tampering.word())));
    }
    if answer.tampered.len() > READABLE {
        text.push_str(&format!("and {} more\n", answer.tampered.len() - READABLE));
    }
    let events = count(usize::try_from(answer.events).unwrap_or(usize::MAX), "event");
    if answer.tampered.is_empty() {
        let known =
            if answer.expected.is_some() { ", and the expected one is among them" } else { "" };
        text.push_str(&format!("{}: {events} in one chain{known}\n", style.good("whole")));
    } else {
        text.push_str(&format!(
            "{}: {} in a log of {events}\n",
            style.bad("broken"),
            count(answer.tampered.len(), "break")
        ));
    }
    text.push_str(&format!("head  {}\n", answer.head.hash));
    if answer.tampered.is_empty() && answer.expected.is_none() {
        text.push_str(
            "keep the head where the registry's owner cannot write, and give it next time: --expect-head HASH\n",
        );
    }
    text
}

pub(super) fn verified_json(answer: &LogVerified) -> Value {
    json!({
        "format": FORMAT,
        "whole": answer.tampered.is_empty(),
        "events": answer.events,
        "head": {"id": answer.head.id, "hash": answer.head.hash.to_string()},
        "expected": answer.expected.map(|hash| hash.to_string()),
        "tampered": answer.tampered.iter().map(tampering_json).collect::<Vec<_>>(),
    })
}

fn tampering_json(tampering: &Tampering) -> Value {
    let events = tampering.events();
    json!({
        "what": tampering.word(),
        "from": events.map(|(from, _)| from),
        "to": events.map(|(_, to)| to),
        "message": tampering.to_string(),
    })
}
