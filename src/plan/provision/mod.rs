//! The plan that makes one tenant, or finishes one that was begun.

mod conflicts;
mod ground;
mod placement;
#[cfg(test)]
mod refusals;
mod roles;
mod tables;
mod template;

pub use template::{TEMPLATE_OWNER, TEMPLATE_PREFIX};

pub use conflicts::refuse_another_shape;
pub use ground::{ground, guard};

use super::change::Change;
use super::{Plan, Reach, Site, pending};
use crate::error::Error;
use crate::model::desired::Desired;
use crate::model::migration::{History, Migration, MigrationSet, Version};
use crate::model::observed::Observed;
use crate::model::tenant::{Isolation, State};

/// Plans the steps that turn `observed` into `desired`; empty when nothing differs.
///
/// Pure. Steps stand in an order in which stopping after any of them leaves a tenant that the next
/// plan completes: the registry's row comes first, `active` last, a table is guarded before it is
/// granted, and a database is closed before anything is put into it.
///
/// Shared tables exist only after their migrations, and a copied database shows what it holds only
/// once it is there, so a plan that migrates a shared schema or copies a database ends there with
/// [`Plan::continues`] set: observe again, plan again.
///
/// # Errors
///
/// * [`Code::Refused`](crate::error::Code::Refused) when the tenant exists in another shape, or a role may do too much.
/// * [`Code::NameTaken`](crate::error::Code::NameTaken) when another tenant holds the schema or database.
/// * [`Code::OwnershipConflict`](crate::error::Code::OwnershipConflict) when an object belongs to somebody else.
/// * [`Code::HistoryDiverged`](crate::error::Code::HistoryDiverged) when applied migrations and the files disagree.
pub fn provision(
    desired: &Desired,
    set: &MigrationSet,
    observed: &Observed,
) -> Result<Plan, Error> {
    conflicts::refuse(desired, observed)?;
    let mut plan = Plan::new(desired.tenant.id.clone(), observed.server.clone());
    let active = observed.registered.as_ref().is_some_and(|row| row.state == State::Active);

    if observed.registered.is_none() {
        plan.push(Reach::Tenant, Site::Registry, Change::Record(State::Provisioning));
    }
    roles::make(&mut plan, desired, observed);
    if desired.tenant.isolation == Isolation::Database {
        let copied = placement::database(&mut plan, desired, set, observed);
        if copied || template::is_unadopted(desired, observed) {
            template::adopt(&mut plan, desired);
            return Ok(plan);
        }
    }
    placement::schema(&mut plan, desired, observed);
    migrations(&mut plan, desired, set, observed, active)?;
    // What a migration will make is only known afterwards.
    if let Some(schema) = &observed.schema
        && !plan.continues
    {
        tables::open(&mut plan, desired, schema);
    }
    roles::limit(&mut plan, desired, observed);

    if !active && !plan.continues && !desired.closed {
        for (role, credential) in &desired.credentials {
            let change = Change::SetPassword { role: role.clone(), credential: credential.clone() };
            plan.push(user_reach(desired), Site::Server, change);
        }
        if !desired.credentials.is_empty() {
            let change = Change::NoteCredentials(desired.credentials.keys().cloned().collect());
            plan.push(user_reach(desired), Site::Registry, change);
        }
        plan.push(Reach::Tenant, Site::Registry, Change::Record(State::Active));
    }
    Ok(plan)
}

/// Whether every table of a shared schema is bound to the current tenant and open to the roles that
/// the tenant uses.
pub fn is_guarded(desired: &Desired, observed: &Observed) -> bool {
    let mut plan = Plan::new(desired.tenant.id.clone(), observed.server.clone());
    if let Some(schema) = &observed.schema {
        tables::open(&mut plan, desired, schema);
    }
    plan.is_empty()
}

/// Whether a plan for this tenant issues a password: its roles log in by themselves, and nobody
/// has been told one. Roles that others use already keep theirs.
pub fn wants_password(desired: &Desired, observed: &Observed) -> bool {
    let active = observed.registered.as_ref().is_some_and(|row| row.state == State::Active);
    desired.login_role.is_none() && !active && (desired.roles_are_its_own || !observed.neighbours)
}

fn migrations(
    plan: &mut Plan,
    desired: &Desired,
    set: &MigrationSet,
    observed: &Observed,
    active: bool,
) -> Result<(), Error> {
    let none = History::default();
    let history = observed.schema.as_ref().and_then(|facts| facts.history.as_ref());
    let pending = pending::decide(set, history.unwrap_or(&none), desired.version)?;
    if pending.is_empty() {
        return Ok(());
    }
    // Migrating tenants that are in use is `migrate up`'s business, with its waves and budgets.
    let shared = desired.tenant.isolation == Isolation::Shared;
    if active || (shared && observed.neighbours) {
        plan.notes.push(format!(
            "{} is behind by {}: tenantctl migrate up --tenant {}",
            desired.tenant.placement,
            crate::model::count(pending.len(), "migration"),
            desired.tenant.id
        ));
        return Ok(());
    }
    let versions: Vec<Version> =
        pending.iter().map(|migration: &&Migration| migration.version).collect();
    let reach = if shared { Reach::Layout } else { Reach::Tenant };
    let change = Change::Migrate { schema: desired.tenant.placement.schema.clone(), versions };
    plan.push(reach, Site::Database { role: Some(desired.tenant.owner.clone()) }, change);
    if shared {
        plan.continues = true;
    }
    Ok(())
}

/// Whose the roles are that use the tenant's objects.
fn user_reach(desired: &Desired) -> Reach {
    if desired.roles_are_its_own { Reach::Tenant } else { Reach::Layout }
}

/// Whose the objects are that hold the tenant's rows.
fn owner_reach(desired: &Desired) -> Reach {
    if desired.tenant.isolation == Isolation::Shared { Reach::Layout } else { Reach::Tenant }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::desired::Credential;
    use crate::plan::properties::{desired, server};

    #[test]
    fn a_password_that_others_use_is_set_under_the_layouts_lock_alone() {
        let none = MigrationSet::new("none", Vec::new()).unwrap();
        let observed = Observed { server: server(150_000), ..Observed::default() };
        for (isolation, reach) in [
            (Isolation::Shared, Reach::Layout),
            (Isolation::Schema, Reach::Tenant),
            (Isolation::Database, Reach::Tenant),
        ] {
            let mut desired = desired(isolation, "acme");
            let credential = Credential { verifier: "SCRAM-SHA-256$…".to_owned() };
            desired.credentials.insert(desired.tenant.role().clone(), credential);
            let plan = provision(&desired, &none, &observed).unwrap();
            let set: Vec<Reach> = plan
                .steps
                .iter()
                .filter(|step| matches!(step.change, Change::SetPassword { .. }))
                .map(|step| step.reach)
                .collect();
            assert_eq!(set, [reach], "{isolation}");
        }
    }
}
