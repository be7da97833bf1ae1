//! Passwords of the roles that log in: whose they are, and how they stand.

mod carry;
mod change;
mod document;
mod issue;
mod list;
pub(super) mod password;
mod revoke;
mod sink;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::select::Selection;
use super::trail::Deed;
use super::{Context, fleet};
use crate::error::{Code, Error};
use crate::model::credential::{Issued, Logins, second_login};
use crate::model::ident::Ident;
use crate::model::layout::Template;
use crate::model::tenant::{ClusterName, Isolation, State, Tenant};
use crate::model::trail::Outcome;
use crate::pg::{self, LockKey, Session};
use crate::plan::Reach;
use crate::plan::credentials::{Login, Pair};
use crate::report::{CredentialStatus, CredentialTarget, Failure, Source};

pub(super) use carry::carry_second_logins;
pub use change::{ChangeOptions, change_credentials};
pub use document::{Pattern, SecretFormat};
pub use list::list_credentials;
pub(super) use list::{tell_ages, watched};
pub use revoke::{RevokeOptions, revoke_credentials};
pub use sink::{Delivery, Sink};

/// So many units are changed at once: each takes a moment, and holds a connection.
const AT_ONCE: usize = 4;

/// Roles whose passwords change together: those of one tenant, those that every tenant of a layout
/// uses, or a pool's.
pub(super) struct Unit {
    pub(super) cluster: ClusterName,
    /// Never empty.
    pub(super) roles: Vec<Ident>,
    /// Those who were selected. Never empty.
    pub(super) tenants: Vec<Tenant>,
    /// Those who use the same roles and were not.
    pub(super) others: Vec<Tenant>,
    /// Whether the roles are one tenant's alone.
    pub(super) own: bool,
}

impl Unit {
    /// What is locked while its passwords change.
    fn lock(&self) -> LockKey {
        if self.own { LockKey::tenant(&self.tenants[0].id) } else { LockKey::layout(&self.cluster) }
    }

    fn reach(&self) -> Reach {
        if self.own { Reach::Tenant } else { Reach::Layout }
    }

    /// What it is called while it is worked on.
    fn name(&self) -> String {
        if self.own { self.tenants[0].id.to_string() } else { self.roles[0].to_string() }
    }

    /// A row for each of its tenants, all alike.
    fn targets(&self, row: &Row) -> impl Iterator<Item = CredentialTarget> {
        self.tenants.iter().map(move |tenant| row.of(tenant))
    }

    /// Refuses what would strike tenants that were not selected.
    fn refuse_others(&self, what: &str) -> Result<(), Error> {
        let Some(other) = self.others.first() else { return Ok(()) };
        let more = match self.others.len() {
            1 => String::new(),
            more => format!(" and {} more", more - 1),
        };
        Err(Error::new(
            Code::Refused,
            format!(
                "{what} of {}: tenant {}{more}, not selected, logs in with it too",
                self.roles[0], other.id
            ),
        )
        .hint("select all who use the role"))
    }
}

/// What there is to say about every tenant of a unit.
#[derive(Clone, Default)]
pub(super) struct Row {
    status: Option<CredentialStatus>,
    reason: Option<String>,
    logins: Vec<crate::report::LoginChange>,
    delivered: Vec<String>,
    secrets: Vec<crate::report::Credential>,
    ended: usize,
    error: Option<Failure>,
}

impl Row {
    fn skipped(reason: impl Into<String>) -> Self {
        Self {
            status: Some(CredentialStatus::Skipped),
            reason: Some(reason.into()),
            ..Self::default()
        }
    }

    fn failed(error: &Error) -> Self {
        Self {
            status: Some(CredentialStatus::Failed),
            error: Some(Failure::from(error)),
            ..Self::default()
        }
    }

    fn of(&self, tenant: &Tenant) -> CredentialTarget {
        CredentialTarget {
            tenant: tenant.id.clone(),
            isolation: tenant.isolation,
            placement: tenant.placement.clone(),
            status: self.status.unwrap_or(CredentialStatus::Skipped),
            reason: self.reason.clone(),
            logins: self.logins.clone(),
            delivered: self.delivered.clone(),
            secrets: self.secrets.clone(),
            ended: self.ended,
            error: self.error.clone(),
        }
    }
}

