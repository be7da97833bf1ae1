//! A small sound fleet for the rules' tests, which break it one fact at a time.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use super::finding::Finding;
use crate::model::catalog::{
    Cascade, Catalog, Column, Database, Fill, ForeignKey, Function, Grant, Membership, Oid, Policy,
    Privilege, Relation, RelationKind, Role, Schema, Trigger, View,
};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::{Estate, Setting, Tenancy};
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::surroundings::{Index, ServerObject};
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};

/// The condition of a sound policy, as the server prints it.
pub(crate) const TIED: &str = "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS \"nullif\"))";

pub(crate) fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

pub(crate) fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

/// Tenants ann and bob share `app.notes`; cat and dan have a schema each; eve has database `eve`.
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) estate: Estate,
    pub(crate) probes: Vec<Probe>,
    next: Oid,
}

impl World {
    pub(crate) fn new() -> Self {
        let catalog = Catalog::empty(ClusterName::new("eu-1").unwrap(), ident("app"));
        let estate = Estate {
            tenants: vec![
                tenant("ann", Isolation::Shared, "app", "app", "app_owner", "app_rw"),
                tenant("bob", Isolation::Shared, "app", "app", "app_owner", "app_rw"),
                tenant("cat", Isolation::Schema, "app", "tenant_cat", "own_cat", "app_cat"),
                tenant("dan", Isolation::Schema, "app", "tenant_dan", "own_dan", "app_dan"),
                tenant("eve", Isolation::Database, "eve", "app", "own_eve", "app_eve"),
            ],
            tenancy: Some(Tenancy {
                column: ident("tenant_id"),
                setting: Setting::new("app.tenant_id").unwrap(),
            }),
            login_roles: vec![ident("pool")],
            readonly_roles: BTreeMap::new(),
        };
        let mut world = Self { catalog, estate, probes: Vec::new(), next: 16384 };
        for role in ["admin", "pool", "app_owner", "app_rw", "own_cat", "app_cat", "own_dan"] {
            world.role(role);
        }
        for role in ["app_dan", "own_eve", "app_eve", "stranger"] {
            world.role(role);
        }
        world.role_mut("admin").superuser = true;
        for role in ["app_rw", "app_cat", "app_dan"] {
            world.member("pool", role, "s");
        }
        let owner = world.oid("own_eve");
        let grants = vec![world.granted("app_eve", &[Privilege::Connect])];
        world.catalog.databases.push(Database {
            name: ident("eve"),
            owner,
            template: false,
            grants,
        });
        let owner = world.oid("admin");
        let grants = vec![world.granted("public", &[Privilege::Connect])];
        let own = Database { name: ident("app"), owner, template: false, grants };
        world.catalog.databases.push(own);
        world.catalog.version = 180_004;
        for (schema, owner, role) in [
            ("app", "app_owner", "app_rw"),
            ("tenant_cat", "own_cat", "app_cat"),
            ("tenant_dan", "own_dan", "app_dan"),
        ] {
            world.add_schema(schema, owner);
            world.grant_schema(schema, role, Privilege::Usage);
            world.table(schema, "notes", owner);
            for privilege in
                [Privilege::Select, Privilege::Insert, Privilege::Update, Privilege::Delete]
            {
                world.grant(&format!("{schema}.notes"), role, privilege);
            }
        }
        world.protect("app.notes");
        world.table("app", "countries", "app_owner");
        world.grant("app.countries", "app_rw", Privilege::Select);
        world.table("app", "tasks", "app_owner");
        world.protect("app.tasks");
        for table in ["app.notes", "app.tasks"] {
            let mut index = unique(world.relation_oid(table), &["tenant_id", "id"]);
            index.primary = true;
            world.catalog.around.indexes.push(index);
        }
        world.grant("app.tasks", "app_rw", Privilege::Select);
        world
    }

