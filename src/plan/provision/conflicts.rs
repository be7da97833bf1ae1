//! What a plan must never paper over: everything here is refused before anything is touched.

use super::template;
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::observed::{Observed, Registered, ServerFacts};
use crate::model::tenant::{Isolation, State, Tenant};

/// Refuses what a plan must never paper over, before anything is touched.
pub(super) fn refuse(desired: &Desired, observed: &Observed) -> Result<(), Error> {
    let tenant = &desired.tenant;
    refuse_powerless_operator(&observed.server)?;
    if let Some(row) = &observed.registered {
        refuse_another_shape(desired, row)?;
    }
    if let Some(holder) = &observed.holder {
        return Err(Error::new(
            Code::NameTaken,
            format!(
                "tenant {} would live in {}, where tenant {holder} lives",
                tenant.id, tenant.placement
            ),
        )
        .hint("ids that differ only in '-' and '_' map to one name: choose another id"));
    }
    refuse_to_begin_anew(desired, observed)?;
    if observed.registered.is_none() {
        let mut own: Vec<&Ident> = Vec::new();
        if tenant.isolation != Isolation::Shared {
            own.push(&tenant.owner);
        }
        if desired.roles_are_its_own {
            own.extend(desired.users());
        }
        if let Some(role) = own.into_iter().find(|role| observed.roles.contains_key(*role)) {
            return Err(Error::new(
                Code::OwnershipConflict,
                format!("role {role} exists already, and is not known as tenant {}", tenant.id),
            )
            .hint(format!("choose another id, or drop role {role} if it is a leftover")));
        }
    }
    for (role, facts) in &observed.roles {
        if !facts.dangerous.is_empty() {
            return Err(Error::new(
                Code::Refused,
                format!(
                    "role {role} is {}: an application must not be",
                    facts.dangerous.join(", ")
                ),
            )
            .hint("name another role in tenants.toml, or take these attributes away"));
        }
    }
    refuse_a_pool_that_is_everybody(desired, observed)?;
    if let Some(database) = &observed.database
        && tenant.isolation == Isolation::Database
        && database.owner != tenant.owner.as_str()
    {
        return Err(taken("database", &tenant.placement.database, &database.owner, desired));
    }
    if let Some(schema) = &observed.schema {
        // A copy that was not adopted yet stands in a database that is the tenant's.
        let adoptable = observed.registered.is_some() && template::is_unadopted(desired, observed);
        if schema.owner != tenant.owner.as_str() && !adoptable {
            return Err(taken("schema", &tenant.placement.schema, &schema.owner, desired));
        }
        // A schema of the right owner that no registry row explains was not made by us.
        if observed.registered.is_none() && tenant.isolation == Isolation::Schema {
            return Err(taken("schema", &tenant.placement.schema, &schema.owner, desired));
        }
    }
    Ok(())
}

/// The operator's own grant can be granted anew with other options, somebody else's cannot.
fn refuse_a_pool_that_is_everybody(desired: &Desired, observed: &Observed) -> Result<(), Error> {
    let Some(pool) = &desired.login_role else {
        return Ok(());
    };
    for role in desired.users() {
        let facts = observed.members.get(&(role.clone(), pool.clone()));
        if let Some(grantor) = facts.and_then(|facts| facts.inherits_from.as_ref()) {
            return Err(Error::new(
                Code::Refused,
                format!("role {pool} has the privileges of {role} without SET ROLE"),
            )
            .hint(format!(
                "as {grantor}: REVOKE INHERIT OPTION FOR {role} FROM {pool} GRANTED BY {grantor};"
            )));
        }
    }
    Ok(())
}

