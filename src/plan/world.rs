//! A server in memory, for the tests of the plan: it knows what every change does, and refuses
//! what PostgreSQL would refuse and what no moment of a plan may do.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::{Change, CopyOf, Site, Step, TEMPLATE_OWNER, TEMPLATE_PREFIX, policy_fingerprint};
use crate::model::desired::Desired;
use crate::model::ident::Ident;
use crate::model::migration::{Applied, History, MigrationSet, Version};
use crate::model::observed::{
    DatabaseFacts, DefaultGrant, DefaultKind, HelperFacts, MembershipFacts, Observed,
    OperatorReach, Registered, RoleFacts, SchemaFacts, TableFacts, TemplateFacts,
};
use crate::model::tenant::Isolation;

/// What a migration makes: its table, and perhaps a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) table: TableFacts,
    pub(super) sequence: bool,
}

/// Everything that stands on one server and in the registry, as one tenant sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) facts: Observed,
    made_by: BTreeMap<Version, Made>,
    /// What the template holds.
    inside_template: Option<SchemaFacts>,
}

impl World {
    pub(super) fn new(facts: Observed, made_by: BTreeMap<Version, Made>) -> Self {
        Self { facts, made_by, inside_template: None }
    }

    /// What an observation for this tenant finds: no role that the plan cannot name.
    pub(super) fn observe(&self, desired: &Desired) -> Observed {
        let mut seen = self.facts.clone();
        let named = |role: &Ident| {
            desired.tenant.owner == *role
                || role.as_str() == TEMPLATE_OWNER
                || desired.users().chain(&desired.login_role).any(|name| name == role)
        };
        seen.roles.retain(|role, _| named(role));
        seen.operator.retain(|role, _| named(role));
        seen.members.retain(|(role, member), _| named(role) && named(member));
        if seen.database.as_ref().is_none_or(|database| database.invalid) {
            seen.schema = None;
        }
        seen
    }

    /// Carries one step out.
    pub(super) fn apply(
        &mut self,
        desired: &Desired,
        set: &MigrationSet,
        step: &Step,
    ) -> Result<(), String> {
        if let Site::Database { role } = &step.site {
            if self.facts.database.as_ref().is_none_or(|database| database.invalid) {
                return Err("there is no database to connect to".to_owned());
            }
            if let Some(role) = role
                && !self.reach(role)?.set
            {
                return Err(format!("the operator may not become {role}"));
            }
        }
        if let Site::Template { database, role } = &step.site {
            let facts = self.facts.templates.get(database).ok_or("there is no template")?;
            if facts.sealed {
                return Err("a sealed template is changed".to_owned());
            }
            let mut of_template = desired.clone();
            of_template.tenant.owner = name(TEMPLATE_OWNER);
            let elsewhere = Step {
                site: Site::Database { role: role.clone() },
                change: step.change.clone(),
                ..*step
            };
            // The same changes, in another place.
            let mut place = Self { facts: self.facts.clone(), ..self.clone() };
            place.facts.database = Some(DatabaseFacts::default());
            place.facts.schema = self.inside_template.take();
            place.apply(&of_template, set, &elsewhere)?;
            self.inside_template = place.facts.schema;
            return Ok(());
        }
        match &step.change {
            Change::Migrate { versions, .. } => {
                versions.iter().try_for_each(|version| self.migrate(desired, set, *version))
            }
            Change::NoteCredentials(roles) => {
                roles.iter().try_for_each(|role| self.role(role).map(|_| ()))
            }
            Change::Record(state) => {
                let row = Registered { state: *state, ..Registered::from(&desired.tenant) };
                self.facts.registered = Some(row);
                Ok(())
            }
            change => self.change(desired, step, change),
        }
    }

