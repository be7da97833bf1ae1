//! What stands in a tenant's schema already: tables, guarded where they are shared, sequences and
//! functions; then granted.

use std::collections::BTreeSet;

use super::user_reach;
use crate::model::desired::{Desired, Sharing};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::CLOSED_TABLE;
use crate::model::observed::{SchemaFacts, TableFacts};
use crate::plan::{Change, Plan, Reach, Site, policy_fingerprint};

/// Guards shared tables, then opens all of them to the roles that use them: default privileges
/// reach only what is made after them.
pub(super) fn open(plan: &mut Plan, desired: &Desired, schema: &SchemaFacts) {
    let site = Site::Database { role: Some(desired.tenant.owner.clone()) };
    let named =
        |name: &Ident| QualifiedName::new(desired.tenant.placement.schema.clone(), name.clone());
    if let Some(sharing) = &desired.sharing {
        for (name, table) in &schema.tables {
            if let Some(change) = guard(named(name), table, sharing) {
                plan.push(Reach::Layout, site.clone(), change);
            }
        }
    }
    if let Some(readers) = &schema.closing {
        close(plan, desired, schema, readers);
    }
    for (name, table) in &schema.tables {
        // Shared rows of a partition are reached through its parent, which has the policy; a table
        // without the tenant column is nobody's.
        if desired.sharing.is_some() && (table.key_type.is_none() || table.partition) {
            continue;
        }
        grant(plan, desired, &site, &named(name), table);
    }
    for (name, users) in &schema.sequences {
        for role in desired.tenant.roles.iter().filter(|role| !users.contains(*role)) {
            let change = Change::GrantSequence { sequence: named(name), role: role.clone() };
            plan.push(user_reach(desired), site.clone(), change);
        }
    }
    // Roles that every tenant uses were there before the functions, which came with their default
    // privileges; what a migration took away from them since stays away.
    if desired.roles_are_its_own {
        for (signature, users) in &schema.functions {
            for role in desired.users().filter(|role| !users.contains(*role)) {
                let change = Change::GrantFunction {
                    schema: desired.tenant.placement.schema.clone(),
                    signature: signature.clone(),
                    role: role.clone(),
                };
                plan.push(Reach::Tenant, site.clone(), change);
            }
        }
    }
}

/// Where a tenant was closed once, every table consults who is, and every role may.
fn close(plan: &mut Plan, desired: &Desired, schema: &SchemaFacts, readers: &BTreeSet<Ident>) {
    let owner = &desired.tenant.owner;
    let site = Site::Database { role: Some(owner.clone()) };
    let named = |name: Ident| QualifiedName::new(desired.tenant.placement.schema.clone(), name);
    let Ok(closed) = Ident::new(CLOSED_TABLE) else {
        return;
    };
    // First the right to read it: a policy that cannot consult it lets nobody in.
    for role in desired.users().filter(|role| !readers.contains(*role)) {
        let (table, role) = (named(closed.clone()), role.clone());
        let change = Change::GrantTable { table, role, write: false };
        plan.push(Reach::Layout, site.clone(), change);
    }
    let open = schema.tables.iter().filter(|(_, table)| table.key_type.is_some() && !table.closes);
    for (name, _) in open {
        let change = Change::CloseTable { table: named(name.clone()), owner: owner.clone() };
        plan.push(Reach::Layout, site.clone(), change);
    }
}

/// What binds the rows of a shared table to the current tenant, unless something does already.
fn guard(name: QualifiedName, table: &TableFacts, sharing: &Sharing) -> Option<Change> {
    let key_type = table.key_type.as_ref()?;
    let enforced = table.rls && table.forced;
    match &table.policy {
        Some(found) if enforced && *found == policy_fingerprint(sharing, key_type) => None,
        // A team that wrote its own policies keeps them, and `verify-rls` judges them; without
        // ENABLE and FORCE they are words.
        None if table.other_policies > 0 => (!enforced).then_some(Change::EnforcePolicies(name)),
        _ => Some(Change::GuardTable {
            table: name,
            sharing: sharing.clone(),
            key_type: key_type.clone(),
        }),
    }
}

fn grant(
    plan: &mut Plan,
    desired: &Desired,
    site: &Site,
    name: &QualifiedName,
    table: &TableFacts,
) {
    let mut grant = |role: &Ident, write| {
        let change = Change::GrantTable { table: name.clone(), role: role.clone(), write };
        plan.push(user_reach(desired), site.clone(), change);
    };
    for role in desired.tenant.roles.iter().filter(|role| !table.write.contains(*role)) {
        grant(role, true);
    }
    for role in desired.readonly.iter().filter(|role| !table.read.contains(*role)) {
        grant(role, false);
    }
}
