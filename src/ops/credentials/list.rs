//! How old passwords are, and which of them work.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Unit, names, pairs, units};
use crate::error::Error;
use crate::model::credential::{Issued, IssuedState, Logins, Validity};
use crate::model::ident::Ident;
use crate::model::tenant::{ClusterName, State};
use crate::ops::{Context, Selection};
use crate::pg::{self, Session};
use crate::plan::credentials::{Login, Pair, Standing};
use crate::report::{CredentialList, CredentialRow, Failure, KnownPassword, Listed, Report, Worry};

/// What ends within so much time is on its way out.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The state of a role for which nothing was issued.
const UNKNOWN: &str = "unknown";

/// Lists the logins of the selected tenants: which is current, since when, until when, and who still
/// uses which. Changes nothing.
///
/// # Errors
///
/// When nobody knows the tenants. A cluster that cannot be asked is part of the answer.
pub async fn list_credentials(
    cx: &Context<'_>,
    selection: &Selection,
    max_age: SignedDuration,
    check: bool,
) -> anyhow::Result<Report> {
    let (units, _) = units(cx, selection, &State::ALL).await?;
    let (rows, unread) = rows(cx, units, max_age).await?;
    Ok(Report::CredentialList(CredentialList { rows, unread, max_age, check }))
}

/// The rows of units, and the clusters that could not be asked.
async fn rows(
    cx: &Context<'_>,
    units: Vec<Unit>,
    max_age: SignedDuration,
) -> Result<(Vec<CredentialRow>, Vec<(ClusterName, Failure)>), Error> {
    let (cluster, database) = &cx.fleet.registry;
    let control = cx.servers.session(cluster, Some(database)).await?;
    let mut clusters: BTreeMap<ClusterName, Vec<Unit>> = BTreeMap::new();
    for unit in units {
        clusters.entry(unit.cluster.clone()).or_default().push(unit);
    }
    let (mut rows, mut unread) = (Vec::new(), Vec::new());
    for (cluster, units) in clusters {
        match of_cluster(cx, &control, &cluster, &units, max_age).await {
            Ok(found) => rows.extend(found),
            Err(error) => unread.push((cluster, Failure::from(&error))),
        }
    }
    rows.sort_by(|a, b| (&a.tenants, &a.role, &a.login).cmp(&(&b.tenants, &b.role, &b.login)));
    Ok((rows, unread))
}

async fn of_cluster(
    cx: &Context<'_>,
    control: &Session,
    cluster: &ClusterName,
    units: &[Unit],
    max_age: SignedDuration,
) -> Result<Vec<CredentialRow>, Error> {
    let server = cx.servers.session(cluster, None).await?;
    let roles: Vec<Ident> = units.iter().flat_map(|unit| unit.roles.clone()).collect();
    let names = names(&roles)?;
    let all: Vec<&Ident> = names.iter().flat_map(|(first, second)| [first, second]).collect();
    let logins = pg::logins(&server, &all).await?;
    let issued = pg::credentials::issued(control, cluster).await?;
    let whose: BTreeMap<&Ident, &Unit> =
        units.iter().flat_map(|unit| unit.roles.iter().map(move |role| (role, unit))).collect();
    let mut rows = Vec::new();
    for pair in pairs(&names, &logins, &issued) {
        let Some(unit) = whose.get(pair.role()) else { continue };
        for login in [&pair.first, &pair.second] {
            rows.extend(row(unit, &pair, login, &logins, max_age));
        }
    }
    Ok(rows)
}

/// One login; nothing about one that was never made.
fn row(
    unit: &Unit,
    pair: &Pair,
    login: &Login,
    logins: &Logins,
    max_age: SignedDuration,
) -> Option<CredentialRow> {
    let facts = login.facts.as_ref()?;
    let standing = pair.standing();
    let is_current = match standing {
        Standing::Current(which) | Standing::Unrecorded(which) => {
            pair.get(which).name == login.name
        }
        Standing::Unknown | Standing::None => false,
    };
    let state = match (&login.issued, is_current) {
        (_, true) => IssuedState::Current.word(),
        // What a run that was cut off had in mind is not on the server.
        (Some(row), false) if row.state != IssuedState::Issuing => row.state.word(),
        (_, false) if standing == Standing::Unknown && login.name == *pair.role() => UNKNOWN,
        (_, false) => return None,
    };
    let issued = login.issued.as_ref().and_then(|row| row.issued);
    let age = issued.map(|at| logins.now.duration_since(at));
    let sessions = usize::try_from(facts.sessions).unwrap_or(0);
    let worry = worry(is_current, facts.validity, age, sessions, logins.now, max_age);
    Some(CredentialRow {
        tenants: unit.tenants.iter().map(|tenant| tenant.id.clone()).collect(),
        cluster: unit.cluster.clone(),
        role: pair.role().clone(),
        login: login.name.clone(),
        state,
        issued,
        age,
        until: facts.validity,
        sessions,
        worry,
    })
}

fn worry(
    is_current: bool,
    until: Validity,
    age: Option<SignedDuration>,
    sessions: usize,
    now: Timestamp,
    max_age: SignedDuration,
) -> Option<Worry> {
    if !until.holds(now) {
        return if is_current {
            Some(Worry::Expired)
        } else {
            (sessions > 0).then_some(Worry::Lingering)
        };
    }
    if !is_current {
        return None;
    }
    if age.is_some_and(|age| age > max_age) {
        return Some(Worry::Old);
    }
    until.end().is_some_and(|end| end.duration_since(now) < SOON).then_some(Worry::Expiring)
}

/// The logins of active tenants for which something was issued.
///
/// # Errors
///
/// Whatever a server refuses.
pub(in crate::ops) async fn watched(
    cx: &Context<'_>,
    max_age: SignedDuration,
) -> Result<Vec<CredentialRow>, Error> {
    let (units, _) = units(cx, &Selection::default(), &[State::Active]).await?;
    let (mut rows, _) = rows(cx, units, max_age).await?;
    rows.retain(|row| row.state != UNKNOWN);
    Ok(rows)
}

/// Adds to listed tenants what the registry knows of their current passwords; nothing where it may
/// not be read.
pub(in crate::ops) async fn tell_ages(cx: &Context<'_>, listed: &mut [Listed]) {
    let mut known: BTreeMap<ClusterName, Vec<Issued>> = BTreeMap::new();
    let (cluster, database) = &cx.fleet.registry;
    let read = async {
        let control = cx.servers.session(cluster, Some(database)).await?;
        for one in listed.iter() {
            let cluster = &one.tenant.placement.cluster;
            if !known.contains_key(cluster) {
                let rows = pg::credentials::issued(&control, cluster).await?;
                known.insert(cluster.clone(), rows);
            }
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = read.await {
        log::info!("ages of passwords are not known: {error}");
        return;
    }
    let now = Timestamp::now();
    for one in listed {
        let role = super::roles(cx, &one.tenant).0;
        let rows = known.get(&one.tenant.placement.cluster);
        let current = rows
            .into_iter()
            .flatten()
            .find(|row| row.state == IssuedState::Current && role.first() == Some(&row.role));
        one.password = current.map(|row| KnownPassword {
            login: row.login.clone(),
            issued: row.issued,
            age: row.issued.map(|at| now.duration_since(at)),
            until: row.until,
        });
    }
}
