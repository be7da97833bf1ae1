//! What all rules want to know, worked out once: who the application is, what it reaches, which
//! tables hold tenants' rows, and whose schema is whose.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::bound::{readers, reads_setting};
use super::finding::Object;
use super::holdings::{self, Holdings};
use super::reach::{Closure, Reach};
use crate::model::catalog::{
    Catalog, Database, Function, Grant, Oid, PUBLIC, Policy, Privilege, Privileges, Relation,
    SessionDefault, Trigger,
};
use crate::model::ident::Ident;
use crate::model::layout::{Estate, HISTORY_TABLE, REPEATABLES_TABLE};
use crate::model::probe::Probe;
use crate::model::tenant::{Isolation, Tenant, TenantId};
use crate::sql;
use crate::sql::{Literal, Sql};

/// A role that the application uses.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The role.
    pub role: Oid,
    /// Its name.
    pub name: &'a Ident,
    /// The tenants that it acts for; none for a login.
    pub tenants: Vec<&'a Tenant>,
    /// It is a pool's login, which becomes tenants' roles by design.
    pub login: bool,
    /// What it can use. For a login, tenants' roles are left out: what it reaches through them is theirs.
    pub closure: Closure,
}

impl Subject<'_> {
    /// Whether it acts for a tenant.
    pub fn acts_for(&self, tenant: &TenantId) -> bool {
        self.tenants.iter().any(|own| own.id == *tenant)
    }
}

/// A tenant's own ground: its schema, or all schemas of its database.
#[derive(Debug)]
pub struct Territory<'a> {
    /// Whose it is. More than one, when the layout gives several the same schema.
    pub tenants: Vec<&'a Tenant>,
}

/// The catalogue and the estate, brought together.
#[derive(Debug)]
pub struct Survey<'a> {
    /// The facts.
    pub catalog: &'a Catalog,
    /// The layout.
    pub estate: &'a Estate,
    /// What was observed.
    pub probes: &'a [Probe],
    /// Memberships.
    pub reach: Reach,
    /// The application's roles: tenants' first, then read-only roles, then logins.
    pub subjects: Vec<Subject<'a>>,
    /// Tables with the tenant column, in no tenant's own schema.
    pub tenant_tables: BTreeSet<Oid>,
    /// Each tenant-owned schema.
    pub territories: BTreeMap<Oid, Territory<'a>>,
    /// Tables that hold tenants' rows without the tenant column, and lists of tenants.
    pub holdings: Holdings,
    numbers: HashMap<&'a Ident, Oid>,
    policies: HashMap<Oid, Vec<&'a Policy>>,
    using: HashMap<Oid, Vec<usize>>,
    triggers: HashMap<Oid, Vec<&'a Trigger>>,
    owned_grounds: HashMap<Oid, Vec<Oid>>,
    pub(super) context_functions: BTreeSet<Oid>,
    pub(super) identity_functions: BTreeSet<Oid>,
    pub(super) setting_functions: BTreeSet<Oid>,
}