    fn change(&mut self, desired: &Desired, step: &Step, change: &Change) -> Result<(), String> {
        match change {
            Change::CreateRole { name, login } => {
                let facts = RoleFacts {
                    login: *login,
                    inherit: !login,
                    connection_limit: -1,
                    ..RoleFacts::default()
                };
                let everything = self.facts.server.superuser;
                let reach = OperatorReach { set: everything, inherit: everything };
                self.facts.operator.insert(name.clone(), reach);
                absent(self.facts.roles.insert(name.clone(), facts).as_ref(), name)
            }
            Change::AllowLogin(name) => {
                self.role(name)?.login = true;
                Ok(())
            }
            Change::StopInheriting(name) => {
                self.role(name)?.inherit = false;
                Ok(())
            }
            Change::GrantRole { role, member, inherit } => {
                self.role(role)?;
                if member.as_str() == self.facts.server.operator {
                    let server = &self.facts.server;
                    let inherit =
                        if server.membership_options() { *inherit } else { server.inherits };
                    self.facts.operator.insert(role.clone(), OperatorReach { set: true, inherit });
                } else {
                    self.role(member)?;
                    let inherit = *inherit && self.facts.server.membership_options();
                    let facts = MembershipFacts { set: true, inherit, inherits_from: None };
                    self.facts.members.insert((role.clone(), member.clone()), facts);
                }
                Ok(())
            }
            Change::LimitConnections { role, limit } => {
                self.role(role)?.connection_limit = *limit;
                Ok(())
            }
            Change::SetPassword { role, .. } => self.role(role).map(|_| ()),
            Change::SetForRole { role, database, setting, value } => {
                let value = stored(setting, value);
                let facts = self.role(role)?;
                let settings = match database {
                    None => &mut facts.settings,
                    Some(_) => &mut facts.settings_here,
                };
                settings.insert(setting.clone(), value);
                Ok(())
            }
            Change::SetForDatabase { setting, value, .. } => {
                let value = stored(setting, value);
                self.own_database(desired)?.settings.insert(setting.clone(), value);
                Ok(())
            }
            Change::DropInvalidDatabase(_) => {
                if !self.facts.database.take().is_some_and(|database| database.invalid) {
                    return Err("a database that is in use would be dropped".to_owned());
                }
                for facts in self.facts.roles.values_mut() {
                    facts.settings_here.clear();
                }
                self.facts.schema = None;
                Ok(())
            }
            Change::DropTemplate(name) => {
                self.facts.templates.remove(name).ok_or("there is no template")?;
                self.inside_template = None;
                Ok(())
            }
            Change::LendDatabase { database, label, .. } => {
                let facts = self.facts.templates.get_mut(database).ok_or("there is no template")?;
                facts.label.clone_from(label);
                Ok(())
            }
            Change::SealTemplate { name, .. } => {
                let facts = self.facts.templates.get_mut(name).ok_or("there is no template")?;
                facts.sealed = true;
                Ok(())
            }
            Change::CreateDatabase { name, copy_of: None, .. }
                if name.as_str().starts_with(TEMPLATE_PREFIX) =>
            {
                let none = self.facts.templates.insert(name.clone(), TemplateFacts::default());
                absent(none.as_ref(), name)
            }
            Change::CloseDatabase(name) if name.as_str().starts_with(TEMPLATE_PREFIX) => Ok(()),
            Change::AdoptCopy { from, to } => {
                if self.facts.database.as_ref().is_none_or(|database| database.public) {
                    return Err("a copy is adopted while it is open to PUBLIC".to_owned());
                }
                if !self.reach(from)?.inherit || !self.reach(to)?.inherit {
                    return Err("the operator cannot hand over what it does not have".to_owned());
                }
                let schema = self.facts.schema.as_mut().ok_or("there is nothing to adopt")?;
                to.as_str().clone_into(&mut schema.owner);
                // Default privileges belong to the role that granted them.
                schema.functions_closed = false;
                Ok(())
            }
            Change::CreateDatabase { name, owner, copy_of } => {
                if let Some(CopyOf { template, .. }) = copy_of {
                    if !self.facts.templates.get(template).is_some_and(|facts| facts.sealed) {
                        return Err("a half made template is copied".to_owned());
                    }
                    self.facts.schema.clone_from(&self.inside_template);
                }
                if !self.reach(owner)?.set {
                    return Err(format!("the operator may not give a database to {owner}"));
                }
                let facts = DatabaseFacts {
                    owner: owner.as_str().to_owned(),
                    public: true,
                    ..DatabaseFacts::default()
                };
                absent(self.facts.database.replace(facts).as_ref(), name)
            }
            Change::CloseDatabase(_) => {
                self.own_database(desired)?.public = false;
                Ok(())
            }
            Change::GrantConnect { role, .. } => {
                self.role(role)?;
                self.own_database(desired)?.connect.insert(role.clone());
                Ok(())
            }
            Change::CreateSchema { name, owner } => {
                let isolation = desired.tenant.isolation;
                let open = self.facts.database.as_ref().is_some_and(|facts| facts.public);
                if isolation == Isolation::Database && open {
                    return Err("the database gets a schema while it is open to PUBLIC".to_owned());
                }
                self.reach(owner)?;
                let facts =
                    SchemaFacts { owner: owner.as_str().to_owned(), ..SchemaFacts::default() };
                absent(self.facts.schema.replace(facts).as_ref(), name)
            }
            inside => {
                let owner = &desired.tenant.owner;
                if step.site != (Site::Database { role: Some(owner.clone()) }) {
                    return Err(format!("{} is not done by the owner", inside.describe()));
                }
                self.inside(desired, inside)
            }
        }
    }

