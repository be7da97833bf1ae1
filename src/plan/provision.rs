//! The plan that makes one tenant, or finishes one that was begun.

use super::change::{Change, Helper, policy_fingerprint};
use super::{Plan, Reach, Site};
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::migration::{Migration, MigrationSet, Version};
use crate::model::observed::{DefaultGrant, DefaultKind, Observed, Registered, SchemaFacts};
use crate::model::tenant::{Isolation, State, Tenant};

/// Plans the steps that turn `observed` into `desired`; empty when nothing differs.
///
/// Pure. Steps stand in an order in which stopping after any of them leaves a tenant that the next
/// plan completes: the registry's row comes first, `active` last, a table is guarded before it is
/// granted, and a database is closed before anything is put into it.
///
/// Shared tables exist only after their migrations, so a plan that migrates a shared schema ends
/// there with [`Plan::continues`] set: observe again, plan again.
///
/// # Errors
///
/// * [`Code::Refused`] when the tenant exists in another shape, or a role may do too much.
/// * [`Code::NameTaken`] when another tenant holds the schema or database.
/// * [`Code::OwnershipConflict`] when an object belongs to somebody else.
/// * [`Code::HistoryDiverged`] when applied migrations and the files disagree.
pub fn provision(
    desired: &Desired,
    set: &MigrationSet,
    observed: &Observed,
) -> Result<Plan, Error> {
    refuse_conflicts(desired, observed)?;
    let mut plan = Plan::new(desired.tenant.id.clone(), observed.server.clone());
    let active = observed.registered.as_ref().is_some_and(|row| row.state == State::Active);

    if observed.registered.is_none() {
        plan.push(Reach::Tenant, Site::Registry, Change::Record(State::Provisioning));
    }
    roles(&mut plan, desired, observed);
    if desired.tenant.isolation == Isolation::Database {
        database(&mut plan, desired, observed);
    }
    schema(&mut plan, desired, observed);
    migrations(&mut plan, desired, set, observed, active)?;
    if desired.tenant.isolation == Isolation::Shared {
        shared_tables(&mut plan, desired, observed);
    } else {
        own_tables(&mut plan, desired, observed);
    }
    limits(&mut plan, desired, observed);

    if !active && !plan.continues {
        for (role, credential) in &desired.credentials {
            let change = Change::SetPassword { role: role.clone(), credential: credential.clone() };
            plan.push(Reach::Tenant, Site::Server, change);
        }
        plan.push(Reach::Tenant, Site::Registry, Change::Record(State::Active));
    }
    Ok(plan)
}

/// Whether a plan for this tenant issues a password: its roles log in by themselves, and nobody
/// has been told one. Roles that others use already keep theirs.
pub fn wants_password(desired: &Desired, observed: &Observed) -> bool {
    let active = observed.registered.as_ref().is_some_and(|row| row.state == State::Active);
    desired.login_role.is_none() && !active && (desired.roles_are_its_own || !observed.neighbours)
}

/// Refuses what a plan must never paper over, before anything is touched.
fn refuse_conflicts(desired: &Desired, observed: &Observed) -> Result<(), Error> {
    let tenant = &desired.tenant;
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
    if let Some(database) = &observed.database
        && tenant.isolation == Isolation::Database
        && database.owner != tenant.owner.as_str()
    {
        return Err(taken("database", &tenant.placement.database, &database.owner, desired));
    }
    if let Some(schema) = &observed.schema {
        if schema.owner != tenant.owner.as_str() {
            return Err(taken("schema", &tenant.placement.schema, &schema.owner, desired));
        }
        // A schema of the right owner that no registry row explains was not made by us.
        if observed.registered.is_none() && tenant.isolation == Isolation::Schema {
            return Err(taken("schema", &tenant.placement.schema, &schema.owner, desired));
        }
    }
    Ok(())
}

/// Refuses a tenant that exists already with another identity, isolation, place or state.
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
    if matches!(row.state, State::Suspended | State::Deleted) {
        return Err(Error::new(
            Code::Refused,
            format!("tenant {} exists already and is {}", tenant.id, row.state),
        ));
    }
    Ok(())
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

