//! What a tier allows, as limits and settings of the tenant's own roles and database.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Plan, Reach, Site};
use crate::model::credential::{Logins, second_login};
use crate::model::desired::Limits;
use crate::model::ident::Ident;
use crate::model::tenant::{Isolation, Tenant};

/// The name under which a connection limit stands among the names of settings.
pub const CONNECTION_LIMIT: &str = "connection_limit";

/// The names of what a tier limits and sets.
pub fn names(limits: &Limits) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = limits.settings.keys().cloned().collect();
    if limits.connection_limit.is_some() {
        names.insert(CONNECTION_LIMIT.to_owned());
    }
    names
}

/// Limits a role as a tier says. Of what the tier does not say, what is `managed` is taken back.
pub(super) fn of_role(
    role: &Ident,
    (connections, settings): (i32, &BTreeMap<String, String>),
    limits: &Limits,
    managed: &BTreeSet<String>,
    push: &mut impl FnMut(Change),
) {
    connections_of(role, connections, limits, managed, push);
    for (setting, value) in &limits.settings {
        if settings.get(setting) != Some(value) {
            push(Change::SetForRole {
                role: role.clone(),
                database: None,
                setting: setting.clone(),
                value: value.clone(),
            });
        }
    }
    for setting in left(settings, limits, managed) {
        push(Change::ResetForRole { role: role.clone(), database: None, setting });
    }
}

/// Limits the sessions of a role as a tier says.
pub(super) fn connections_of(
    role: &Ident,
    has: i32,
    limits: &Limits,
    managed: &BTreeSet<String>,
    push: &mut impl FnMut(Change),
) {
    let none = managed.contains(CONNECTION_LIMIT).then_some(-1);
    if let Some(limit) = limits.connection_limit.or(none)
        && has != limit
    {
        push(Change::LimitConnections { role: role.clone(), limit });
    }
}

/// Gives a database of one tenant's own the settings of its tier, which hold for whoever connects.
pub(super) fn of_database(
    database: &Ident,
    settings: &BTreeMap<String, String>,
    limits: &Limits,
    managed: &BTreeSet<String>,
    push: &mut impl FnMut(Change),
) {
    for (setting, value) in &limits.settings {
        if settings.get(setting) != Some(value) {
            push(Change::SetForDatabase {
                database: database.clone(),
                setting: setting.clone(),
                value: value.clone(),
            });
        }
    }
    for setting in left(settings, limits, managed) {
        push(Change::ResetForDatabase { database: database.clone(), setting });
    }
}

/// Managed settings that the tier does not say any more.
fn left(
    settings: &BTreeMap<String, String>,
    limits: &Limits,
    managed: &BTreeSet<String>,
) -> Vec<String> {
    settings
        .keys()
        .filter(|setting| managed.contains(*setting) && !limits.settings.contains_key(*setting))
        .cloned()
        .collect()
}

/// What brings a tenant to its tier.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// What the operator may do.
    pub plan: Plan,
    /// What only somebody with more rights may do.
    pub beyond: Vec<Change>,
}