    /// Changes inside the schema.
    fn inside(&mut self, desired: &Desired, change: &Change) -> Result<(), String> {
        if let Some(role) = grantee(change) {
            self.role(role)?;
        }
        let shared = desired.tenant.isolation == Isolation::Shared;
        let schema = self.facts.schema.as_mut().ok_or("there is no schema")?;
        match change {
            Change::CloseSchema(_) => schema.public = false,
            Change::GrantUsage { role, .. } => {
                schema.usage.insert(role.clone());
            }
            Change::CloseFunctions(_) => schema.functions_closed = true,
            Change::GrantByDefault { kind, role, .. } => {
                let grant = DefaultGrant { role: role.clone(), kind: *kind };
                // Who may read and write may read.
                if *kind == DefaultKind::Tables {
                    let kind = DefaultKind::TablesRead;
                    schema.defaults.insert(DefaultGrant { role: role.clone(), kind });
                }
                schema.defaults.insert(grant);
            }
            Change::CreateHistory(name) => {
                let opened = schema.by_default(DefaultKind::TablesRead);
                schema.history_granted = opened.into_iter().collect();
                absent(schema.history.replace(History::default()).as_ref(), name)?;
            }
            Change::CloseHistory { role, .. } => {
                schema.history.as_ref().ok_or("there is no history")?;
                schema.history_granted.remove(role);
            }
            Change::CreateHelper { helper, sharing, .. } => {
                let opened = schema.by_default(DefaultKind::Functions);
                let facts = schema.helpers.entry(helper.name().to_owned()).or_insert_with(|| {
                    HelperFacts { execute: opened.into_iter().collect(), ..HelperFacts::default() }
                });
                facts.fingerprint = helper.fingerprint(sharing);
            }
            Change::GrantHelper { helper, role, .. } => {
                let facts = schema.helpers.get_mut(helper.name()).ok_or("there is no function")?;
                facts.execute.insert(role.clone());
            }
            Change::GuardTable { table, sharing, key_type } => {
                let facts = schema.tables.get_mut(&table.name).ok_or("there is no table")?;
                facts.policy = Some(policy_fingerprint(sharing, key_type));
                (facts.rls, facts.forced) = (true, true);
            }
            Change::EnforcePolicies(table) => {
                let facts = schema.tables.get_mut(&table.name).ok_or("there is no table")?;
                (facts.rls, facts.forced) = (true, true);
            }
            Change::GrantTable { table, role, write } => {
                let facts = schema.tables.get_mut(&table.name).ok_or("there is no table")?;
                if shared && !facts.is_guarded() {
                    return Err(format!("{table} is granted to {role} before it is guarded"));
                }
                facts.read.insert(role.clone());
                if *write {
                    facts.write.insert(role.clone());
                }
            }
            Change::GrantFunction { signature, role, .. } => {
                schema.functions.get_mut(signature).ok_or("no function")?.insert(role.clone());
            }
            Change::GrantSequence { sequence, role } => {
                let users = schema.sequences.get_mut(&sequence.name).ok_or("no sequence")?;
                users.insert(role.clone());
            }
            other => return Err(format!("{} is done inside a schema", other.describe())),
        }
        Ok(())
    }

