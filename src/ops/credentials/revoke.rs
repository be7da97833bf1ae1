//! Takes passwords away.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::json;
use uuid::Uuid;

use super::issue::carry_out;
use super::{AT_ONCE, Row, Unit, answered, deed, read, units};
use crate::error::Error;
use crate::model::credential::{Issued, IssuedState, Validity};
use crate::model::tenant::State;
use crate::ops::{Consent, Context, Selection};
use crate::pg::{self, Session, registry};
use crate::plan::credentials::{Login, Pair, Standing, Which, revoke};
use crate::report::event::Event;
use crate::report::{
    CredentialStatus, CredentialTarget, CredentialVerb, Credentials, LoginChange, Report,
};

/// How `credentials revoke` goes about it.
#[derive(Clone, Debug)]
pub struct RevokeOptions {
    /// Whom it is about.
    pub selection: Selection,
    /// Only what a rotation has replaced.
    pub old: bool,
    /// Whether sessions that began with what is taken away are ended.
    pub end_sessions: bool,
    /// Say what would be done.
    pub dry_run: bool,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// What the events of this run have in common in the audit log.
    pub run: Uuid,
}

/// Takes the passwords of the selected tenants away: what was replaced and still has its grace, or
/// everything.
///
/// # Errors
///
/// When nobody knows the tenants, when a role serves tenants that were not selected, and when nobody
/// agrees. What goes wrong with one tenant is part of the answer.
pub async fn revoke_credentials(
    cx: &Context<'_>,
    options: &RevokeOptions,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (units, skipped) = units(cx, &options.selection, &State::ALL).await?;
    for unit in units.iter().filter(|_| !options.old) {
        unit.refuse_others("take away the password")?;
    }
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    if !options.dry_run {
        if !options.old {
            let preview = RevokeOptions { dry_run: true, ..options.clone() };
            let targets = run(cx, &control, &units, &preview).await;
            consent.given(&Report::Credentials(report(cx, true, targets, started)))?;
        }
        registry::ensure(&control, cx.sets.registry()).await?;
    }
    let mut targets = run(cx, &control, &units, options).await;
    targets.extend(skipped);
    Ok(Report::Credentials(report(cx, options.dry_run, targets, started)))
}

fn report(
    cx: &Context<'_>,
    dry_run: bool,
    mut targets: Vec<CredentialTarget>,
    started: Instant,
) -> Credentials {
    targets.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    Credentials {
        verb: CredentialVerb::Revoke,
        dry_run,
        targets,
        notes: Vec::new(),
        stopped: None,
        interrupted: cx.interrupt.is_raised(),
        took: started.elapsed(),
    }
}