    /// Every finding's rule, after all rules have run.
    pub(crate) fn rules(&self) -> Vec<&'static str> {
        self.check().iter().map(|finding| finding.rule).collect()
    }

    /// The findings of one rule.
    pub(crate) fn findings(&self, rule: &str) -> Vec<Finding> {
        self.check().into_iter().filter(|finding| finding.rule == rule).collect()
    }

    pub(crate) fn check(&self) -> Vec<Finding> {
        super::check(&self.catalog, &self.estate, &self.probes)
    }

    fn number(&mut self) -> Oid {
        self.next += 1;
        self.next
    }

    /// Adds what a probe of bob's rows by ann observed.
    pub(crate) fn probe(&mut self, attempt: Attempt, outcome: Outcome) {
        self.probes.push(Probe {
            isolation: Isolation::Shared,
            acting: TenantId::new("ann").unwrap(),
            target: TenantId::new("bob").unwrap(),
            role: ident("app_rw"),
            kind: "table",
            object: "app.notes".to_owned(),
            attempt,
            context: Context::Own,
            method: Method::Statement,
            outcome,
            reproduce: String::new(),
        });
    }

    pub(crate) fn oid(&self, role: &str) -> Oid {
        if role == "public" { 0 } else { self.catalog.role_named(&ident(role)).unwrap() }
    }

    pub(crate) fn role(&mut self, name: &str) {
        let number = self.number();
        let role = Role {
            name: ident(name),
            superuser: false,
            bypass_rls: false,
            create_role: false,
            create_db: false,
            replication: false,
            login: false,
        };
        self.catalog.roles.insert(number, role);
    }

    pub(crate) fn role_mut(&mut self, name: &str) -> &mut Role {
        let oid = self.oid(name);
        self.catalog.roles.get_mut(&oid).unwrap()
    }

    /// Options: `i`nherit, `s`et, `a`dmin.
    pub(crate) fn member(&mut self, member: &str, role: &str, options: &str) {
        self.catalog.memberships.push(Membership {
            member: self.oid(member),
            role: self.oid(role),
            inherit: options.contains('i'),
            set: options.contains('s'),
            admin: options.contains('a'),
        });
    }

    pub(crate) fn granted(&self, role: &str, privileges: &[Privilege]) -> Grant {
        Grant {
            grantee: self.oid(role),
            privileges: privileges.iter().copied().collect(),
            column: None,
        }
    }

    pub(crate) fn add_schema(&mut self, name: &str, owner: &str) {
        let owner = self.oid(owner);
        let number = self.number();
        let schema = Schema { name: ident(name), owner, grants: Vec::new() };
        self.catalog.schemas.insert(number, schema);
    }

    pub(crate) fn schema_oid(&self, name: &str) -> Oid {
        let found = self.catalog.schemas.iter().find(|(_, s)| s.name.as_str() == name);
        *found.unwrap().0
    }

    pub(crate) fn grant_schema(&mut self, schema: &str, role: &str, privilege: Privilege) {
        let grant = self.granted(role, &[privilege]);
        let oid = self.schema_oid(schema);
        self.catalog.schemas.get_mut(&oid).unwrap().grants.push(grant);
    }

    pub(crate) fn table(&mut self, schema: &str, name: &str, owner: &str) -> Oid {
        let number = self.number();
        let relation = Relation {
            name: QualifiedName::new(ident(schema), ident(name)),
            schema: self.schema_oid(schema),
            kind: RelationKind::Table,
            owner: self.oid(owner),
            rls: false,
            forced: false,
            parent: None,
            rows: 10.0,
            first_column: Some(ident("id")),
            grants: Vec::new(),
            columns: Vec::new(),
            view: None,
        };
        self.catalog.relations.insert(number, relation);
        number
    }

    pub(crate) fn view(&mut self, schema: &str, name: &str, owner: &str, reads: &str) -> Oid {
        let number = self.table(schema, name, owner);
        let reads = vec![self.relation_oid(reads)];
        let relation = self.catalog.relations.get_mut(&number).unwrap();
        relation.kind = RelationKind::View;
        relation.view = Some(View { reads, ..View::default() });
        number
    }

    /// Gives a table a tenant column, forced row-level security and a sound policy.
    pub(crate) fn protect(&mut self, table: &str) {
        let relation = self.relation_oid(table);
        let found = self.table_mut(table);
        found.columns.push(column("tenant_id", "uuid"));
        found.rls = true;
        found.forced = true;
        self.catalog.policies.push(Policy {
            name: ident("tenant_isolation"),
            relation,
            command: None,
            permissive: true,
            roles: vec![0],
            using: Some(TIED.to_owned()),
            check: Some(TIED.to_owned()),
            columns: vec![ident("tenant_id")],
            functions: Vec::new(),
            reads: Vec::new(),
        });
    }

    pub(crate) fn relation_oid(&self, name: &str) -> Oid {
        let found = self.catalog.relations.iter().find(|(_, r)| r.name.to_string() == name);
        *found.unwrap_or_else(|| panic!("no {name}")).0
    }

    pub(crate) fn table_mut(&mut self, name: &str) -> &mut Relation {
        let oid = self.relation_oid(name);
        self.catalog.relations.get_mut(&oid).unwrap()
    }

    pub(crate) fn grant(&mut self, table: &str, role: &str, privilege: Privilege) {
        let grant = self.granted(role, &[privilege]);
        self.table_mut(table).grants.push(grant);
    }

    /// The policy of `app.notes`.
    pub(crate) fn policy_mut(&mut self) -> &mut Policy {
        &mut self.catalog.policies[0]
    }

    /// A role that logs in and is granted a privilege on a table, and may enter its schema.
    pub(crate) fn login(&mut self, name: &str, table: &str, privilege: Privilege) {
        self.role(name);
        self.role_mut(name).login = true;
        let schema = table.split_once('.').unwrap().0.to_owned();
        self.grant_schema(&schema, name, Privilege::Usage);
        self.grant(table, name, privilege);
    }

    /// Something of the server's, granted to a role.
    pub(crate) fn given(&self, name: &str, role: &str, privilege: Privilege) -> ServerObject {
        ServerObject {
            name: name.to_owned(),
            owner: self.oid("admin"),
            grants: vec![self.granted(role, &[privilege])],
        }
    }

    /// A table like another, with its columns but the tenant column.
    pub(crate) fn like(&mut self, name: &str, columns: &[(&str, &str)]) -> Oid {
        let number = self.table("app", name, "app_owner");
        let relation = self.catalog.relations.get_mut(&number).unwrap();
        relation.columns = columns.iter().map(|(name, kind)| column(name, kind)).collect();
        number
    }

    /// A trigger of `app.notes` that runs a function.
    pub(crate) fn trigger(&mut self, function: Oid) {
        self.catalog.functions.get_mut(&function).unwrap().for_triggers = true;
        self.catalog.triggers.push(Trigger {
            name: ident("after_write"),
            relation: self.relation_oid("app.notes"),
            function,
            before_row: false,
            condition: None,
            fires: [Privilege::Insert, Privilege::Update].into_iter().collect(),
        });
    }

    pub(crate) fn function(&mut self, schema: &str, name: &str, owner: &str, body: &str) -> Oid {
        let number = self.number();
        let function = Function {
            name: QualifiedName::new(ident(schema), ident(name)),
            schema: self.schema_oid(schema),
            arguments: String::new(),
            definer: true,
            owner: self.oid(owner),
            for_triggers: false,
            settings: Vec::new(),
            language: "sql".to_owned(),
            trusted: true,
            volatility: 's',
            leakproof: false,
            parallel: true,
            grants: vec![self.granted("public", &[Privilege::Execute])],
            body: body.to_owned(),
        };
        self.catalog.functions.insert(number, function);
        number
    }
}

