//! One unit: under its lock, its passwords are made, delivered, told to the server and recorded.

use serde_json::{Value, json};

use super::change::{ChangeOptions, documents};
use super::document::Entry;
use super::{Row, Unit, answered, deed, password, read};
use crate::error::{Code, Error};
use crate::model::credential::{Issued, IssuedState, Logins, Validity};
use crate::model::ident::Ident;
use crate::model::interrupt::Interrupt;
use crate::model::secret::Secret;
use crate::model::tenant::{State, Tenant};
use crate::ops::Context;
use crate::pg::{self, Session, Sessions, Work, registry};
use crate::plan::Plan;
use crate::plan::credentials::{Changeover, Pair, Turn, Wish, activate, decide, prepare};
use crate::report::{Credential, CredentialStatus, LoginChange};

/// What is to be done for all roles of a unit: their passwords are delivered together.
pub(super) enum Turns {
    Nothing(String),
    Record(Vec<Changeover>),
    Issue(Vec<Changeover>),
}

pub(super) fn turns(
    pairs: &[Pair],
    options: &ChangeOptions,
    logins: &Logins,
) -> Result<Turns, Error> {
    let decided: Vec<Turn> = pairs
        .iter()
        .map(|pair| decide(pair, options.wish, logins.now))
        .collect::<Result<_, _>>()?;
    let recorded: Vec<Changeover> = decided
        .iter()
        .filter_map(|turn| match turn {
            Turn::Record(change) => Some(change.clone()),
            _ => None,
        })
        .collect();
    if !recorded.is_empty() {
        return Ok(Turns::Record(recorded));
    }
    let reason = decided.iter().find_map(|turn| match turn {
        Turn::Nothing(reason) => Some(reason.clone()),
        _ => None,
    });
    if let Some(reason) = reason
        && decided.iter().all(|turn| matches!(turn, Turn::Nothing(_)))
    {
        return Ok(Turns::Nothing(reason));
    }
    // One is due, so all are: a document holds all of them.
    let wish = match options.wish {
        Wish::Rotate { grace, now, valid_for, .. } => {
            Wish::Rotate { max_age: None, grace, now, valid_for }
        }
        issue @ Wish::Issue { .. } => issue,
    };
    let changes = pairs.iter().map(|pair| match decide(pair, wish, logins.now)? {
        Turn::Issue(change) => Ok(change),
        Turn::Record(_) | Turn::Nothing(_) => Err(Error::new(
            Code::Refused,
            format!("the roles of one tenant stand differently: {} cannot change now", pair.role()),
        )
        .hint("see how with: tenantctl credentials list")
        .hint("begin anew with: tenantctl credentials revoke, then issue")),
    });
    Ok(Turns::Issue(changes.collect::<Result<_, _>>()?))
}

/// Changes one unit's passwords under its lock.
pub(super) async fn locked(
    cx: &Context<'_>,
    control: &Session,
    unit: &Unit,
    options: &ChangeOptions,
) -> Result<Row, Error> {
    let held = pg::hold(control, unit.lock(), options.lock_wait).await?;
    let done = Box::pin(change(cx, control, unit, options)).await;
    // A session that failed has given the lock back by ending; the other failure matters.
    let released = held.release().await;
    let row = done?;
    released?;
    Ok(row)
}

async fn change(
    cx: &Context<'_>,
    control: &Session,
    unit: &Unit,
    options: &ChangeOptions,
) -> Result<Row, Error> {
    // What was read before the lock may have changed.
    for tenant in &unit.tenants {
        let state = registry::find(control, &tenant.id).await?.map(|tenant| tenant.state);
        if state != Some(State::Active) {
            let now = state.map_or("gone", State::word);
            return Ok(Row::skipped(format!("it is {now} by now")));
        }
    }
    let server = cx.servers.session(&unit.cluster, None).await?;
    let (mut logins, mut pairs) = read(control, &server, unit).await?;
    let event = options.event();
    let (changes, recorded) = match turns(&pairs, options, &logins)? {
        Turns::Nothing(reason) => {
            return Ok(Row {
                status: Some(CredentialStatus::Unchanged),
                reason: Some(reason),
                ..Row::default()
            });
        }
        Turns::Issue(changes) => (changes, Vec::new()),
        Turns::Record(recorded) => {
            let work = async {
                record(control, unit, &pairs, &recorded).await?;
                Ok(((), json!({"recorded": true})))
            };
            let deed = deed(cx, unit, event, options.run, &audited(&recorded));
            Box::pin(answered(cx, control, deed, work)).await?;
            // What was replaced in good time is not what is asked for when it is urgent.
            let ended = |change: &Changeover| {
                change.replaces.as_ref().is_none_or(|(_, until)| *until == Validity::Ended)
            };
            if !options.at_once() || recorded.iter().all(ended) {
                (Vec::new(), recorded)
            } else {
                (logins, pairs) = read(control, &server, unit).await?;
                match turns(&pairs, options, &logins)? {
                    Turns::Issue(changes) => (changes, Vec::new()),
                    Turns::Nothing(_) | Turns::Record(_) => (Vec::new(), recorded),
                }
            }
        }
    };
    if changes.is_empty() {
        let ended =
            if options.end_sessions { end_sessions(&server, &pairs, &recorded).await? } else { 0 };
        return Ok(Row {
            status: Some(CredentialStatus::Finished),
            logins: told(&pairs, &recorded),
            ended,
            ..Row::default()
        });
    }
    let deed = deed(cx, unit, event, options.run, &audited(&changes));
    let work = async {
        let issuing =
            Issuing { cx, control, server: &server, unit, options, logins: &logins, pairs: &pairs };
        let (delivered, secrets) = issuing.issue(&changes).await?;
        let ended =
            if options.end_sessions { end_sessions(&server, &pairs, &changes).await? } else { 0 };
        let mut told = told(&pairs, &changes);
        if options.end_sessions {
            for login in &mut told {
                login.old_sessions = 0;
            }
        }
        let row = Row {
            status: Some(CredentialStatus::Done),
            logins: told,
            delivered,
            secrets: if options.delivery.show { secrets } else { Vec::new() },
            ended,
            ..Row::default()
        };
        Ok((row, json!({"sessions_ended": ended})))
    };
    Box::pin(answered(cx, control, deed, work)).await
}