/// An active tenant has rows somewhere: an empty schema in their place would look like all is well.
fn refuse_to_begin_anew(desired: &Desired, observed: &Observed) -> Result<(), Error> {
    if observed.registered.as_ref().is_none_or(|row| row.state != State::Active) {
        return Ok(());
    }
    let placement = &desired.tenant.placement;
    let gone = if observed.database.as_ref().is_none_or(|facts| facts.invalid) {
        format!("database {}", placement.database)
    } else if observed.schema.is_none() {
        format!("schema {} in database {}", placement.schema, placement.database)
    } else {
        return Ok(());
    };
    Err(Error::new(
        Code::Refused,
        format!("tenant {} is active, and there is no {gone}", desired.tenant.id),
    )
    .hint("bring it back from a backup; if it was never lost, check that the URL names the right server"))
}

/// Before PostgreSQL 16 a member's own INHERIT decides whether it has an owner's privileges, and to
/// those who lack them the server answers `REVOKE … FROM PUBLIC` with a warning and success.
fn refuse_powerless_operator(server: &ServerFacts) -> Result<(), Error> {
    if server.superuser || server.inherits || server.membership_options() {
        return Ok(());
    }
    let operator = &server.operator;
    Err(Error::new(
        Code::Refused,
        format!(
            "role {operator}, which tenantctl works as, does not inherit the owners' privileges"
        ),
    )
    .hint(format!("as a superuser: ALTER ROLE {operator} INHERIT;")))
}

/// Refuses a tenant that exists already with another identity, isolation, place, state or roles.
///
/// # Errors
///
/// [`Code::Refused`], saying what it is and what it was asked to be.
pub fn refuse_another_shape(desired: &Desired, row: &Registered) -> Result<(), Error> {
    let tenant = &desired.tenant;
    if row.isolation != tenant.isolation || row.placement != tenant.placement {
        return Err(Error::new(
            Code::Refused,
            format!(
                "tenant {} exists already: isolation {} at {}, not {} at {}",
                tenant.id, row.isolation, row.placement, tenant.isolation, tenant.placement
            ),
        )
        .hint(format!("see it with: tenantctl show {}", tenant.id)));
    }
    if row.uuid != tenant.uuid {
        return Err(Error::new(
            Code::Refused,
            format!(
                "tenant {} exists already with uuid {}, which never changes",
                tenant.id, row.uuid
            ),
        ));
    }
    let hint = match row.state {
        State::Provisioning | State::Active => None,
        State::Suspended => Some(format!("open it again with: tenantctl resume {}", tenant.id)),
        State::Deleting => Some(format!("bring it back with: tenantctl undelete {}", tenant.id)),
        State::Moving => Some(format!("see it with: tenantctl show {}", tenant.id)),
        State::Deleted | State::Purged => {
            Some("take another id: this one stays its own".to_owned())
        }
    };
    if let Some(hint) = hint {
        return Err(Error::new(
            Code::Refused,
            format!("tenant {} exists already and is {}", tenant.id, row.state),
        )
        .hint(hint));
    }
    refuse_other_roles(tenant, row)
}

/// The registry keeps the roles that a tenant was made with, and everything else believes it: a role
/// that it does not know would reach the tenant's rows unseen.
fn refuse_other_roles(tenant: &Tenant, row: &Registered) -> Result<(), Error> {
    let listed =
        |roles: &[Ident]| roles.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ");
    let (was, wanted) = if row.owner != tenant.owner {
        (format!("owner is {}", row.owner), tenant.owner.to_string())
    } else if row.roles != tenant.roles {
        (format!("roles are {}", listed(&row.roles)), listed(&tenant.roles))
    } else {
        return Ok(());
    };
    Err(Error::new(
        Code::Refused,
        format!(
            "tenant {} exists already: its {was}, and tenants.toml now names {wanted}",
            tenant.id
        ),
    )
    .hint("put the names in tenants.toml back: a tenant keeps the roles that it was made with"))
}

/// Taking an object over would hand one customer's data to another.
fn taken(kind: &str, name: &Ident, owner: &str, desired: &Desired) -> Error {
    Error::new(
        Code::OwnershipConflict,
        format!(
            "{kind} {name} exists already, belongs to {owner}, and is not known as tenant {}",
            desired.tenant.id
        ),
    )
    .hint(format!("choose another id, or drop or rename {kind} {name} if it is a leftover"))
}