/// The units of the selected tenants in some states, and the rows of those in others.
pub(super) async fn units(
    cx: &Context<'_>,
    selection: &Selection,
    states: &[State],
) -> Result<(Vec<Unit>, Vec<CredentialTarget>), Error> {
    let (everyone, source) = fleet::tenants(cx).await?;
    if source == Source::Declared {
        return Err(Error::new(
            Code::Refused,
            "there is no registry, which keeps since when passwords are",
        )
        .hint("the first create makes it: tenantctl create"));
    }
    if everyone.is_empty() {
        return Err(fleet::none(source));
    }
    let picked = selection.pick(everyone.clone())?;
    let mut units: BTreeMap<(ClusterName, Vec<Ident>), Unit> = BTreeMap::new();
    let mut skipped = Vec::new();
    for tenant in picked {
        if !states.contains(&tenant.state) {
            skipped.push(Row::skipped(format!("it is {}", tenant.state)).of(&tenant));
            continue;
        }
        let (roles, own) = roles(cx, &tenant);
        let cluster = tenant.placement.cluster.clone();
        units
            .entry((cluster.clone(), roles.clone()))
            .or_insert(Unit { cluster, roles, tenants: Vec::new(), others: Vec::new(), own })
            .tenants
            .push(tenant);
    }
    for ((cluster, names), unit) in &mut units {
        let same = |tenant: &&Tenant| {
            tenant.placement.cluster == *cluster && roles(cx, tenant).0 == *names
        };
        unit.others = everyone
            .iter()
            .filter(same)
            .filter(|other| unit.tenants.iter().all(|tenant| tenant.id != other.id))
            .filter(|other| states.contains(&other.state))
            .cloned()
            .collect();
        unit.own &= unit.others.is_empty() && unit.tenants.len() == 1;
    }
    Ok((units.into_values().collect(), skipped))
}

/// The roles that log in for a tenant, and whether they are its own.
pub(super) fn roles(cx: &Context<'_>, tenant: &Tenant) -> (Vec<Ident>, bool) {
    let layout = cx.fleet.layout(tenant.isolation);
    match &layout.login_role {
        Some(pool) => (vec![pool.clone()], false),
        None => {
            let own = tenant.isolation != Isolation::Shared
                || layout.roles.iter().all(Template::per_tenant);
            (tenant.roles.clone(), own)
        }
    }
}

/// Both logins of roles, by role.
///
/// # Errors
///
/// `name-taken` when a second login's name does not fit.
pub(super) fn names(roles: &[Ident]) -> Result<Vec<(Ident, Ident)>, Error> {
    roles.iter().map(|role| Ok((role.clone(), second_login(role)?))).collect()
}

/// Puts together what the server and the registry know of roles' logins.
pub(super) fn pairs(names: &[(Ident, Ident)], logins: &Logins, issued: &[Issued]) -> Vec<Pair> {
    let login = |name: &Ident| Login {
        name: name.clone(),
        facts: logins.facts.get(name).cloned(),
        issued: issued.iter().find(|row| row.login == *name).cloned(),
    };
    names
        .iter()
        .map(|(first, second)| Pair { first: login(first), second: login(second) })
        .collect()
}

/// What the server and the registry know of a unit's logins now.
async fn read(
    control: &Session,
    server: &Session,
    unit: &Unit,
) -> Result<(Logins, Vec<Pair>), Error> {
    let names = names(&unit.roles)?;
    let all: Vec<&Ident> = names.iter().flat_map(|(first, second)| [first, second]).collect();
    let logins = pg::logins(server, &all).await?;
    let issued = pg::credentials::issued(control, &unit.cluster).await?;
    let pairs = pairs(&names, &logins, &issued);
    Ok((logins, pairs))
}

/// What answers in the audit log for what happens to a unit's passwords.
fn deed(cx: &Context<'_>, unit: &Unit, event: &'static str, run: Uuid, logins: &Value) -> Deed {
    let only = match unit.tenants.as_slice() {
        [tenant] => Some(&tenant.id),
        _ => None,
    };
    let mut about = json!({"logins": logins});
    if only.is_none() {
        about["tenants"] = unit.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
    }
    Deed::new(cx, event, only).run(run).about(about)
}

/// Does something that a deed answers for.
async fn answered<T>(
    cx: &Context<'_>,
    control: &Session,
    deed: Deed,
    work: impl Future<Output = Result<(T, Value), Error>>,
) -> Result<T, Error> {
    deed.start(control).await?;
    match work.await {
        Ok((done, after)) => {
            deed.close(cx, control, Outcome::Done, after, None).await;
            Ok(done)
        }
        Err(error) => {
            let why = json!({"code": error.code.id(), "message": error.message});
            deed.close(cx, control, Outcome::Failed, Value::Null, Some(why)).await;
            Err(error)
        }
    }
}
