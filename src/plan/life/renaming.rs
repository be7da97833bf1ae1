//! The statements that give a tenant another name: its id, its place, its roles.
//!
//! Grants and default privileges are kept by the server under numbers, so they go along. What is
//! named by the templates gets the name that they give; what is named otherwise keeps its own.

use std::collections::BTreeSet;

use crate::model::credential::second_login;
use crate::model::ident::Ident;
use crate::model::life::{Doors, Grant, Household};
use crate::model::tenant::{Isolation, Tenant};
use crate::plan::task::{Act, Place, Task};
use crate::sql;
use crate::sql::{Literal, Sql};

/// A tenant's names, before and after.
#[derive(Clone, Debug)]
pub struct Renaming {
    /// The tenant as it is, with its roles.
    pub house: Household,
    /// The tenant as it will be.
    pub to: Tenant,
    /// Roles that get another name, old and new.
    pub roles: Vec<(Ident, Ident)>,
    /// What second logins of those roles are called, old and new, whether they are there or not.
    pub second_logins: Vec<(Ident, Ident)>,
    /// What was open before it was closed, by its old names.
    pub closed: Option<Doors>,
}

/// What stands on the server of the old and the new names.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Roles that are there.
    pub roles: BTreeSet<Ident>,
    /// Databases that are there.
    pub databases: BTreeSet<Ident>,
    /// Schemas that are there, in the tenant's database.
    pub schemas: BTreeSet<Ident>,
    /// Whether the registry is in the tenant's database.
    pub registry_is_here: bool,
    /// Whether the registry is on the tenant's cluster.
    pub registry_is_near: bool,
}

impl Renaming {
    /// Whether the database gets another name.
    fn database(&self) -> Option<(&Ident, &Ident)> {
        let (old, new) = (&self.house.tenant.placement.database, &self.to.placement.database);
        (old != new).then_some((old, new))
    }

    /// Whether the schema gets another name.
    fn schema(&self) -> Option<(&Ident, &Ident)> {
        let (old, new) = (&self.house.tenant.placement.schema, &self.to.placement.schema);
        (old != new).then_some((old, new))
    }

    /// A role by its new name.
    fn role(&self, old: &Ident) -> Ident {
        let renamed = self.pairs().find(|(from, _)| from == old);
        renamed.map_or_else(|| old.clone(), |(_, to)| to.clone())
    }

    fn pairs(&self) -> impl Iterator<Item = &(Ident, Ident)> {
        self.roles.iter().chain(&self.second_logins)
    }