/// What issuing needs.
struct Issuing<'a> {
    cx: &'a Context<'a>,
    control: &'a Session,
    server: &'a Session,
    unit: &'a Unit,
    options: &'a ChangeOptions,
    logins: &'a Logins,
    pairs: &'a [Pair],
}

impl Issuing<'_> {
    /// Delivers new passwords, then tells the server, then the registry.
    async fn issue(&self, changes: &[Changeover]) -> Result<(Vec<String>, Vec<Credential>), Error> {
        let Self { cx, control, unit, options, logins, pairs, .. } = *self;
        let tenant = &unit.tenants[0].id;
        self.prepare(changes).await?;
        cx.interrupt.check(&format!("credentials {}", options.verb().word()))?;
        let passwords: Vec<Secret> =
            changes.iter().map(|_| password::generate()).collect::<Result<_, _>>()?;
        self.announce(changes).await?;
        let delivered = self.deliver(changes, &passwords).await?;
        let turns: Vec<_> = changes
            .iter()
            .zip(&passwords)
            .map(|(change, secret)| (change.clone(), password::verifier(secret)))
            .collect();
        let plan = activate(tenant, unit.reach(), &turns, logins);
        carry_out(cx, control, self.server, &unit.tenants[0], &plan).await?;
        record(control, unit, pairs, changes).await?;
        let secrets = changes
            .iter()
            .zip(passwords)
            .map(|(change, password)| Credential { role: change.login.clone(), password })
            .collect();
        Ok((delivered, secrets))
    }

    /// Makes the logins what they must be before they have a password.
    async fn prepare(&self, changes: &[Changeover]) -> Result<(), Error> {
        let Self { cx, control, unit, .. } = *self;
        let tenant = &unit.tenants[0].id;
        let (mut logins, mut pairs) = (self.logins.clone(), self.pairs.to_vec());
        let mut met = false;
        loop {
            let done = async {
                for (pair, change) in pairs.iter().zip(changes) {
                    let plan = prepare(tenant, unit.reach(), pair, change.next, &logins)?;
                    carry_out(cx, control, self.server, &unit.tenants[0], &plan).await?;
                }
                Ok(())
            };
            match done.await {
                // What a killed run has asked for, the server finishes after the run's lock is gone.
                Err(error) if !met && is_there_by_now(&error) => {
                    log::info!("looking again: {error}");
                    met = true;
                    (logins, pairs) = read(control, self.server, unit).await?;
                }
                done => return done,
            }
        }
    }

    /// Tells the registry what is about to happen, so that the next run can tell whether it did.
    async fn announce(&self, changes: &[Changeover]) -> Result<(), Error> {
        let row = |(pair, change): (&Pair, &Changeover)| Issued {
            login: change.login.clone(),
            role: pair.role().clone(),
            state: IssuedState::Issuing,
            issued: Some(self.logins.now),
            until: change.until,
            replaces_until: change.replaces.as_ref().map(|(_, until)| *until),
        };
        let rows: Vec<Issued> = self.pairs.iter().zip(changes).map(row).collect();
        pg::credentials::write(self.control, &self.unit.cluster, &rows).await
    }

    async fn deliver(
        &self,
        changes: &[Changeover],
        passwords: &[Secret],
    ) -> Result<Vec<String>, Error> {
        let Self { cx, unit, options, pairs, .. } = *self;
        let known: Vec<&Ident> =
            pairs.iter().flat_map(|pair| [&pair.first.name, &pair.second.name]).collect();
        let entries = || {
            let entry = |((pair, change), password)| entry(pair, change, password);
            pairs.iter().zip(changes).zip(passwords).map(entry).collect()
        };
        let mut delivered = Vec::new();
        for document in documents(cx, unit, &options.delivery, entries)? {
            delivered.extend(options.delivery.deliver(&document, &known).await?);
        }
        Ok(delivered)
    }
}

