//! What the files of a model stand on when they are applied for nobody, to see what they make.

use super::{owner_reach, placement, roles, tables, user_reach};
use crate::model::desired::Desired;
use crate::model::observed::{Observed, SchemaFacts};
use crate::model::tenant::Isolation;
use crate::plan::{Change, Plan, Site};

/// The steps that make the roles and the empty schema of a tenant that nobody will ever see.
///
/// Everything in it can be rolled back, and no step changes what others use: roles that exist stay
/// as they are, and what the owner of shared tables does by default is left alone.
pub fn ground(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::new(desired.tenant.id.clone(), observed.server.clone());
    let (owner, owners, users) = (&desired.tenant.owner, owner_reach(desired), user_reach(desired));
    roles::role(&mut plan, observed, owners, owner, false);
    roles::operator(&mut plan, observed, owners, owner, true);
    for name in desired.users() {
        roles::role(&mut plan, observed, users, name, false);
    }
    let empty = Observed { server: observed.server.clone(), ..Observed::default() };
    placement::schema(&mut plan, desired, &empty);
    let shared = desired.tenant.isolation == Isolation::Shared;
    plan.steps.retain(|step| !(shared && matches!(step.change, Change::CloseFunctions(_))));
    for step in &mut plan.steps {
        // The owner may create no schema in a database that is not its tenant's.
        if matches!(step.change, Change::CreateSchema { .. }) {
            step.site = Site::Database { role: None };
        }
    }
    plan
}

/// The steps that bind and grant what the files made there, as they do for shared tables.
pub fn guard(desired: &Desired, observed: &Observed, schema: &SchemaFacts) -> Plan {
    let mut plan = Plan::new(desired.tenant.id.clone(), observed.server.clone());
    tables::open(&mut plan, desired, schema);
    plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::observed::RoleFacts;
    use crate::plan::properties::{desired, server};

    #[test]
    fn it_begins_with_the_roles_and_ends_in_one_transaction() {
        let observed = Observed { server: server(160_000), ..Observed::default() };
        for isolation in Isolation::ALL {
            let plan = ground(&desired(isolation, "acme"), &observed);
            assert!(plan.steps.iter().all(|step| !step.change.stands_alone()), "{isolation}");
            let place = |wanted: fn(&Change) -> bool| {
                plan.steps.iter().position(|step| wanted(&step.change))
            };
            let schema = place(|change| matches!(change, Change::CreateSchema { .. })).unwrap();
            let last_role = plan
                .steps
                .iter()
                .rposition(|step| matches!(step.change, Change::CreateRole { .. }));
            assert!(last_role.unwrap() < schema, "{isolation}");
            assert_eq!(plan.steps[schema].site, Site::Database { role: None });
        }
    }

    #[test]
    fn what_others_use_stays_as_it_is() {
        let desired = desired(Isolation::Shared, "acme");
        let mut observed = Observed { server: server(150_000), ..Observed::default() };
        for name in desired.users().chain([&desired.tenant.owner]) {
            observed.roles.insert(name.clone(), RoleFacts::default());
        }
        let plan = ground(&desired, &observed);
        assert!(!plan.steps.iter().any(|step| matches!(
            step.change,
            Change::CreateRole { .. } | Change::AllowLogin(_) | Change::CloseFunctions(_)
        )));
    }
}
