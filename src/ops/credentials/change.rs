//! Gives roles new passwords, the old ones their grace, and the registry the dates.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use uuid::Uuid;

use super::document::{Document, Entry};
use super::issue::{Turns, locked, told, turns};
use super::sink::Delivery;
use super::{AT_ONCE, Row, Unit, read, units};
use crate::error::{Code, Error};
use crate::model::credential::Validity;
use crate::model::secret::Secret;
use crate::model::tenant::{State, Tenant};
use crate::ops::{Consent, Context, Selection};
use crate::pg::{Session, registry};
use crate::plan::credentials::{Wish, prepare};
use crate::plan::waves::Share;
use crate::report::event::Event;
use crate::report::{CredentialStatus, CredentialTarget, CredentialVerb, Credentials, Report};

/// How `credentials issue` and `rotate` go about it.
#[derive(Clone, Debug)]
pub struct ChangeOptions {
    /// Whom it is about.
    pub selection: Selection,
    /// What is asked for.
    pub wish: Wish,
    /// Whether sessions that began with what is replaced are ended.
    pub end_sessions: bool,
    /// Where the passwords go.
    pub delivery: Delivery,
    /// Say what would be done.
    pub dry_run: bool,
    /// More failures end the run.
    pub max_failures: Option<Share>,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// What the events of this run have in common in the audit log.
    pub run: Uuid,
}

impl ChangeOptions {
    /// The command, as the audit log has it.
    pub(super) fn event(&self) -> &'static str {
        match self.wish {
            Wish::Issue { .. } => "credentials issue",
            Wish::Rotate { .. } => "credentials rotate",
        }
    }

    pub(super) fn verb(&self) -> CredentialVerb {
        match self.wish {
            Wish::Issue { .. } => CredentialVerb::Issue,
            Wish::Rotate { .. } => CredentialVerb::Rotate,
        }
    }

    pub(super) fn at_once(&self) -> bool {
        matches!(self.wish, Wish::Rotate { now: true, .. })
    }
}

/// Gives the roles of the selected tenants passwords: first ones, or new ones in their place.
///
/// A password is delivered before its server knows it: a run that dies leaves none that nobody has.
/// The next run touches what is left.
///
/// # Errors
///
/// When nobody knows the tenants, when there is nowhere to deliver to, when two deliveries would
/// meet in one place, and when nobody agrees to end what is in use. What goes wrong with one tenant
/// is part of the answer.
pub async fn change_credentials(
    cx: &Context<'_>,
    options: &ChangeOptions,
    consent: &dyn Consent,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let delivery = &options.delivery;
    if !options.dry_run && delivery.sinks.is_empty() && !delivery.show {
        return Err(Error::new(Code::Usage, "say where the passwords go")
            .hint("use --to file:PATH, --to-command COMMAND or --show")
            .into());
    }
    let (units, mut targets) = units(cx, &options.selection, &[State::Active]).await?;
    refuse_meetings(cx, &units, delivery)?;
    if options.at_once() {
        for unit in &units {
            unit.refuse_others("replace at once the password")?;
        }
    }
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.dedicated(cluster, Some(database)).await?;
    if !options.dry_run {
        if options.at_once() {
            let preview = ChangeOptions { dry_run: true, ..options.clone() };
            let preview = run(cx, &control, &units, &preview).await;
            let report = report(cx, options, true, preview.targets, None, started);
            consent.given(&Report::Credentials(report))?;
        }
        registry::ensure(&control, cx.sets.registry()).await?;
    }
    let ran = run(cx, &control, &units, options).await;
    targets.extend(ran.targets);
    let mut report = report(cx, options, options.dry_run, targets, ran.stopped, started);
    for unit in units.iter().filter(|unit| !unit.others.is_empty()) {
        report.notes.push(format!(
            "role {} logs in for {} that {} not selected: the new password is for them as well",
            unit.roles[0],
            crate::model::count(unit.others.len(), "tenant"),
            if unit.others.len() == 1 { "was" } else { "were" }
        ));
    }
    Ok(Report::Credentials(report))
}

fn report(
    cx: &Context<'_>,
    options: &ChangeOptions,
    dry_run: bool,
    mut targets: Vec<CredentialTarget>,
    stopped: Option<String>,
    started: Instant,
) -> Credentials {
    targets.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    Credentials {
        verb: options.verb(),
        dry_run,
        targets,
        notes: Vec::new(),
        stopped,
        interrupted: cx.interrupt.is_raised(),
        took: started.elapsed(),
    }
}

/// Refuses a place that two deliveries would share: the second would overwrite the first.
fn refuse_meetings(cx: &Context<'_>, units: &[Unit], delivery: &Delivery) -> Result<(), Error> {
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let none = Secret::new("");
    for unit in units {
        let entry = |role| Entry {
            role,
            login: role,
            password: &none,
            until: Validity::Endless,
            replaces: None,
        };
        for document in documents(cx, unit, delivery, || unit.roles.iter().map(entry).collect())? {
            let whose: Vec<&str> = document.tenants.iter().map(|id| id.as_str()).collect();
            let whose = whose.join(", ");
            for name in delivery.names(&document) {
                if let Some(other) = places.insert(name.clone(), whose.clone()) {
                    return Err(Error::new(
                        Code::Usage,
                        format!("the passwords of {other} and of {whose} would both go to {name}"),
                    )
                    .hint("put {tenant} into the name, or {role} where tenants share a role"));
                }
            }
        }
    }
    Ok(())
}