/// Whether what was to be made is there already.
fn is_there_by_now(error: &Error) -> bool {
    let sqlstate = error.answer.as_ref().map(|answer| answer.sqlstate.as_str());
    matches!(sqlstate, Some("42710" | "23505"))
}

fn entry<'a>(pair: &'a Pair, change: &'a Changeover, password: &'a Secret) -> Entry<'a> {
    Entry {
        role: pair.role(),
        login: &change.login,
        password,
        until: change.until,
        replaces: change.replaces.as_ref(),
    }
}

/// Tells the registry what has happened.
async fn record(
    control: &Session,
    unit: &Unit,
    pairs: &[Pair],
    changes: &[Changeover],
) -> Result<(), Error> {
    let mut rows = Vec::new();
    for change in changes {
        let Some(pair) = pairs
            .iter()
            .find(|pair| pair.first.name == change.login || pair.second.name == change.login)
        else {
            continue;
        };
        let role = pair.role().clone();
        if let Some((login, until)) = &change.replaces {
            rows.push(Issued {
                login: login.clone(),
                role: role.clone(),
                state: IssuedState::Replaced,
                issued: None,
                until: *until,
                replaces_until: None,
            });
        }
        rows.push(Issued {
            login: change.login.clone(),
            role,
            state: IssuedState::Current,
            issued: None,
            until: change.until,
            replaces_until: None,
        });
    }
    pg::credentials::write(control, &unit.cluster, &rows).await
}

/// Carries out a plan to its end, whoever asks to stop: half of a change locks somebody out.
pub(super) async fn carry_out(
    cx: &Context<'_>,
    control: &Session,
    server: &Session,
    tenant: &Tenant,
    plan: &Plan,
) -> Result<(), Error> {
    let work = Work {
        tenant,
        set: cx.sets.of(tenant.isolation),
        limits: pg::Limits::default(),
        lock_wait: std::time::Duration::ZERO,
        interrupt: &Interrupt::default(),
    };
    let sessions = Sessions { registry: control, server };
    let nowhere = async |_: Ident| -> Result<Session, Error> {
        Err(Error::new(Code::Bug, "a password is no matter of one database"))
    };
    pg::run(plan, &work, &sessions, nowhere, &crate::report::event::Nobody).await
}

/// Ends the sessions that began with a password that is replaced: all of the old login's, and those
/// of the new one that began before it had the new password.
async fn end_sessions(
    server: &Session,
    pairs: &[Pair],
    changes: &[Changeover],
) -> Result<usize, Error> {
    let now = pg::clock(server).await?;
    let mut ended = 0;
    for (pair, change) in pairs.iter().zip(changes) {
        if let Some((old, _)) = &change.replaces {
            ended += pg::credentials::end_sessions(server, old, None).await?;
        }
        // A login that was just made has none.
        if pair.get(change.next).facts.is_some() {
            ended += pg::credentials::end_sessions(server, &change.login, Some(now)).await?;
        }
    }
    Ok(ended)
}

/// What changes, as the answer says it.
pub(super) fn told(pairs: &[Pair], changes: &[Changeover]) -> Vec<LoginChange> {
    changes
        .iter()
        .filter_map(|change| {
            let pair = pairs
                .iter()
                .find(|pair| pair.first.name == change.login || pair.second.name == change.login)?;
            let old = change.replaces.as_ref().and_then(|(old, _)| {
                [&pair.first, &pair.second].into_iter().find(|login| login.name == *old)
            });
            let sessions = old.and_then(|old| old.facts.as_ref()).map_or(0, |facts| facts.sessions);
            Some(LoginChange {
                role: pair.role().clone(),
                login: change.login.clone(),
                until: change.until,
                replaces: change.replaces.clone(),
                old_sessions: usize::try_from(sessions).unwrap_or(0),
            })
        })
        .collect()
}

/// What the audit log keeps of the logins that change.
fn audited(changes: &[Changeover]) -> Value {
    let change = |change: &Changeover| {
        json!({
            "login": change.login.as_str(),
            "valid_until": change.until.to_string(),
            "replaces": change.replaces.as_ref().map(|(login, until)| json!({
                "login": login.as_str(),
                "valid_until": until.to_string(),
            })),
        })
    };
    changes.iter().map(change).collect()
}