impl<'a> Survey<'a> {
    /// Works out what rules need.
    pub fn new(catalog: &'a Catalog, estate: &'a Estate, probes: &'a [Probe]) -> Self {
        let reach = Reach::new(catalog);
        let subjects = subjects(catalog, estate, &reach);
        let mut using: HashMap<Oid, Vec<usize>> = HashMap::new();
        for (at, subject) in subjects.iter().enumerate() {
            for role in subject.closure.keys() {
                using.entry(*role).or_default().push(at);
            }
        }
        let mut policies: HashMap<Oid, Vec<&Policy>> = HashMap::new();
        for policy in &catalog.policies {
            policies.entry(policy.relation).or_default().push(policy);
        }
        let territories = territories(catalog, estate);
        let tenant_tables = estate.tenancy.as_ref().map_or_else(BTreeSet::new, |tenancy| {
            let holds = |relation: &Relation| {
                relation.kind.is_table()
                    && !territories.contains_key(&relation.schema)
                    && relation.column(&tenancy.column).is_some()
            };
            catalog.relations.iter().filter(|(_, r)| holds(r)).map(|(oid, _)| *oid).collect()
        });
        let setting = estate.tenancy.as_ref().map(|tenancy| tenancy.setting.as_str());
        let identity = |text: &str| {
            let text = text.to_ascii_lowercase();
            ["current_setting", "current_user", "session_user"]
                .iter()
                .any(|word| text.contains(word))
        };
        let mut triggers: HashMap<Oid, Vec<&Trigger>> = HashMap::new();
        for trigger in &catalog.triggers {
            triggers.entry(trigger.function).or_default().push(trigger);
        }
        let mut owned_grounds: HashMap<Oid, Vec<Oid>> = HashMap::new();
        for schema in territories.keys() {
            if let Some(facts) = catalog.schemas.get(schema) {
                owned_grounds.entry(facts.owner).or_default().push(*schema);
            }
        }
        let holdings = holdings::find(catalog, estate, &tenant_tables, &territories);
        Self {
            context_functions: setting.map_or_else(BTreeSet::new, |setting| {
                readers(catalog, |text| reads_setting(text, setting))
            }),
            identity_functions: readers(catalog, identity),
            setting_functions: readers(catalog, |text| {
                let text = text.to_ascii_lowercase();
                text.contains("current_setting") || text.contains("session_user")
            }),
            holdings,
            triggers,
            owned_grounds,
            numbers: catalog.roles.iter().map(|(oid, role)| (&role.name, *oid)).collect(),
            catalog,
            estate,
            probes,
            reach,
            subjects,
            tenant_tables,
            territories,
            policies,
            using,
        }
    }

    /// The role of that name, by number.
    pub fn number(&self, role: &Ident) -> Option<Oid> {
        self.numbers.get(role).copied()
    }

    /// The tables that hold tenants' rows side by side.
    pub fn tables(&self) -> impl Iterator<Item = (Oid, &'a Relation)> {
        self.tenant_tables.iter().filter_map(|oid| Some((*oid, self.catalog.relations.get(oid)?)))
    }

    /// Every table that holds tenants' rows: those with the tenant column, their children and copies.
    pub fn rows(&self) -> impl Iterator<Item = (Oid, &'a Relation)> {
        let others = self.holdings.rows();
        self.tables().chain(others.filter_map(|oid| Some((oid, self.catalog.relations.get(&oid)?))))
    }

    /// Whether a relation is a table that holds tenants' rows side by side.
    pub fn holds_rows(&self, relation: Oid) -> bool {
        self.tenant_tables.contains(&relation) || self.holdings.rows().any(|oid| oid == relation)
    }

    /// Whether a subject may make temporary tables here.
    pub fn makes_temporary(&self, subject: &Subject<'_>) -> bool {
        self.here().is_some_and(|database| {
            let held = self.privileges(subject, database.owner, &database.grants);
            held.has(Privilege::Temporary)
        })
    }

    /// Whether a subject may make objects somewhere in this database.
    pub fn makes_objects(&self, subject: &Subject<'_>) -> bool {
        let creates = |owner, grants: &[Grant]| {
            self.privileges(subject, owner, grants).has(Privilege::Create)
        };
        self.here().is_some_and(|database| creates(database.owner, &database.grants))
            || self.catalog.schemas.values().any(|schema| creates(schema.owner, &schema.grants))
    }