    /// What is called otherwise afterwards, in words: what, old, new.
    pub fn names(&self) -> Vec<(&'static str, Ident, Ident)> {
        let named = |what: &'static str, pair: Option<(&Ident, &Ident)>| {
            pair.map(|(old, new)| (what, old.clone(), new.clone()))
        };
        let there = |(old, _): &&(Ident, Ident)| self.house.second_logins.contains(old);
        let roles = self.roles.iter().chain(self.second_logins.iter().filter(there));
        named("database", self.database())
            .into_iter()
            .chain(named("schema", self.schema()))
            .chain(roles.map(|(old, new)| ("role", old.clone(), new.clone())))
            .collect()
    }

    /// New names that somebody else has: both the old and the new one are there.
    pub fn taken(&self, standing: &Standing) -> Vec<String> {
        let mut taken = Vec::new();
        for (old, new) in self.pairs() {
            if standing.roles.contains(old) && standing.roles.contains(new) {
                taken.push(format!("role {new}"));
            }
        }
        let there = |names: &BTreeSet<Ident>, pair: Option<(&Ident, &Ident)>| {
            pair.filter(|(old, new)| names.contains(*old) && names.contains(*new))
                .map(|(_, new)| new.clone())
        };
        taken.extend(
            there(&standing.databases, self.database()).map(|name| format!("database {name}")),
        );
        taken.extend(there(&standing.schemas, self.schema()).map(|name| format!("schema {name}")));
        taken
    }

    /// The tasks. Where the registry is in reach of one transaction there is one; otherwise the
    /// registry comes last, and a run that is killed before it is finished by the next.
    pub fn tasks(&self, standing: &Standing) -> Vec<Task> {
        let tenant = &self.house.tenant;
        let mut inside = Vec::new();
        if let Some((old, new)) = self.schema()
            && standing.schemas.contains(old)
        {
            inside.push(sql!("ALTER SCHEMA {} RENAME TO {}", old, new));
        }
        let mut near = Vec::new();
        let mut whole = None;
        if let Some((old, new)) = self.database()
            && standing.databases.contains(old)
        {
            whole = Some(sql!("ALTER DATABASE {} RENAME TO {}", old, new));
        }
        for (old, new) in self.roles.iter().filter(|(old, _)| standing.roles.contains(old)) {
            near.push(sql!("ALTER ROLE {} RENAME TO {}", old, new));
        }
        // What a role begins with is kept as text: the role that a second login becomes, the path.
        let second = self.house.own_roles.iter().filter_map(|role| {
            second_login(role)
                .ok()
                .filter(|login| self.house.second_logins.contains(login))
                .map(|login| (role, login))
        });
        for (role, login) in second.filter(|(role, _)| self.role(role) != **role) {
            near.push(sql!("ALTER ROLE {} RENAME TO {}", login, self.role(&login)));
            let becomes = self.role(role);
            near.push(sql!(
                "ALTER ROLE {} SET role = {}",
                self.role(&login),
                Literal(becomes.as_str())
            ));
        }
        if self.schema().is_some() && tenant.isolation == Isolation::Schema {
            for role in self.house.logins().map(|role| self.role(role)) {
                near.push(sql!(
                    "ALTER ROLE {} IN DATABASE {} SET search_path = {}",
                    role,
                    self.to.placement.database,
                    Literal(self.to.placement.schema.as_str())
                ));
            }
        }
        if let Some((_, new)) = self.schema()
            && tenant.isolation == Isolation::Database
        {
            near.push(sql!(
                "ALTER DATABASE {} SET search_path = {}",
                self.to.placement.database,
                Literal(new.as_str())
            ));
        }
        let what = format!("rename what is named after {} for {}", tenant.id, self.to.id);
        let database = tenant.placement.database.clone();
        let here = Place::Database { database, role: None };
        let task = |place: Place, what: &str, statements: Vec<Sql>| Task {
            place,
            what: what.to_owned(),
            act: Act::Together(statements),
        };
        let registry = self.registry();
        let mut tasks = Vec::new();
        match tenant.isolation {
            Isolation::Database => {
                if !inside.is_empty() {
                    tasks.push(task(here, &format!("{what}: its schema"), inside));
                }
                let all: Vec<Sql> = whole.into_iter().chain(near).collect();
                if standing.registry_is_near {
                    let all = all.into_iter().chain(registry).collect();
                    tasks.push(task(Place::Registry, &what, all));
                } else {
                    tasks.push(task(Place::Server, &what, all));
                    tasks.push(task(Place::Registry, "record its new name", registry));
                }
            }
            Isolation::Shared | Isolation::Schema => {
                let all: Vec<Sql> = inside.into_iter().chain(near).collect();
                if standing.registry_is_here {
                    let all = all.into_iter().chain(registry).collect();
                    tasks.push(task(Place::Registry, &what, all));
                } else {
                    if !all.is_empty() {
                        tasks.push(task(here, &what, all));
                    }
                    tasks.push(task(Place::Registry, "record its new name", registry));
                }
            }
        }
        tasks
    }

    /// What the registry says from now on. The old id stays the tenant's.
    fn registry(&self) -> Vec<Sql> {
        let (from, to) = (&self.house.tenant, &self.to);
        let roles: Vec<Sql> =
            to.roles.iter().map(|role| sql!("{}", Literal(role.as_str()))).collect();
        let closed = match &self.closed {
            None => sql!("NULL"),
            Some(doors) => {
                let text = serde_json::to_string(&self.doors(doors)).unwrap_or_default();
                sql!("{}::jsonb", Literal(&text))
            }
        };
        let mut statements = self.issued();
        statements.extend([
            sql!("DELETE FROM tenantctl.former_ids WHERE id = {}", Literal(to.id.as_str())),
            sql!(
                "UPDATE tenantctl.tenants SET id = {}, database = {}, schema = {}, owner = {}, \
                 roles = ARRAY[{}], closed = {}, updated_at = now() WHERE id = {}",
                Literal(to.id.as_str()),
                Literal(to.placement.database.as_str()),
                Literal(to.placement.schema.as_str()),
                Literal(to.owner.as_str()),
                Sql::joined(&roles, ", "),
                closed,
                Literal(from.id.as_str())
            ),
            sql!(
                "INSERT INTO tenantctl.former_ids (id, uuid) VALUES ({}, {}) ON CONFLICT (id) DO NOTHING",
                Literal(from.id.as_str()),
                Literal(&from.uuid.to_string())
            ),
            sql!(
                "INSERT INTO tenantctl.events (tenant, event, detail) \
                 VALUES ({}, 'renamed', pg_catalog.jsonb_build_object('from', {}::text))",
                Literal(to.id.as_str()),
                Literal(from.id.as_str())
            ),
        ]);
        statements
    }

    /// What was issued and given goes along; under a new name there was nobody.
    fn issued(&self) -> Vec<Sql> {
        let (from, to) = (&self.house.tenant, &self.to);
        let (was, is) = (Literal(from.id.as_str()), Literal(to.id.as_str()));
        let mut statements = vec![
            sql!("DELETE FROM tenantctl.limits WHERE tenant = {}", is),
            sql!("UPDATE tenantctl.limits SET tenant = {} WHERE tenant = {}", is, was),
        ];
        // The owner logs in nowhere.
        let own = |(old, _): &&(Ident, Ident)| *old != from.owner;
        let pairs: Vec<&(Ident, Ident)> = self.pairs().filter(own).collect();
        if pairs.is_empty() {
            return statements;
        }
        let cluster = Literal(from.placement.cluster.as_str());
        let name = |name: &Ident| sql!("{}", Literal(name.as_str()));
        let new: Vec<Sql> = pairs.iter().map(|(_, new)| name(new)).collect();
        let old: Vec<Sql> = pairs.iter().map(|(old, _)| name(old)).collect();
        let called = |column: Sql| {
            let when = |(old, new): &&(Ident, Ident)| sql!("WHEN {} THEN {}", name(old), name(new));
            let cases: Vec<Sql> = pairs.iter().map(when).collect();
            sql!("{} = CASE {} {} ELSE {} END", column, column, Sql::joined(&cases, " "), column)
        };
        statements.push(sql!(
            "DELETE FROM tenantctl.credentials WHERE cluster = {} AND login IN ({})",
            cluster,
            Sql::joined(&new, ", ")
        ));
        statements.push(sql!(
            "UPDATE tenantctl.credentials SET {}, {} WHERE cluster = {} AND login IN ({})",
            called(sql!("login")),
            called(sql!("role")),
            cluster,
            Sql::joined(&old, ", ")
        ));
        statements
    }

    /// Doors by their new names.
    fn doors(&self, doors: &Doors) -> Doors {
        let grant = |grant: &Grant| Grant {
            role: grant.role.as_ref().map(|role| self.role(role)),
            option: grant.option,
        };
        let schema = |name: &Ident| match self.schema() {
            Some((old, new)) if old == name => new.clone(),
            _ => name.clone(),
        };
        let mut new = doors.clone();
        new.logins = doors.logins.iter().map(|role| self.role(role)).collect();
        new.connect = doors.connect.iter().map(grant).collect();
        for usage in &mut new.usage {
            usage.schema = schema(&usage.schema);
            usage.grant = grant(&usage.grant);
        }
        new
    }
}

/// The names that the templates give, where a tenant's old ones are theirs: old, new.
pub fn renamed(old: &Ident, by_old: &Ident, by_new: &Ident) -> Ident {
    if old == by_old { by_new.clone() } else { old.clone() }
}
