//! A small sound fleet for the rules' tests, which break it one fact at a time.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use super::finding::Finding;
use crate::model::catalog::{
    Catalog, Column, Database, Fill, Function, Grant, Membership, Oid, Policy, Privilege, Relation,
    RelationKind, Role, Schema, View,
};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::{Estate, Setting, Tenancy};
use crate::model::probe::{Attempt, Context, Method, Outcome, Probe};
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};

/// The condition of a sound policy, as the server prints it.
pub(crate) const TIED: &str = "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS \"nullif\"))";

pub(crate) fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
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
            readonly_roles: vec![],
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
        world.catalog.databases.push(Database { name: ident("eve"), owner, grants });
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

    fn granted(&self, role: &str, privileges: &[Privilege]) -> Grant {
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
            volatility: 's',
            grants: vec![self.granted("public", &[Privilege::Execute])],
            body: body.to_owned(),
        };
        self.catalog.functions.insert(number, function);
        number
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