    /// This database, as the cluster knows it.
    pub fn here(&self) -> Option<&'a Database> {
        self.catalog.databases.iter().find(|database| database.name == self.catalog.database)
    }

    /// The policies of a table.
    pub fn policies(&self, relation: Oid) -> &[&'a Policy] {
        self.policies.get(&relation).map_or(&[], Vec::as_slice)
    }

    /// The subjects that can use a role; all of them for PUBLIC.
    pub fn users_of(&self, role: Oid) -> impl Iterator<Item = &Subject<'a>> {
        let all = role == PUBLIC;
        let listed = self.using.get(&role).map_or(&[][..], Vec::as_slice);
        let everybody = if all { self.subjects.as_slice() } else { &[] };
        everybody.iter().chain(listed.iter().map(|at| &self.subjects[*at]))
    }

    /// What a subject may do with an object, through any role it can use.
    pub fn privileges(&self, subject: &Subject<'_>, owner: Oid, grants: &[Grant]) -> Privileges {
        // A login becomes other roles to work; what it holds itself is what it inherits. Otherwise
        // the schemas of tenants that the estate leaves out would count as the login's.
        let uses = |role: &Oid| {
            subject.closure.get(role).is_some_and(|path| !subject.login || path.inherited)
        };
        if uses(&owner) {
            return Privilege::ALL.into_iter().collect();
        }
        grants
            .iter()
            .filter(|grant| grant.grantee == PUBLIC || uses(&grant.grantee))
            .fold(Privileges::NONE, |sum, grant| sum.or(grant.privileges))
    }

    /// What a subject may do with a relation: nothing, when it cannot name what is in the schema.
    pub fn usable(&self, subject: &Subject<'_>, relation: &Relation) -> Privileges {
        if self.enters(subject, relation.schema) {
            self.privileges(subject, relation.owner, &relation.grants)
        } else {
            Privileges::NONE
        }
    }

    /// Whether a subject may name what is in a schema.
    pub fn enters(&self, subject: &Subject<'_>, schema: Oid) -> bool {
        self.catalog.schemas.get(&schema).is_some_and(|schema| {
            self.privileges(subject, schema.owner, &schema.grants).has(Privilege::Usage)
        })
    }

    /// Whether a subject that may enter a function's schema may call it.
    pub fn calls(&self, subject: &Subject<'_>, function: &Function) -> bool {
        !function.for_triggers
            && self.enters(subject, function.schema)
            && self.privileges(subject, function.owner, &function.grants).has(Privilege::Execute)
    }

    /// The subjects that may name what is in a schema, found from the schema's few grants.
    pub fn entering(&self, schema: Oid) -> impl Iterator<Item = &Subject<'a>> {
        let mut entering = BTreeSet::new();
        if let Some(facts) = self.catalog.schemas.get(&schema) {
            let holders =
                facts.grants.iter().filter(|grant| grant.privileges.has(Privilege::Usage));
            for grantee in holders.map(|grant| grant.grantee).chain([facts.owner]) {
                if grantee == PUBLIC {
                    entering.extend(0..self.subjects.len());
                } else if let Some(users) = self.using.get(&grantee) {
                    entering.extend(users);
                }
            }
        }
        entering
            .into_iter()
            .map(|at| &self.subjects[at])
            .filter(move |subject| self.enters(subject, schema))
    }

    /// The triggers that run a function.
    pub fn triggers_of(&self, function: Oid) -> impl Iterator<Item = &'a Trigger> {
        self.triggers.get(&function).into_iter().flatten().copied()
    }

    /// The tenants' schemas that a role owns, itself or by inheritance.
    pub fn grounds_of(&self, role: Oid) -> Vec<Oid> {
        let acts_as = self.reach.inherits(role);
        acts_as
            .iter()
            .filter_map(|owner| self.owned_grounds.get(owner))
            .flatten()
            .copied()
            .collect()
    }

    /// Whether another tenant's role can come to a tenant's own ground. A schema lies where others
    /// work; a database of one's own may be closed to them, and then what stands open inside stands
    /// open to nobody.
    pub fn visited(&self, ground: &Territory<'_>) -> bool {
        if ground.tenants.iter().any(|tenant| tenant.isolation != Isolation::Database) {
            return true;
        }
        let Some(database) = self.here() else { return true };
        let public =
            |grant: &Grant| grant.grantee == PUBLIC && grant.privileges.has(Privilege::Connect);
        let foreign = |subject: &&Subject<'_>| {
            !subject.tenants.is_empty()
                && ground.tenants.iter().all(|own| !subject.acts_for(&own.id))
        };
        database.grants.iter().any(public)
            || self.subjects.iter().filter(foreign).any(|subject| {
                let held = self.privileges(subject, database.owner, &database.grants);
                held.has(Privilege::Connect)
            })
    }

    /// The schemas in which a role's sessions look names up, where a setting says so: the server's
    /// own default tells nothing about what the application sets for itself.
    pub fn path_of(&self, role: Oid) -> Vec<String> {
        let rank = |default: &SessionDefault| match (default.role, &default.database) {
            (Some(own), Some(place)) if own == role && *place == self.catalog.database => 3,
            (Some(own), None) if own == role => 2,
            (None, Some(place)) if *place == self.catalog.database => 1,
            _ => 0,
        };
        let path = self
            .catalog
            .session_defaults
            .iter()
            .filter(|default| default.name == "search_path" && rank(default) > 0)
            .max_by_key(|default| rank(default))
            .map_or("", |default| default.value.as_str());
        let user = self.ident(role).map_or("", Ident::as_str);
        path.split(',')
            .map(|part| part.trim().trim_matches('"').replace("\"\"", "\""))
            .map(|part| if part == "$user" { user.to_owned() } else { part })
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// The subjects that can do any of some things with a relation, and what.
    pub fn reaching(
        &self,
        relation: &'a Relation,
        wanted: Privileges,
    ) -> impl Iterator<Item = (&Subject<'a>, Privileges)> {
        self.entering(relation.schema).filter_map(move |subject| {
            let held = self.privileges(subject, relation.owner, &relation.grants).and(wanted);
            (!held.is_empty()).then_some((subject, held))
        })
    }

    /// The tenants whose own ground a relation, function or sequence of a schema lies on.
    pub fn ground(&self, schema: Oid) -> Option<&Territory<'a>> {
        self.territories.get(&schema)
    }

    /// The statement that gives a table a policy for the tenant column, under a name that is free.
    pub fn policy_for(&self, oid: Oid, table: &Relation) -> Option<Sql> {
        let tenancy = self.estate.tenancy.as_ref()?;
        let column = table.column(&tenancy.column)?;
        let free = |name: &Ident| self.policies(oid).iter().all(|policy| policy.name != *name);
        let names = ["tenant_isolation", "tenant_isolation_app", "tenant_isolation_tenantctl"];
        let name = names.into_iter().filter_map(|name| Ident::new(name).ok()).find(free)?;
        Some(sql!(
            "CREATE POLICY {} ON {} USING ({} = (SELECT NULLIF(current_setting({}, true), '')::{}))",
            name,
            table.name,
            tenancy.column,
            Literal(tenancy.setting.as_str()),
            Sql::from_catalog(&column.type_name)
        ))
    }

    /// The statement that changes a function or procedure.
    pub fn alter_function(&self, function: &Function, what: &Sql) -> Sql {
        sql!("ALTER ROUTINE {}({}) {}", function.name, Sql::from_catalog(&function.arguments), what)
    }

    /// A path of memberships in words, with what each step allows:
    /// `app -> support (inherited) -> admin (SET ROLE)`.
    pub fn path(&self, roles: &[Oid]) -> String {
        let mut said = roles.first().map_or_else(String::new, |role| self.catalog.role_name(*role));
        for step in roles.windows(2) {
            let (role, options) =
                (self.catalog.role_name(step[1]), self.reach.options(step[0], step[1]));
            said.push_str(&format!(" -> {role} ({options})"));
        }
        said
    }

    /// A finding's object in this database.
    pub fn object(&self, kind: &'static str, name: &dyn fmt::Display) -> Object {
        Object {
            cluster: self.catalog.cluster.as_str().to_owned(),
            database: Some(self.catalog.database.as_str().to_owned()),
            kind,
            name: name.to_string(),
            parent: None,
        }
    }

    /// A finding's object for a relation.
    pub fn relation(&self, relation: &Relation) -> Object {
        self.object(relation.kind.word(), &relation.name)
    }

    /// A finding's object for what belongs to a relation: a policy, a trigger, an index.
    pub fn part(&self, kind: &'static str, name: &Ident, of: &Relation) -> Object {
        Object { parent: Some(of.name.to_string()), ..self.object(kind, name) }
    }

    /// A finding's object for a role, which belongs to no database.
    pub fn role(&self, role: Oid) -> Object {
        Object { database: None, ..self.object("role", &self.catalog.role_name(role)) }
    }

    /// The name of a role, when the server has it: for a statement.
    pub fn ident(&self, role: Oid) -> Option<&'a Ident> {
        self.catalog.roles.get(&role).map(|role| &role.name)
    }

    /// Whether a relation records what was applied: refinery's history, or tenantctl's repeatables.
    pub fn is_history(relation: &Relation) -> bool {
        [HISTORY_TABLE, REPEATABLES_TABLE].contains(&relation.name.name.as_str())
    }
}

