//! A database with every migration applied, which new tenants of the database model are copies of.
//!
//! It is made when a second tenant asks for what the first one already paid for, and belongs to one
//! set of migrations in one schema: another set has another name. Only a template that is sealed is
//! copied, so one that was half made when its maker was killed is dropped and made again.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::roles;
use crate::model::desired::{Copying, Desired};
use crate::model::ident::Ident;
use crate::model::migration::{MigrationSet, Version};
use crate::model::observed::Observed;
use crate::model::tenant::Isolation;
use crate::plan::{Change, CopyOf, Plan, Reach, Site};

/// What the name of every template database begins with.
pub const TEMPLATE_PREFIX: &str = "tenantctl_template_";

/// Owns what templates hold, until a copy becomes a tenant's. Nobody can log in as this role.
pub const TEMPLATE_OWNER: &str = "tenantctl_template_owner";

/// Changes whenever templates are made in another way than before.
const FORMAT: u8 = 1;

/// Below so many migrations, applying them takes no longer than copying what they made, handing it
/// over and looking at it: with 7 a copy took longer, with 20 or more it took about half the time.
const WORTH_COPYING: usize = 20;

/// A template is written to the log page by page; above this size copying its files costs less than
/// that, and less than the two checkpoints which go with it.
const BULKY: i64 = 50 << 20;

/// The template that a new database is copied from, made first where it is missing. None where
/// copying does not pay, or is not wanted.
pub(super) fn prepare(
    plan: &mut Plan,
    desired: &Desired,
    set: &MigrationSet,
    observed: &Observed,
) -> Option<CopyOf> {
    let name = name(desired, set)?;
    let existing = observed.templates.get(&name);
    if let Some(facts) = existing.filter(|facts| facts.sealed) {
        reach_owner(plan, observed)?;
        return Some(CopyOf { template: name, files: facts.bytes > BULKY });
    }
    // The first tenant would wait for the template and the copy, where the migrations are enough.
    if !observed.peers {
        return None;
    }
    build(plan, desired, set, observed, &name)?;
    Some(CopyOf { template: name, files: false })
}

/// Whether a copy was made whose objects are not the tenant's yet.
pub(super) fn is_unadopted(desired: &Desired, observed: &Observed) -> bool {
    desired.tenant.isolation == Isolation::Database
        && observed.schema.as_ref().is_some_and(|schema| schema.owner == TEMPLATE_OWNER)
}

/// Makes the objects of a copy the tenant's own.
pub(super) fn adopt(plan: &mut Plan, desired: &Desired) -> Option<()> {
    let from = owner()?;
    let change = Change::AdoptCopy { from, to: desired.tenant.owner.clone() };
    // It takes from the owner of templates what it may do in every database, one in which another
    // tenant's run builds a template included.
    plan.push(Reach::Layout, Site::Database { role: None }, change);
    // The tables that came with it are seen by the next observation.
    plan.continues = true;
    Some(())
}

fn owner() -> Option<Ident> {
    Ident::new(TEMPLATE_OWNER).ok()
}

/// Makes the owner of templates where it is missing, and lets the operator act as it: another
/// operator may have made it.
fn reach_owner(plan: &mut Plan, observed: &Observed) -> Option<()> {
    let owner = owner()?;
    roles::role(plan, observed, Reach::Layout, &owner, false);
    roles::operator(plan, observed, Reach::Layout, &owner, true);
    Some(())
}

fn name(desired: &Desired, set: &MigrationSet) -> Option<Ident> {
    let least = match desired.copying {
        Copying::Never => return None,
        Copying::Auto => WORTH_COPYING,
        Copying::Always => 1,
    };
    if set.migrations().len() < least {
        return None;
    }
    let mut hasher = SipHasher13::new();
    hasher.write_u8(FORMAT);
    hasher.write(&set.fingerprint().to_le_bytes());
    hasher.write(desired.tenant.placement.schema.as_str().as_bytes());
    Ident::new(format!("{TEMPLATE_PREFIX}{:016x}", hasher.finish())).ok()
}

/// What a template's comment says: which templates a new one replaces.
fn label(desired: &Desired, set: &MigrationSet) -> String {
    format!("tenantctl: template of {} in schema {}", set.name(), desired.tenant.placement.schema)
}

fn build(
    plan: &mut Plan,
    desired: &Desired,
    set: &MigrationSet,
    observed: &Observed,
    name: &Ident,
) -> Option<()> {
    let owner = owner()?;
    let operator = Ident::new(observed.server.operator.clone()).ok()?;
    let schema = &desired.tenant.placement.schema;
    let label = label(desired, set);
    reach_owner(plan, observed)?;
    let mut push = |site: Site, change: Change| plan.push(Reach::Layout, site, change);
    for (other, facts) in &observed.templates {
        if other == name || facts.label == label {
            push(Site::Server, Change::DropTemplate(other.clone()));
        }
    }
    push(
        Site::Server,
        Change::CreateDatabase { name: name.clone(), owner: operator, copy_of: None },
    );
    push(Site::Server, Change::CloseDatabase(name.clone()));
    push(Site::Server, Change::LendDatabase { database: name.clone(), role: owner.clone(), label });
    let inside =
        |role: Option<&Ident>| Site::Template { database: name.clone(), role: role.cloned() };
    let create = Change::CreateSchema { name: schema.clone(), owner: owner.clone() };
    push(inside(None), create);
    push(inside(Some(&owner)), Change::CloseFunctions(owner.clone()));
    push(inside(Some(&owner)), Change::CreateHistory(schema.clone()));
    let versions: Vec<Version> =
        set.migrations().iter().map(|migration| migration.version).collect();
    push(inside(Some(&owner)), Change::Migrate { schema: schema.clone(), versions });
    push(Site::Server, Change::SealTemplate { name: name.clone(), owner });
    Some(())
}