    /// Applies one migration: what it makes is granted as the default privileges say.
    fn migrate(
        &mut self,
        desired: &Desired,
        set: &MigrationSet,
        version: Version,
    ) -> Result<(), String> {
        let migration = set.get(version).ok_or("there is no such migration")?;
        let schema = self.facts.schema.as_mut().ok_or("there is no schema")?;
        let made = self.made_by.get(&version).cloned();
        if let Some(Made { mut table, sequence }) = made {
            table.write = schema.by_default(DefaultKind::Tables).into_iter().collect();
            table.read = schema.by_default(DefaultKind::TablesRead).into_iter().collect();
            if desired.sharing.is_none() {
                table.key_type = None;
            } else if !table.read.is_empty() {
                return Err("a shared table is open before it has a policy".to_owned());
            }
            if sequence {
                let users = schema.by_default(DefaultKind::Sequences).into_iter().collect();
                schema.sequences.insert(name(&format!("t{version}_id_seq")), users);
                let users = schema.by_default(DefaultKind::Functions).into_iter().collect();
                schema.functions.insert(format!("f{version}()"), users);
            }
            schema.tables.insert(name(&format!("t{version}")), table);
        }
        let history = schema.history.as_mut().ok_or("there is no history")?;
        history.0.push(Applied {
            version,
            name: migration.name.clone(),
            applied_on: "2026-01-01T00:00:00Z".to_owned(),
            checksum: migration.checksum,
        });
        Ok(())
    }

    fn role(&mut self, name: &Ident) -> Result<&mut RoleFacts, String> {
        self.facts.roles.get_mut(name).ok_or_else(|| format!("there is no role {name}"))
    }

    fn reach(&self, name: &Ident) -> Result<OperatorReach, String> {
        self.facts.operator.get(name).copied().ok_or_else(|| format!("there is no role {name}"))
    }

    /// The tenant's database, which only those who have its owner's privileges may change: to
    /// anybody else the server answers REVOKE with no more than a warning.
    fn own_database(&mut self, desired: &Desired) -> Result<&mut DatabaseFacts, String> {
        if !self.reach(&desired.tenant.owner)?.inherit {
            return Err("the operator does not have the privileges of the owner".to_owned());
        }
        self.facts.database.as_mut().ok_or_else(|| "there is no database".to_owned())
    }
}

impl TableFacts {
    /// Whether an application role may be let in.
    pub(super) fn is_guarded(&self) -> bool {
        self.rls && self.forced && (self.policy.is_some() || self.other_policies > 0)
    }
}

impl SchemaFacts {
    fn by_default(&self, kind: DefaultKind) -> Vec<Ident> {
        let of_kind = self.defaults.iter().filter(|grant| grant.kind == kind);
        of_kind.map(|grant| grant.role.clone()).collect()
    }
}

fn grantee(change: &Change) -> Option<&Ident> {
    match change {
        Change::GrantUsage { role, .. }
        | Change::GrantByDefault { role, .. }
        | Change::GrantHelper { role, .. }
        | Change::GrantTable { role, .. }
        | Change::GrantFunction { role, .. }
        | Change::GrantSequence { role, .. } => Some(role),
        _ => None,
    }
}

/// A setting as the server keeps it: names in `search_path` are quoted where they must be.
fn stored(setting: &str, value: &str) -> String {
    if setting == "search_path" { name(value).quoted().into_owned() } else { value.to_owned() }
}

fn absent<T>(existing: Option<&T>, name: &Ident) -> Result<(), String> {
    if existing.is_some() { Err(format!("{name} exists already")) } else { Ok(()) }
}

/// A name that is known to be one.
pub(super) fn name(text: &str) -> Ident {
    Ident::new(text).unwrap()
}