fn subjects<'a>(catalog: &Catalog, estate: &'a Estate, reach: &Reach) -> Vec<Subject<'a>> {
    let by_name: HashMap<&Ident, Oid> =
        catalog.roles.iter().map(|(oid, role)| (&role.name, *oid)).collect();
    let mut order: Vec<(Oid, &Ident, bool)> = Vec::new();
    let mut tenants: HashMap<Oid, Vec<&Tenant>> = HashMap::new();
    let mut known = BTreeSet::new();
    let mut list = |name: &'a Ident, login: bool, known: &mut BTreeSet<Oid>| {
        let role = by_name.get(name).copied();
        if let Some(role) = role
            && known.insert(role)
        {
            order.push((role, name, login));
        }
        role
    };
    let here = |tenant: &&Tenant| tenant.placement.cluster == catalog.cluster;
    for tenant in estate.tenants.iter().filter(here) {
        for name in &tenant.roles {
            if let Some(role) = list(name, false, &mut known) {
                tenants.entry(role).or_default().push(tenant);
            }
        }
    }
    for tenant in estate.tenants.iter().filter(here) {
        let reader = estate.readonly_roles.get(&tenant.id);
        if let Some(role) = reader.and_then(|name| list(name, false, &mut known)) {
            tenants.entry(role).or_default().push(tenant);
        }
    }
    let acting = known.clone();
    for name in &estate.login_roles {
        list(name, true, &mut known);
    }
    order
        .into_iter()
        .map(|(role, name, login)| {
            let closed = if login { acting.clone() } else { BTreeSet::new() };
            let mut closure = reach.closure(role, &closed);
            closure.retain(|reached, _| *reached == role || !closed.contains(reached));
            Subject {
                role,
                name,
                tenants: tenants.remove(&role).unwrap_or_default(),
                login,
                closure,
            }
        })
        .collect()
}

fn territories<'a>(catalog: &Catalog, estate: &'a Estate) -> BTreeMap<Oid, Territory<'a>> {
    let schemas: HashMap<&Ident, Oid> =
        catalog.schemas.iter().map(|(oid, schema)| (&schema.name, *oid)).collect();
    let mut found: BTreeMap<Oid, Territory<'a>> = BTreeMap::new();
    let mut claim = |schema: Oid, tenant: &'a Tenant| {
        found
            .entry(schema)
            .or_insert_with(|| Territory { tenants: Vec::new() })
            .tenants
            .push(tenant);
    };
    for tenant in &estate.tenants {
        if tenant.placement.database != catalog.database
            || tenant.placement.cluster != catalog.cluster
        {
            continue;
        }
        match tenant.isolation {
            Isolation::Shared => {}
            Isolation::Schema => {
                if let Some(schema) = schemas.get(&tenant.placement.schema) {
                    claim(*schema, tenant);
                }
            }
            Isolation::Database => {
                for schema in schemas.values() {
                    claim(*schema, tenant);
                }
            }
        }
    }
    found
}
