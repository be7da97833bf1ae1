//! Where a tenant lives: its database, its schema, and what new objects there are granted.

use std::collections::{BTreeMap, BTreeSet};

use super::{owner_reach, template, user_reach};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::migration::MigrationSet;
use crate::model::observed::{DefaultGrant, DefaultKind, Observed, SchemaFacts};
use crate::model::tenant::Isolation;
use crate::plan::{Change, Helper, Plan, Reach, Site, limits};

/// Makes the database, and closes it before anything is put into it. Answers whether it is a copy of
/// a template, whose objects have to be adopted.
pub(super) fn database(
    plan: &mut Plan,
    desired: &Desired,
    set: &MigrationSet,
    observed: &Observed,
) -> bool {
    let tenant = &desired.tenant;
    let name = &tenant.placement.database;
    let existing = observed.database.as_ref().filter(|facts| !facts.invalid);
    if observed.database.as_ref().is_some_and(|facts| facts.invalid) {
        plan.push(Reach::Tenant, Site::Server, Change::DropInvalidDatabase(name.clone()));
    }
    let mut copied = false;
    if existing.is_none() {
        let copy_of = template::prepare(plan, desired, set, observed);
        copied = copy_of.is_some();
        let owner = tenant.owner.clone();
        let change = Change::CreateDatabase { name: name.clone(), owner, copy_of };
        plan.push(Reach::Tenant, Site::Server, change);
    }
    if existing.is_none_or(|facts| facts.public) {
        plan.push(Reach::Tenant, Site::Server, Change::CloseDatabase(name.clone()));
    }
    for role in desired.users().chain(&desired.login_role) {
        if !existing.is_some_and(|facts| facts.connect.contains(role)) {
            let change = Change::GrantConnect { database: name.clone(), role: role.clone() };
            plan.push(Reach::Tenant, Site::Server, change);
        }
    }
    let none = BTreeMap::new();
    let settings = existing.map_or(&none, |facts| &facts.settings);
    let mut push = |change| plan.push(Reach::Tenant, Site::Server, change);
    limits::of_database(name, settings, &desired.limits, &BTreeSet::new(), &mut push);
    // The server keeps names in `search_path` as SQL reads them.
    let schema = &tenant.placement.schema;
    if !settings.get("search_path").is_some_and(|current| schema.is_spelled(current)) {
        push(Change::SetForDatabase {
            database: name.clone(),
            setting: "search_path".to_owned(),
            value: schema.as_str().to_owned(),
        });
    }
    copied
}

pub(super) fn schema(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let tenant = &desired.tenant;
    let name = &tenant.placement.schema;
    let owner = &tenant.owner;
    let reach = owner_reach(desired);
    let here = if tenant.isolation == Isolation::Database {
        // In its own database the owner makes the schema; elsewhere it may create none.
        Site::Database { role: Some(owner.clone()) }
    } else {
        Site::Database { role: None }
    };
    let as_owner = Site::Database { role: Some(owner.clone()) };
    let existing = observed.schema.as_ref();

    if existing.is_none() {
        let change = Change::CreateSchema { name: name.clone(), owner: owner.clone() };
        plan.push(reach, here, change);
    }
    if existing.is_some_and(|facts| facts.public) {
        plan.push(reach, as_owner.clone(), Change::CloseSchema(name.clone()));
    }
    for role in desired.users() {
        if !existing.is_some_and(|facts| facts.usage.contains(role)) {
            let change = Change::GrantUsage { schema: name.clone(), role: role.clone() };
            plan.push(user_reach(desired), as_owner.clone(), change);
        }
    }
    if !existing.is_some_and(|facts| facts.functions_closed) {
        plan.push(reach, as_owner.clone(), Change::CloseFunctions(owner.clone()));
    }
    if existing.is_none_or(|facts| facts.history.is_none()) {
        plan.push(reach, as_owner.clone(), Change::CreateHistory(name.clone()));
        // A new table comes with the default privileges that are there already.
        for role in opened_by_default(existing) {
            let change = Change::CloseHistory { schema: name.clone(), role };
            plan.push(reach, as_owner.clone(), change);
        }
    }
    for grant in default_grants(desired) {
        if !existing.is_some_and(|facts| facts.defaults.contains(&grant)) {
            let change = Change::GrantByDefault {
                owner: owner.clone(),
                schema: name.clone(),
                kind: grant.kind,
                role: grant.role,
            };
            plan.push(user_reach(desired), as_owner.clone(), change);
        }
    }
    for role in existing.iter().flat_map(|facts| &facts.history_granted) {
        let change = Change::CloseHistory { schema: name.clone(), role: role.clone() };
        plan.push(reach, as_owner.clone(), change);
    }
    if let Some(sharing) = &desired.sharing {
        for helper in Helper::ALL {
            let current = existing.and_then(|facts| facts.helpers.get(helper.name()));
            if current.is_none_or(|facts| facts.fingerprint != helper.fingerprint(sharing)) {
                let change =
                    Change::CreateHelper { schema: name.clone(), helper, sharing: sharing.clone() };
                plan.push(reach, as_owner.clone(), change);
            }
            // A new function comes with its default privileges; a tenant's own role comes after it.
            for role in desired.users() {
                if !current.is_some_and(|facts| facts.execute.contains(role)) {
                    let change = Change::GrantHelper {
                        schema: name.clone(),
                        helper,
                        key_type: sharing.key_type,
                        role: role.clone(),
                    };
                    plan.push(user_reach(desired), as_owner.clone(), change);
                }
            }
        }
    }
}

/// The roles that new tables are open to.
fn opened_by_default(existing: Option<&SchemaFacts>) -> BTreeSet<Ident> {
    existing
        .iter()
        .flat_map(|facts| &facts.defaults)
        .filter(|grant| matches!(grant.kind, DefaultKind::Tables | DefaultKind::TablesRead))
        .map(|grant| grant.role.clone())
        .collect()
}

/// What new objects are granted as they are made.
///
/// Shared tables are not among them: a table that a migration has just made has no policy yet, and
/// a grant by default would open it to every tenant until it has one.
fn default_grants(desired: &Desired) -> Vec<DefaultGrant> {
    let grant = |role: &Ident, kind| DefaultGrant { role: role.clone(), kind };
    let mut grants = Vec::new();
    for role in desired.users() {
        grants.push(grant(role, DefaultKind::Functions));
    }
    if desired.tenant.isolation == Isolation::Shared {
        return grants;
    }
    for role in &desired.tenant.roles {
        grants.push(grant(role, DefaultKind::Tables));
        grants.push(grant(role, DefaultKind::Sequences));
    }
    if let Some(role) = &desired.readonly {
        grants.push(grant(role, DefaultKind::TablesRead));
    }
    grants
}