/// Plans what brings a tenant's own roles, with their second logins, and its database to its tier.
///
/// `managed` are the names that a tier has said before, or may say; `forbidden` those that only a
/// superuser, or whoever was granted them, may set.
pub fn reconcile(
    tenant: &Tenant,
    users: &[Ident],
    limits: &Limits,
    managed: &BTreeSet<String>,
    forbidden: &BTreeSet<String>,
    logins: &Logins,
    database: &BTreeMap<String, String>,
) -> Reconciled {
    let mut plan = Plan::new(tenant.id.clone(), logins.server.clone());
    let mut beyond = Vec::new();
    let mut push = |change: Change| {
        let setting = match &change {
            Change::SetForRole { setting, .. }
            | Change::ResetForRole { setting, .. }
            | Change::SetForDatabase { setting, .. }
            | Change::ResetForDatabase { setting, .. } => Some(setting),
            _ => None,
        };
        if setting.is_some_and(|setting| forbidden.contains(setting)) {
            beyond.push(change);
        } else {
            plan.push(Reach::Tenant, Site::Server, change);
        }
    };
    let none = BTreeMap::new();
    for user in users {
        let second = second_login(user).ok();
        for name in std::iter::once(user).chain(second.as_ref()) {
            let Some(facts) = logins.facts.get(name) else { continue };
            if tenant.isolation == Isolation::Database {
                connections_of(name, facts.connection_limit, limits, managed, &mut push);
            } else {
                let settings = facts.settings.get(&None).unwrap_or(&none);
                let has = (facts.connection_limit, settings);
                of_role(name, has, limits, managed, &mut push);
            }
        }
    }
    if tenant.isolation == Isolation::Database {
        of_database(&tenant.placement.database, database, limits, managed, &mut push);
    }
    Reconciled { plan, beyond }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;
    use crate::model::credential::LoginFacts;
    use crate::plan::properties::{desired, server};

    const NAMES: [&str; 4] = ["statement_timeout", "work_mem", "temp_file_limit", "jit"];

    fn settings() -> impl Strategy<Value = BTreeMap<String, String>> {
        btree_map(prop::sample::select(NAMES.to_vec()), "[12]", 0..4)
            .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn apply(change: &Change, logins: &mut Logins, database: &mut BTreeMap<String, String>) {
        let role = |logins: &mut Logins, name: &Ident| -> LoginFacts {
            logins.facts.get(name).cloned().unwrap()
        };
        match change {
            Change::LimitConnections { role: name, limit } => {
                let facts = LoginFacts { connection_limit: *limit, ..role(logins, name) };
                logins.facts.insert(name.clone(), facts);
            }
            Change::SetForRole { role: name, setting, value, .. } => {
                let mut facts = role(logins, name);
                let here = facts.settings.entry(None).or_default();
                here.insert(setting.clone(), value.clone());
                logins.facts.insert(name.clone(), facts);
            }
            Change::ResetForRole { role: name, setting, .. } => {
                let mut facts = role(logins, name);
                facts.settings.get_mut(&None).unwrap().remove(setting).unwrap();
                logins.facts.insert(name.clone(), facts);
            }
            Change::SetForDatabase { setting, value, .. } => {
                database.insert(setting.clone(), value.clone());
            }
            Change::ResetForDatabase { setting, .. } => {
                database.remove(setting).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        /// Once its plan is carried out, a tenant is what its tier says; what no tier ever said
        /// stays as somebody has set it.
        #[test]
        fn a_tenant_comes_to_its_tier_and_nothing_else_changes(
            isolation in prop::sample::select(vec![Isolation::Schema, Isolation::Database]),
            wanted in settings(), has in settings(), second in any::<bool>(),
            limit in prop::option::of(1..9_i32), had in prop::sample::select(vec![-1, 3]),
            managed in btree_set(prop::sample::select(NAMES.to_vec()), 0..4),
        ) {
            let tenant = desired(isolation, "acme").tenant;
            let limits = Limits { connection_limit: limit, settings: wanted.clone() };
            let mut managed: BTreeSet<String> = managed.into_iter().map(str::to_owned).collect();
            managed.insert(CONNECTION_LIMIT.to_owned());
            let facts = LoginFacts {
                connection_limit: had,
                settings: BTreeMap::from([(None, has.clone())]),
                ..LoginFacts::default()
            };
            let mut names = vec![tenant.role().clone()];
            if second {
                names.push(second_login(tenant.role()).unwrap());
            }
            let mut logins = Logins {
                server: server(150_000),
                now: jiff::Timestamp::UNIX_EPOCH,
                facts: names.iter().map(|name| (name.clone(), facts.clone())).collect(),
                members: BTreeMap::new(),
            };
            let mut database = has.clone();
            let users = tenant.roles.clone();
            let none = BTreeSet::new();
            let done = reconcile(&tenant, &users, &limits, &managed, &none, &logins, &database);
            prop_assert!(done.beyond.is_empty());
            for step in &done.plan.steps {
                apply(&step.change, &mut logins, &mut database);
            }
            let again = reconcile(&tenant, &users, &limits, &managed, &none, &logins, &database);
            prop_assert!(again.plan.is_empty(), "{:?}", again.plan.steps);
            let kept: BTreeMap<String, String> = has
                .iter()
                .filter(|(name, _)| !managed.contains(*name) && !wanted.contains_key(*name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let expected: BTreeMap<String, String> =
                wanted.iter().map(|(n, v)| (n.clone(), v.clone())).chain(kept).collect();
            for name in &names {
                prop_assert_eq!(logins.facts[name].connection_limit, limit.unwrap_or(-1));
                if isolation == Isolation::Schema {
                    prop_assert_eq!(&logins.facts[name].settings[&None], &expected);
                }
            }
            if isolation == Isolation::Database {
                prop_assert_eq!(&database, &expected);
            }
        }
    }

    #[test]
    fn what_a_superuser_must_do_is_told_apart() {
        let tenant = desired(Isolation::Database, "acme").tenant;
        let settings = [("temp_file_limit", "1GB"), ("work_mem", "8MB")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let limits = Limits { connection_limit: None, settings: settings.into() };
        let logins = Logins {
            server: server(140_000),
            now: jiff::Timestamp::UNIX_EPOCH,
            facts: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        let forbidden = BTreeSet::from(["temp_file_limit".to_owned()]);
        let managed = BTreeSet::new();
        let none = BTreeMap::new();
        let done = reconcile(&tenant, &tenant.roles, &limits, &managed, &forbidden, &logins, &none);
        assert_eq!(done.plan.steps.len(), 1);
        assert_eq!(done.beyond.len(), 1);
    }
}