fn roles(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let tenant = &desired.tenant;
    let shared = tenant.isolation == Isolation::Shared;
    let owner_reach = if shared { Reach::Layout } else { Reach::Tenant };
    let users_reach = if desired.roles_are_its_own { Reach::Tenant } else { Reach::Layout };

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
            if !observed.members.contains(&(name.clone(), pool.clone())) {
                let change =
                    Change::GrantRole { role: name.clone(), member: pool.clone(), inherit: false };
                plan.push(users_reach, Site::Server, change);
            }
        }
    }
}

fn role(plan: &mut Plan, observed: &Observed, reach: Reach, name: &Ident, login: bool) {
    match observed.roles.get(name) {
        None => plan.push(reach, Site::Server, Change::CreateRole { name: name.clone(), login }),
        Some(facts) if login && !facts.login => {
            plan.push(reach, Site::Server, Change::AllowLogin(name.clone()));
        }
        Some(_) => {}
    }
}

/// Lets an operator who is no superuser act as a role: it must make objects as their owner.
fn operator(plan: &mut Plan, observed: &Observed, reach: Reach, role: &Ident, inherit: bool) {
    let has = observed.operator.get(role).copied().unwrap_or_default();
    if observed.server.superuser || (has.set && (has.inherit || !inherit)) {
        return;
    }
    if let Ok(member) = Ident::new(observed.server.operator.clone()) {
        let change = Change::GrantRole { role: role.clone(), member, inherit };
        plan.push(reach, Site::Server, change);
    }
}

fn database(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let tenant = &desired.tenant;
    let name = &tenant.placement.database;
    let existing = observed.database.as_ref().filter(|facts| !facts.invalid);
    if observed.database.as_ref().is_some_and(|facts| facts.invalid) {
        plan.push(Reach::Tenant, Site::Server, Change::DropInvalidDatabase(name.clone()));
    }
    if existing.is_none() {
        let change = Change::CreateDatabase { name: name.clone(), owner: tenant.owner.clone() };
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
    let mut settings = desired.limits.settings.clone();
    settings.insert("search_path".to_owned(), tenant.placement.schema.as_str().to_owned());
    for (setting, value) in settings {
        let found = existing.and_then(|facts| facts.settings.get(&setting));
        if !found.is_some_and(|found| holds(&setting, found, &value, tenant)) {
            let change = Change::SetForDatabase { database: name.clone(), setting, value };
            plan.push(Reach::Tenant, Site::Server, change);
        }
    }
}

/// Whether a setting has its value: the server quotes the names in a search path as it likes.
fn holds(setting: &str, found: &str, wanted: &str, tenant: &Tenant) -> bool {
    if setting == "search_path" {
        tenant.placement.schema.is_spelled(found)
    } else {
        found == wanted
    }
}

fn schema(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let tenant = &desired.tenant;
    let shared = tenant.isolation == Isolation::Shared;
    let name = &tenant.placement.schema;
    let owner = &tenant.owner;
    let reach = if shared { Reach::Layout } else { Reach::Tenant };
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
            if current != Some(&helper.fingerprint(sharing)) {
                let change = Change::CreateHelper {
                    schema: name.clone(),
                    helper,
                    sharing: sharing.clone(),
                    users: if desired.roles_are_its_own {
                        Vec::new()
                    } else {
                        desired.users().cloned().collect()
                    },
                };
                plan.push(reach, as_owner.clone(), change);
            }
        }
    }
}