/// A foreign key of so many columns.
pub(crate) fn key(child: Oid, parent: Oid, columns: &[(&str, &str)]) -> ForeignKey {
    ForeignKey {
        name: ident("some_fkey"),
        child,
        parent,
        columns: columns.iter().map(|(own, theirs)| (ident(own), ident(theirs))).collect(),
        on_delete: Cascade::None,
        on_update: Cascade::None,
    }
}

/// A unique index on so many columns.
pub(crate) fn unique(relation: Oid, columns: &[&str]) -> Index {
    Index {
        name: ident("some_key"),
        relation,
        unique: true,
        primary: false,
        columns: columns.iter().map(|name| ident(name)).collect(),
        expressions: false,
        uuids: false,
        numbered: false,
        valid: true,
    }
}

pub(crate) fn column(name: &str, type_name: &str) -> Column {
    Column {
        name: ident(name),
        type_name: type_name.to_owned(),
        type_kind: 'b',
        first_label: None,
        not_null: true,
        fill: Fill::Null,
        default: None,
    }
}

fn tenant(
    id: &str,
    isolation: Isolation,
    database: &str,
    schema: &str,
    owner: &str,
    role: &str,
) -> Tenant {
    Tenant {
        id: TenantId::new(id).unwrap(),
        uuid: uuid::Uuid::nil(),
        key: format!("key-{id}"),
        isolation,
        placement: Placement {
            cluster: ClusterName::new("eu-1").unwrap(),
            database: ident(database),
            schema: ident(schema),
        },
        owner: ident(owner),
        roles: vec![ident(role)],
        tier: None,
        region: None,
        labels: BTreeMap::new(),
        state: State::Active,
    }
}
