//! The roles of a tenant: who owns, who reads and writes, who may become them, and their limits.

use std::collections::{BTreeMap, BTreeSet};

use super::{owner_reach, user_reach};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::observed::Observed;
use crate::model::tenant::Isolation;
use crate::plan::{Change, Plan, Reach, Site, limits};

/// Makes what is missing, and lets the pool and the operator become it.
pub(super) fn make(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let tenant = &desired.tenant;
    let (owner_reach, users_reach) = (owner_reach(desired), user_reach(desired));
    role(plan, observed, owner_reach, &tenant.owner, false);
    let login = desired.login_role.is_none();
    for name in &tenant.roles {
        role(plan, observed, users_reach, name, login);
    }
    if let Some(name) = &desired.readonly {
        role(plan, observed, users_reach, name, false);
    }
    operator(plan, observed, owner_reach, &tenant.owner, true);
    for name in desired.users() {
        operator(plan, observed, users_reach, name, false);
    }
    if let Some(pool) = &desired.login_role {
        role(plan, observed, Reach::Layout, pool, true);
        let facts = observed.roles.get(pool);
        // Before PostgreSQL 16 a member inherits as a whole or not at all.
        if !observed.server.membership_options() && facts.is_some_and(|facts| facts.inherit) {
            plan.push(Reach::Layout, Site::Server, Change::StopInheriting(pool.clone()));
        }
        for name in desired.users() {
            let facts = observed.members.get(&(name.clone(), pool.clone()));
            // A pool that inherits would be every tenant at once.
            if facts.is_none_or(|facts| !facts.set || facts.inherit) {
                let change =
                    Change::GrantRole { role: name.clone(), member: pool.clone(), inherit: false };
                plan.push(users_reach, Site::Server, change);
            }
        }
    }
}

pub(super) fn role(plan: &mut Plan, observed: &Observed, reach: Reach, name: &Ident, login: bool) {
    match observed.roles.get(name) {
        None => plan.push(reach, Site::Server, Change::CreateRole { name: name.clone(), login }),
        Some(facts) if login && !facts.login => {
            plan.push(reach, Site::Server, Change::AllowLogin(name.clone()));
        }
        Some(_) => {}
    }
}

/// Lets an operator who is no superuser act as a role: it must make objects as their owner.
pub(super) fn operator(
    plan: &mut Plan,
    observed: &Observed,
    reach: Reach,
    role: &Ident,
    inherit: bool,
) {
    let has = observed.operator.get(role).copied().unwrap_or_default();
    if observed.server.superuser || (has.set && (has.inherit || !inherit)) {
        return;
    }
    if let Ok(member) = Ident::new(observed.server.operator.clone()) {
        let change = Change::GrantRole { role: role.clone(), member, inherit };
        plan.push(reach, Site::Server, change);
    }
}

/// Limits the tenant's own roles as its tier says, and points them at its schema.
pub(super) fn limit(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let tenant = &desired.tenant;
    if !desired.roles_are_its_own {
        if !desired.limits.is_empty() {
            plan.notes.push(format!(
                "the tier's limits do not apply to {}: its role {} serves every tenant of {}",
                tenant.id,
                tenant.role(),
                tenant.placement.schema
            ));
        }
        return;
    }
    for role in desired.users() {
        let facts = observed.roles.get(role);
        let none = BTreeMap::new();
        // A role that the plan makes has no limit yet.
        let (connections, settings) =
            facts.map_or((-1, &none), |facts| (facts.connection_limit, &facts.settings));
        let mut push = |change| plan.push(Reach::Tenant, Site::Server, change);
        let nothing = BTreeSet::new();
        if tenant.isolation == Isolation::Database {
            limits::connections_of(role, connections, &desired.limits, &nothing, &mut push);
            continue;
        }
        limits::of_role(role, (connections, settings), &desired.limits, &nothing, &mut push);
        let schema = &tenant.placement.schema;
        let current = facts.and_then(|facts| facts.settings_here.get("search_path"));
        // The server keeps names in `search_path` as SQL reads them.
        if !current.is_some_and(|current| schema.is_spelled(current)) {
            let change = Change::SetForRole {
                role: role.clone(),
                database: Some(tenant.placement.database.clone()),
                setting: "search_path".to_owned(),
                value: schema.as_str().to_owned(),
            };
            plan.push(Reach::Tenant, Site::Server, change);
        }
    }
}
