//! What `create` refuses, and what comes near it and is not refused.
#![allow(clippy::unwrap_used)]

use super::{provision, wants_password};
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::migration::MigrationSet;
use crate::model::observed::{DatabaseFacts, Observed, Registered, RoleFacts, SchemaFacts};
use crate::model::tenant::{Isolation, State, TenantId};
use crate::plan::properties::{desired, server};
use crate::plan::world::name;

fn refusal(desired: &Desired, observed: &Observed) -> Error {
    let set = MigrationSet::new("none", Vec::new()).unwrap();
    provision(desired, &set, observed).expect_err("the plan must be refused")
}

fn accepted(desired: &Desired, observed: &Observed) {
    let set = MigrationSet::new("none", Vec::new()).unwrap();
    provision(desired, &set, observed).unwrap();
}

/// A server on which nothing stands yet.
fn nothing() -> Observed {
    Observed { server: server(150_000), ..Observed::default() }
}

/// A server on which the tenant has a place to live.
fn standing(desired: &Desired) -> Observed {
    let owner = desired.tenant.owner.as_str().to_owned();
    Observed {
        database: Some(DatabaseFacts { owner: owner.clone(), ..DatabaseFacts::default() }),
        schema: Some(SchemaFacts { owner, ..SchemaFacts::default() }),
        ..nothing()
    }
}

fn registered(desired: &Desired, state: State) -> Registered {
    Registered { state, ..Registered::from(&desired.tenant) }
}

#[test]
fn a_tenant_of_another_isolation_is_refused() {
    let wanted = desired(Isolation::Schema, "acme");
    let mut observed = standing(&wanted);
    observed.registered = Some(registered(&desired(Isolation::Database, "acme"), State::Active));
    let error = refusal(&wanted, &observed);
    assert_eq!(error.code, Code::Refused);
    assert!(error.message.contains("isolation database"), "{error}");
    observed.registered = Some(registered(&wanted, State::Active));
    accepted(&wanted, &observed);
}

#[test]
fn a_tenant_in_another_place_is_refused() {
    let wanted = desired(Isolation::Schema, "acme");
    let mut observed = nothing();
    observed.registered = Some(registered(&wanted, State::Provisioning));
    observed.registered.as_mut().unwrap().placement.schema = name("elsewhere");
    assert_eq!(refusal(&wanted, &observed).code, Code::Refused);
}

#[test]
fn an_identity_never_changes() {
    let wanted = desired(Isolation::Schema, "acme");
    let mut observed = nothing();
    observed.registered = Some(registered(&wanted, State::Active));
    observed.registered.as_mut().unwrap().uuid = uuid::Uuid::max();
    let error = refusal(&wanted, &observed);
    assert_eq!(error.code, Code::Refused);
    assert!(error.message.contains("never changes"), "{error}");
}

#[test]
fn roles_that_the_registry_does_not_know_are_refused() {
    let wanted = desired(Isolation::Schema, "acme");
    let mut observed = standing(&wanted);
    let row = registered(&wanted, State::Active);
    observed.registered = Some(Registered { roles: vec![name("old_acme")], ..row.clone() });
    let error = refusal(&wanted, &observed);
    assert_eq!(error.code, Code::Refused);
    assert!(error.message.contains("its roles are old_acme, and tenants.toml now"), "{error}");
    observed.registered = Some(Registered { owner: name("old_owner"), ..row.clone() });
    let error = refusal(&wanted, &observed);
    assert!(error.message.contains("its owner is old_owner, and tenants.toml now"), "{error}");
    observed.registered = Some(row);
    accepted(&wanted, &observed);
}

#[test]
fn a_tenant_that_left_is_not_made_again() {
    let wanted = desired(Isolation::Schema, "acme");
    for (state, refused) in [
        (State::Provisioning, false),
        (State::Active, false),
        (State::Suspended, true),
        (State::Moving, true),
        (State::Deleting, true),
        (State::Deleted, true),
        (State::Purged, true),
    ] {
        let mut observed = standing(&wanted);
        observed.registered = Some(registered(&wanted, state));
        if refused {
            assert_eq!(refusal(&wanted, &observed).code, Code::Refused, "{state}");
        } else {
            accepted(&wanted, &observed);
        }
    }
}

#[test]
fn an_active_tenant_is_never_begun_anew() {
    for isolation in Isolation::ALL {
        let wanted = desired(isolation, "acme");
        let whole = standing(&wanted);
        let without_schema = Observed { schema: None, ..whole.clone() };
        let without_database = Observed { database: None, ..without_schema.clone() };
        let mut unusable = without_schema.clone();
        unusable.database.as_mut().unwrap().invalid = true;
        for (lost, says) in [
            (without_schema, "is active, and there is no schema "),
            (without_database, "is active, and there is no database "),
            (unusable, "is active, and there is no database "),
        ] {
            let mut observed = lost;
            observed.registered = Some(registered(&wanted, State::Active));
            let error = refusal(&wanted, &observed);
            assert_eq!(error.code, Code::Refused);
            assert!(error.message.contains(says), "{error}");
            // One that was only begun has nothing to lose.
            observed.registered = Some(registered(&wanted, State::Provisioning));
            accepted(&wanted, &observed);
        }
        let registered = Some(registered(&wanted, State::Active));
        accepted(&wanted, &Observed { registered, ..whole });
    }
}

#[test]
fn a_place_that_another_tenant_holds_is_refused_by_its_name() {
    for isolation in Isolation::ALL {
        let mut observed = nothing();
        observed.holder = Some(TenantId::new("acme-eu").unwrap());
        let error = refusal(&desired(isolation, "acme_eu"), &observed);
        assert_eq!(error.code, Code::NameTaken);
        assert!(error.message.contains("where tenant acme-eu lives"), "{error}");
    }
}