/// What is delivered for a unit: one document, or one for each of its tenants.
pub(super) fn documents<'a>(
    cx: &'a Context<'_>,
    unit: &'a Unit,
    delivery: &Delivery,
    entries: impl Fn() -> Vec<Entry<'a>>,
) -> Result<Vec<Document<'a>>, Error> {
    let connection = &cx.fleet.cluster(&unit.cluster)?.connection;
    let groups: Vec<Vec<&Tenant>> = if delivery.per_tenant() {
        unit.tenants.iter().map(|tenant| vec![tenant]).collect()
    } else {
        vec![unit.tenants.iter().collect()]
    };
    let document = |tenants: Vec<&'a Tenant>| {
        let first = &tenants[0].placement;
        let one_database = tenants.iter().all(|other| other.placement.database == first.database);
        let one_schema = tenants.iter().all(|other| other.placement.schema == first.schema);
        Document {
            tenants: tenants.iter().map(|tenant| &tenant.id).collect(),
            cluster: &unit.cluster,
            database: one_database.then_some(&first.database),
            schema: one_schema.then_some(&first.schema),
            entries: entries(),
            connection,
        }
    };
    Ok(groups.into_iter().map(document).collect())
}

struct Ran {
    targets: Vec<CredentialTarget>,
    stopped: Option<String>,
}

/// Goes through the units, several at a time, until more have failed than may.
async fn run(cx: &Context<'_>, control: &Session, units: &[Unit], options: &ChangeOptions) -> Ran {
    let all: usize = units.iter().map(|unit| unit.tenants.len()).sum();
    let budget = options.max_failures.map(|share| share.of(all));
    let failed = Cell::new(0);
    let spent = || budget.is_some_and(|budget| failed.get() > budget);
    let what = options.verb().word();
    if !options.dry_run {
        cx.observer.on(&Event::RunStarted { what, run: None, targets: units.len(), clusters: &[] });
    }
    let rows: Vec<Vec<CredentialTarget>> = stream::iter(units)
        .map(|unit| async {
            let row = if cx.interrupt.is_raised() {
                Row::skipped("the run was interrupted before")
            } else if spent() {
                Row::skipped("the run had ended before")
            } else {
                watched(cx, control, unit, options).await
            };
            if row.status == Some(CredentialStatus::Failed) {
                failed.set(failed.get() + unit.tenants.len());
            }
            unit.targets(&row).collect()
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    if !options.dry_run {
        cx.observer.on(&Event::RunDone);
    }
    let stopped = spent().then(|| {
        let most = options.max_failures.map_or_else(String::new, |share| share.to_string());
        format!("{} failed, and --max-failures allows {most}", failed.get())
    });
    Ran { targets: rows.into_iter().flatten().collect(), stopped }
}

async fn watched(cx: &Context<'_>, control: &Session, unit: &Unit, options: &ChangeOptions) -> Row {
    if options.dry_run {
        return preview(cx, control, unit, options).await.unwrap_or_else(|e| Row::failed(&e));
    }
    let began = Instant::now();
    let name = unit.name();
    cx.observer.on(&Event::TargetStarted { cluster: Some(&unit.cluster), target: &name });
    let done = locked(cx, control, unit, options).await;
    let row = match done {
        Ok(row) => row,
        Err(error) => Row::failed(&error),
    };
    cx.observer.on(&Event::TargetDone {
        cluster: Some(&unit.cluster),
        target: &name,
        rows: &[],
        outcome: match &row.error {
            Some(failure) => failure.message.clone(),
            None => row.status.map_or("", |status| status.word(options.verb())).to_owned(),
        },
        failed: row.error.is_some(),
        took: began.elapsed(),
    });
    row
}

/// What would be done.
async fn preview(
    cx: &Context<'_>,
    control: &Session,
    unit: &Unit,
    options: &ChangeOptions,
) -> Result<Row, Error> {
    let server = cx.servers.session(&unit.cluster, None).await?;
    let (logins, pairs) = read(control, &server, unit).await?;
    match turns(&pairs, options, &logins)? {
        Turns::Nothing(reason) => Ok(Row {
            status: Some(CredentialStatus::Unchanged),
            reason: Some(reason),
            ..Row::default()
        }),
        Turns::Record(changes) | Turns::Issue(changes) => {
            let tenant = &unit.tenants[0].id;
            for (pair, change) in pairs.iter().zip(&changes) {
                prepare(tenant, unit.reach(), pair, change.next, &logins)?;
            }
            Ok(Row {
                status: Some(CredentialStatus::Pending),
                logins: told(&pairs, &changes),
                ..Row::default()
            })
        }
    }
}