fn user_reach(desired: &Desired) -> Reach {
    if desired.roles_are_its_own { Reach::Tenant } else { Reach::Layout }
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

fn migrations(
    plan: &mut Plan,
    desired: &Desired,
    set: &MigrationSet,
    observed: &Observed,
    active: bool,
) -> Result<(), Error> {
    let none = crate::model::migration::History::default();
    let history = observed.schema.as_ref().and_then(|facts| facts.history.as_ref());
    let pending = super::pending::decide(set, history.unwrap_or(&none), None)?;
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

/// Guards shared tables, then grants them.
fn shared_tables(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    if plan.continues {
        return;
    }
    let (Some(schema), Some(_)) = (&observed.schema, &desired.sharing) else {
        return;
    };
    secure(plan, desired, schema);
}

/// The steps that guard and grant the tables of a shared schema.
pub(super) fn secure(plan: &mut Plan, desired: &Desired, schema: &SchemaFacts) {
    let Some(sharing) = &desired.sharing else {
        return;
    };
    let site = Site::Database { role: Some(desired.tenant.owner.clone()) };
    let named =
        |name: &Ident| QualifiedName::new(desired.tenant.placement.schema.clone(), name.clone());
    for (name, table) in &schema.tables {
        let Some(key_type) = &table.key_type else {
            continue;
        };
        let guarded = table.rls
            && table.forced
            && table
                .policy
                .as_ref()
                .is_some_and(|found| found == &policy_fingerprint(sharing, key_type));
        // A team that wrote its own policies keeps them; `verify-rls` judges them.
        let keeps_its_own = table.policy.is_none() && table.other_policies > 0;
        if !guarded && !keeps_its_own {
            let change = Change::GuardTable {
                table: named(name),
                sharing: sharing.clone(),
                key_type: key_type.clone(),
            };
            plan.push(Reach::Layout, site.clone(), change);
        }
    }
    for (name, table) in &schema.tables {
        // Rows of a partition are reached through its parent, which has the policy.
        if table.key_type.is_none() || table.partition {
            continue;
        }
        grant_table(plan, desired, &site, &named(name), &table.write, &table.read);
    }
    grant_sequences(plan, desired, &site, schema);
}

/// Grants what exists already: default privileges only reach what comes after them.
fn own_tables(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let Some(schema) = &observed.schema else {
        return;
    };
    let site = Site::Database { role: Some(desired.tenant.owner.clone()) };
    for (name, table) in &schema.tables {
        let named = QualifiedName::new(desired.tenant.placement.schema.clone(), name.clone());
        grant_table(plan, desired, &site, &named, &table.write, &table.read);
    }
    grant_sequences(plan, desired, &site, schema);
}

fn grant_table(
    plan: &mut Plan,
    desired: &Desired,
    site: &Site,
    table: &QualifiedName,
    writers: &std::collections::BTreeSet<Ident>,
    readers: &std::collections::BTreeSet<Ident>,
) {
    for role in desired.tenant.roles.iter().filter(|role| !writers.contains(*role)) {
        let change = Change::GrantTable { table: table.clone(), role: role.clone(), write: true };
        plan.push(user_reach(desired), site.clone(), change);
    }
    for role in desired.readonly.iter().filter(|role| !readers.contains(*role)) {
        let change = Change::GrantTable { table: table.clone(), role: role.clone(), write: false };
        plan.push(user_reach(desired), site.clone(), change);
    }
}

fn grant_sequences(plan: &mut Plan, desired: &Desired, site: &Site, schema: &SchemaFacts) {
    for (name, users) in &schema.sequences {
        for role in desired.tenant.roles.iter().filter(|role| !users.contains(*role)) {
            let change = Change::GrantSequence {
                sequence: QualifiedName::new(desired.tenant.placement.schema.clone(), name.clone()),
                role: role.clone(),
            };
            plan.push(user_reach(desired), site.clone(), change);
        }
    }
}

fn limits(plan: &mut Plan, desired: &Desired, observed: &Observed) {
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
        if let Some(limit) = desired.limits.connection_limit
            && facts.map(|facts| facts.connection_limit) != Some(limit)
        {
            let change = Change::LimitConnections { role: role.clone(), limit };
            plan.push(Reach::Tenant, Site::Server, change);
        }
        if tenant.isolation == Isolation::Database {
            continue;
        }
        for (setting, value) in &desired.limits.settings {
            if facts.and_then(|facts| facts.settings.get(setting)) != Some(value) {
                let change = Change::SetForRole {
                    role: role.clone(),
                    database: None,
                    setting: setting.clone(),
                    value: value.clone(),
                };
                plan.push(Reach::Tenant, Site::Server, change);
            }
        }
        let path = tenant.placement.schema.as_str();
        let found = facts.and_then(|facts| facts.settings_here.get("search_path"));
        if !found.is_some_and(|found| tenant.placement.schema.is_spelled(found)) {
            let change = Change::SetForRole {
                role: role.clone(),
                database: Some(tenant.placement.database.clone()),
                setting: "search_path".to_owned(),
                value: path.to_owned(),
            };
            plan.push(Reach::Tenant, Site::Server, change);
        }
    }
}