#[test]
fn a_role_of_its_own_that_nobody_registered_is_refused() {
    for isolation in [Isolation::Schema, Isolation::Database] {
        let wanted = desired(isolation, "acme");
        let own = [&wanted.tenant.owner, wanted.tenant.role(), wanted.readonly.as_ref().unwrap()];
        for role in own {
            let mut observed = nothing();
            observed.roles.insert(role.clone(), RoleFacts::default());
            assert_eq!(refusal(&wanted, &observed).code, Code::OwnershipConflict, "{role}");
            // The same role, left by a run that was killed, is the tenant's.
            observed.registered = Some(registered(&wanted, State::Provisioning));
            accepted(&wanted, &observed);
        }
    }
}

#[test]
fn roles_that_every_tenant_uses_may_be_there_already() {
    let wanted = desired(Isolation::Shared, "acme");
    let mut observed = nothing();
    for role in wanted.users().chain([&wanted.tenant.owner]) {
        observed.roles.insert(role.clone(), RoleFacts::default());
    }
    accepted(&wanted, &observed);
    // A pool's login is always somebody else's.
    let mut pooled = desired(Isolation::Schema, "acme");
    pooled.login_role = Some(name("pool"));
    let mut observed = nothing();
    observed.roles.insert(name("pool"), RoleFacts { login: true, ..RoleFacts::default() });
    accepted(&pooled, &observed);
}

#[test]
fn a_role_that_may_do_too_much_is_refused_wherever_it_stands() {
    for attribute in ["SUPERUSER", "BYPASSRLS", "CREATEROLE", "REPLICATION"] {
        let mut wanted = desired(Isolation::Shared, "acme");
        wanted.login_role = Some(name("pool"));
        for role in [wanted.tenant.role().clone(), wanted.tenant.owner.clone(), name("pool")] {
            let mut observed = nothing();
            let facts = RoleFacts { dangerous: vec![attribute], ..RoleFacts::default() };
            observed.roles.insert(role, facts);
            let error = refusal(&wanted, &observed);
            assert_eq!(error.code, Code::Refused);
            assert!(error.message.contains(attribute), "{error}");
        }
    }
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let wanted = desired(Isolation::Database, "acme");
    let mut observed = nothing();
    observed.registered = Some(registered(&wanted, State::Provisioning));
    let facts = |owner: &str| {
        Some(DatabaseFacts { owner: owner.to_owned(), public: true, ..DatabaseFacts::default() })
    };
    observed.database = facts("postgres");
    assert_eq!(refusal(&wanted, &observed).code, Code::OwnershipConflict);
    observed.database = facts(wanted.tenant.owner.as_str());
    accepted(&wanted, &observed);
    // The database that schemas live in is never the tenant's.
    let wanted = desired(Isolation::Schema, "acme");
    let mut observed = nothing();
    observed.database = facts("postgres");
    accepted(&wanted, &observed);
}

#[test]
fn a_schema_of_somebody_else_is_refused_and_so_is_one_that_nobody_registered() {
    for isolation in Isolation::ALL {
        let wanted = desired(isolation, "acme");
        let owner = wanted.tenant.owner.as_str();
        let facts =
            |owner: &str| Some(SchemaFacts { owner: owner.to_owned(), ..SchemaFacts::default() });
        let mut observed = nothing();
        observed.database =
            Some(DatabaseFacts { owner: owner.to_owned(), ..DatabaseFacts::default() });
        observed.schema = facts("somebody");
        assert_eq!(refusal(&wanted, &observed).code, Code::OwnershipConflict, "{isolation}");
        observed.schema = facts(owner);
        if isolation == Isolation::Schema {
            assert_eq!(refusal(&wanted, &observed).code, Code::OwnershipConflict);
        } else {
            accepted(&wanted, &observed);
        }
        observed.registered = Some(registered(&wanted, State::Provisioning));
        accepted(&wanted, &observed);
    }
}

#[test]
fn an_operator_that_cannot_close_a_database_is_refused_before_postgresql_16() {
    let wanted = desired(Isolation::Database, "acme");
    for (version, superuser, inherits, refused) in [
        (140_000, false, false, true),
        (159_999, false, false, true),
        (150_000, false, true, false),
        (150_000, true, false, false),
        (160_000, false, false, false),
    ] {
        let mut observed = nothing();
        observed.server.version = version;
        observed.server.superuser = superuser;
        observed.server.inherits = inherits;
        if refused {
            let error = refusal(&wanted, &observed);
            assert_eq!(error.code, Code::Refused);
            assert!(error.to_string().contains("platform"), "{error}");
        } else {
            accepted(&wanted, &observed);
        }
    }
}

#[test]
fn a_password_is_wanted_by_new_roles_that_log_in() {
    let mut wanted = desired(Isolation::Schema, "acme");
    let mut observed = nothing();
    assert!(wants_password(&wanted, &observed));
    observed.registered = Some(registered(&wanted, State::Active));
    assert!(!wants_password(&wanted, &observed));
    observed.registered = Some(registered(&wanted, State::Provisioning));
    assert!(wants_password(&wanted, &observed));
    wanted.login_role = Some(name("pool"));
    assert!(!wants_password(&wanted, &observed));
    // Somebody uses the shared role already, with a password of theirs.
    let wanted = desired(Isolation::Shared, "acme");
    observed = nothing();
    assert!(wants_password(&wanted, &observed));
    observed.neighbours = true;
    assert!(!wants_password(&wanted, &observed));
}