async fn run(
    cx: &Context<'_>,
    control: &Session,
    units: &[Unit],
    options: &RevokeOptions,
) -> Vec<CredentialTarget> {
    if !options.dry_run {
        let what = CredentialVerb::Revoke.word();
        cx.observer.on(&Event::RunStarted { what, run: None, targets: units.len(), clusters: &[] });
    }
    let rows: Vec<Vec<CredentialTarget>> = stream::iter(units)
        .map(|unit| async {
            let row = if cx.interrupt.is_raised() {
                Row::skipped("the run was interrupted before")
            } else {
                one(cx, control, unit, options).await.unwrap_or_else(|error| Row::failed(&error))
            };
            unit.targets(&row).collect()
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    if !options.dry_run {
        cx.observer.on(&Event::RunDone);
    }
    rows.into_iter().flatten().collect()
}

async fn one(
    cx: &Context<'_>,
    control: &Session,
    unit: &Unit,
    options: &RevokeOptions,
) -> Result<Row, Error> {
    if options.dry_run {
        return take_away(cx, control, unit, options).await;
    }
    let began = Instant::now();
    let name = unit.name();
    cx.observer.on(&Event::TargetStarted { cluster: Some(&unit.cluster), target: &name });
    let held = pg::hold(control, unit.lock(), options.lock_wait).await?;
    let done = take_away(cx, control, unit, options).await;
    let released = held.release().await;
    let outcome = match &done {
        Ok(row) => row.status.map_or("", |status| status.word(CredentialVerb::Revoke)).to_owned(),
        Err(error) => error.to_string(),
    };
    cx.observer.on(&Event::TargetDone {
        cluster: Some(&unit.cluster),
        target: &name,
        rows: &[],
        outcome,
        failed: done.is_err(),
        took: began.elapsed(),
    });
    let row = done?;
    released?;
    Ok(row)
}

/// The logins of a role whose passwords go.
fn ended(pair: &Pair, old_only: bool) -> Vec<&Login> {
    let current = match pair.standing() {
        Standing::Current(which) | Standing::Unrecorded(which) => Some(which),
        Standing::Unknown => Some(Which::First),
        Standing::None => None,
    };
    [Which::First, Which::Second]
        .into_iter()
        .filter(|which| !old_only || Some(*which) != current)
        .map(|which| pair.get(which))
        .filter(|login| login.facts.is_some())
        .collect()
}

async fn take_away(
    cx: &Context<'_>,
    control: &Session,
    unit: &Unit,
    options: &RevokeOptions,
) -> Result<Row, Error> {
    let server = cx.servers.session(&unit.cluster, None).await?;
    let (logins, pairs) = read(control, &server, unit).await?;
    let ended: Vec<(&Pair, &Login)> = pairs
        .iter()
        .flat_map(|pair| ended(pair, options.old).into_iter().map(move |login| (pair, login)))
        .collect();
    let all: Vec<&Login> = ended.iter().map(|(_, login)| *login).collect();
    let plan = revoke(&unit.tenants[0].id, unit.reach(), &all, &logins);
    let change = |(pair, login): &(&Pair, &Login)| {
        let sessions = login.facts.as_ref().map_or(0, |facts| facts.sessions);
        LoginChange {
            role: pair.role().clone(),
            login: login.name.clone(),
            until: Validity::Ended,
            replaces: None,
            old_sessions: usize::try_from(sessions).unwrap_or(0),
        }
    };
    let lingering = all.iter().any(|login| login.facts.as_ref().is_some_and(|f| f.sessions > 0));
    if plan.is_empty() && !(options.end_sessions && lingering) {
        let reason =
            if options.old { "no password that was replaced works" } else { "no password works" };
        return Ok(Row {
            status: Some(CredentialStatus::Unchanged),
            reason: Some(reason.to_owned()),
            ..Row::default()
        });
    }
    let mut changes: Vec<LoginChange> = ended.iter().map(change).collect();
    if options.dry_run {
        return Ok(Row {
            status: Some(CredentialStatus::Pending),
            logins: changes,
            ..Row::default()
        });
    }
    let named = json!(all.iter().map(|login| login.name.as_str()).collect::<Vec<_>>());
    let deed = deed(cx, unit, "credentials revoke", options.run, &named);
    let work = async {
        carry_out(cx, control, &server, &unit.tenants[0], &plan).await?;
        let rows: Vec<Issued> = ended
            .iter()
            .map(|(pair, login)| Issued {
                login: login.name.clone(),
                role: pair.role().clone(),
                state: IssuedState::Revoked,
                issued: None,
                until: Validity::Ended,
                replaces_until: None,
            })
            .collect();
        pg::credentials::write(control, &unit.cluster, &rows).await?;
        let mut sessions = 0;
        if options.end_sessions {
            for login in &all {
                sessions += pg::credentials::end_sessions(&server, &login.name, None).await?;
            }
            for change in &mut changes {
                change.old_sessions = 0;
            }
        }
        let row = Row {
            status: Some(CredentialStatus::Done),
            logins: changes,
            ended: sessions,
            ..Row::default()
        };
        Ok((row, json!({"sessions_ended": sessions})))
    };
    Box::pin(answered(cx, control, deed, work)).await
}
