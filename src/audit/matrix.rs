//! Who can do what: roles of the application × objects × verbs, from privileges and policies.
//!
//! Says what the catalogues say. That a policy which compares the tenant column does what it seems to
//! is for the rules and the probes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::finding::Object;
use super::rules;
use super::survey::{Subject, Survey};
use crate::model::catalog::{
    Command, Function, Oid, Policy, Privilege, Privileges, Relation, RelationKind, View,
};
use crate::model::tenant::{Isolation, TenantId};

/// How far a verb reaches. The order is from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Granted, and policies admit no row.
    Closed,
    /// The object belongs to no tenant.
    Common,
    /// The object is the role's own tenant's.
    Own,
    /// Policies tie it to the current tenant.
    Bound,
    /// Rows of other tenants, or another tenant's object.
    Open,
}

impl Access {
    /// All, from the least.
    pub const ALL: [Self; 5] = [Self::Closed, Self::Common, Self::Own, Self::Bound, Self::Open];

    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Common => "common",
            Self::Own => "own",
            Self::Bound => "bound",
            Self::Open => "open",
        }
    }
}

/// What one role can do with one object. What it cannot do is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The object.
    pub object: Object,
    /// The role.
    pub role: String,
    /// The tenants that it acts for; none for a login or a read-only role.
    pub tenants: Vec<TenantId>,
    /// How far each verb reaches.
    #[serde(serialize_with = "by_word")]
    pub access: BTreeMap<Privilege, Access>,
}

impl Reached {
    /// The order in which they are listed: by object, then by role.
    pub fn sort_key(&self) -> impl Ord + '_ {
        let object = &self.object;
        (&object.cluster, &object.database, &object.name, object.kind, &self.role)
    }

    /// Whether any verb reaches what is not the role's.
    pub fn is_open(&self) -> bool {
        self.access.values().any(|access| *access == Access::Open)
    }
}

fn by_word<S: serde::Serializer>(
    access: &BTreeMap<Privilege, Access>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(access.iter().map(|(verb, access)| (verb.word(), access)))
}

/// So deep views are looked through.
const DEPTH: usize = 16;

/// What every role of the application can do in a database, by object and role.
pub fn matrix(survey: &Survey<'_>) -> Vec<Reached> {
    let desk = Desk { survey, outside: outside(survey) };
    let mut all = Vec::new();
    desk.databases(&mut all);
    desk.schemas(&mut all);
    desk.relations(&mut all);
    desk.functions(&mut all);
    all.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    all
}

struct Desk<'a, 's> {
    survey: &'a Survey<'s>,
    /// Roles that no session of this database can be.
    outside: BTreeSet<Oid>,
}

/// The subjects that may not connect to this database, and that no login that may can become.
fn outside(survey: &Survey<'_>) -> BTreeSet<Oid> {
    let here = |one: &&crate::model::catalog::Database| one.name == survey.catalog.database;
    let Some(database) = survey.catalog.databases.iter().find(here) else {
        return BTreeSet::new();
    };
    let connects = |subject: &&Subject<'_>| {
        let held = survey.privileges(subject, database.owner, &database.grants);
        held.has(Privilege::Connect)
    };
    let (inside, rest): (Vec<&Subject<'_>>, Vec<&Subject<'_>>) =
        survey.subjects.iter().partition(connects);
    let logins = inside.iter().filter(|subject| subject.login);
    let reached: BTreeSet<Oid> = logins
        .flat_map(|login| survey.reach.closure(login.role, &BTreeSet::new()).into_keys())
        .collect();
    rest.into_iter().map(|subject| subject.role).filter(|role| !reached.contains(role)).collect()
}

/// Whether a subject belongs to one of the tenants that something is of.
fn belongs<'t>(subject: &Subject<'_>, mut tenants: impl Iterator<Item = &'t TenantId>) -> bool {
    tenants.any(|tenant| subject.acts_for(tenant))
}

impl Desk<'_, '_> {
    fn reached(
        &self,
        subject: &Subject<'_>,
        object: Object,
        access: BTreeMap<Privilege, Access>,
        all: &mut Vec<Reached>,
    ) {
        if access.is_empty() || self.outside.contains(&subject.role) {
            return;
        }
        let mut tenants: Vec<TenantId> =
            subject.tenants.iter().map(|tenant| tenant.id.clone()).collect();
        tenants.sort();
        all.push(Reached { object, role: subject.name.to_string(), tenants, access });
    }

    fn databases(&self, all: &mut Vec<Reached>) {
        let catalog = self.survey.catalog;
        let here = |one: &&crate::model::catalog::Database| one.name == catalog.database;
        let Some(database) = catalog.databases.iter().find(here) else { return };
        let own = |tenant: &&crate::model::tenant::Tenant| {
            tenant.isolation == Isolation::Database
                && tenant.placement.database == catalog.database
                && tenant.placement.cluster == catalog.cluster
        };
        let owners: BTreeSet<&TenantId> =
            self.survey.estate.tenants.iter().filter(own).map(|tenant| &tenant.id).collect();
        for subject in &self.survey.subjects {
            let held = self.survey.privileges(subject, database.owner, &database.grants);
            let access = if owners.is_empty() {
                Access::Common
            } else if belongs(subject, owners.iter().copied()) {
                Access::Own
            } else {
                Access::Open
            };
            let verbs = [Privilege::Connect, Privilege::Create];
            let access =
                verbs.into_iter().filter(|verb| held.has(*verb)).map(|verb| (verb, access));
            let object = self.survey.object("database", &database.name);
            self.reached(subject, object, access.collect(), all);
        }
    }

    fn schemas(&self, all: &mut Vec<Reached>) {
        for (oid, schema) in &self.survey.catalog.schemas {
            for subject in self.survey.entering(*oid) {
                let held = self.survey.privileges(subject, schema.owner, &schema.grants);
                let access = self.on_ground(subject, *oid);
                let verbs = [Privilege::Usage, Privilege::Create];
                let access =
                    verbs.into_iter().filter(|verb| held.has(*verb)).map(|verb| (verb, access));
                let object = self.survey.object("schema", &schema.name);
                self.reached(subject, object, access.collect(), all);
            }
        }
    }

    /// How far a subject reaches with what lies in a schema, rows of shared tables aside.
    fn on_ground(&self, subject: &Subject<'_>, schema: Oid) -> Access {
        match self.survey.ground(schema) {
            None => Access::Common,
            Some(ground) if belongs(subject, ground.tenants.iter().map(|one| &one.id)) => {
                Access::Own
            }
            Some(_) => Access::Open,
        }
    }

    fn relations(&self, all: &mut Vec<Reached>) {
        let catalog = self.survey.catalog;
        for (oid, relation) in &catalog.relations {
            let wanted: Privileges = verbs(relation.kind).iter().copied().collect();
            for (subject, held) in self.survey.reaching(relation, wanted) {
                let access = held
                    .iter()
                    .map(|verb| (verb, self.on_relation(subject, *oid, relation, verb)))
                    .collect();
                self.reached(subject, self.survey.relation(relation), access, all);
            }
        }
    }

    fn on_relation(
        &self,
        subject: &Subject<'_>,
        oid: Oid,
        relation: &Relation,
        verb: Privilege,
    ) -> Access {
        let ground = self.on_ground(subject, relation.schema);
        if ground != Access::Common {
            return ground;
        }
        if self.survey.tenant_tables.contains(&oid) {
            // Whatever it may become counts: it is one SET ROLE away.
            let faces = self.survey.faces(subject);
            let each = faces.iter().map(|face| self.rows(*face, oid, relation, verb));
            return each.max().unwrap_or(Access::Closed);
        }
        match &relation.view {
            Some(view) => self.through(subject.role, relation, view, verb, DEPTH),
            None => Access::Common,
        }
    }

    /// How far a role reaches into a table that tenants share.
    fn rows(&self, role: Oid, oid: Oid, table: &Relation, verb: Privilege) -> Access {
        let command = Command::ALL.into_iter().find(|command| command.privilege() == verb);
        // What is no matter of rows is no matter of policies.
        let Some(command) = command else { return Access::Open };
        if self.survey.exempt(role, table) {
            return Access::Open;
        }
        let untied = |pick: fn(&Policy, Command) -> Option<&str>| {
            !self.survey.untied(role, (oid, table), command, pick).is_empty()
        };
        if untied(Policy::seen) || untied(Policy::written) {
            return Access::Open;
        }
        let admits = |policy: &&&Policy| {
            policy.permissive && policy.governs(command) && self.survey.applies(policy, role)
        };
        if self.survey.policies(oid).iter().any(|policy| admits(&policy)) {
            Access::Bound
        } else {
            Access::Closed
        }
    }

    /// How far a view reaches for whoever asks.
    fn through(
        &self,
        role: Oid,
        view: &Relation,
        query: &View,
        verb: Privilege,
        depth: usize,
    ) -> Access {
        // A materialized view holds what its owner saw, whoever that was bound to.
        let kept = view.kind == RelationKind::Materialized;
        let reader = if query.security_invoker { role } else { view.owner };
        let filters = !query.security_invoker
            && query.security_barrier
            && self.survey.text_reads_context(&query.definition);
        let below = query.reads.iter().filter_map(|oid| {
            let relation = self.survey.catalog.relations.get(oid)?;
            Some(if self.survey.tenant_tables.contains(oid) {
                if kept { Access::Open } else { self.rows(reader, *oid, relation, verb) }
            } else if self.survey.ground(relation.schema).is_some() {
                Access::Open
            } else {
                match &relation.view {
                    Some(inner) if depth > 0 => {
                        self.through(reader, relation, inner, verb, depth - 1)
                    }
                    _ => Access::Common,
                }
            })
        });
        match below.max() {
            Some(Access::Open) if filters => Access::Bound,
            Some(access) => access,
            None => Access::Common,
        }
    }

    /// Functions that run as somebody else than their caller: the others can do what the caller can.
    fn functions(&self, all: &mut Vec<Reached>) {
        let definers = self.survey.catalog.functions.iter().filter(|(_, f)| f.definer);
        let definers: Vec<(&Oid, &Function)> = definers.collect();
        if definers.is_empty() {
            return;
        }
        let judged = rules::named("definer-function").map(|rule| (rule.check)(self.survey));
        let open: BTreeSet<String> =
            judged.into_iter().flatten().map(|finding| finding.object.name).collect();
        for (oid, function) in definers {
            let signature = function.signature();
            for subject in self.survey.entering(function.schema) {
                if !self.survey.calls(subject, function) {
                    continue;
                }
                let access = match self.on_ground(subject, function.schema) {
                    Access::Common if open.contains(&signature) => Access::Open,
                    Access::Common if self.survey.reads_context(*oid) => Access::Bound,
                    other => other,
                };
                let object = self.survey.object("function", &signature);
                let access = BTreeMap::from([(Privilege::Execute, access)]);
                self.reached(subject, object, access, all);
            }
        }
    }
}

/// What can be done with a relation of some kind.
fn verbs(kind: RelationKind) -> &'static [Privilege] {
    match kind {
        RelationKind::Sequence => &[Privilege::Select, Privilege::Update, Privilege::Usage],
        RelationKind::Materialized => &[Privilege::Select],
        RelationKind::View | RelationKind::Foreign => {
            &[Privilege::Select, Privilege::Insert, Privilege::Update, Privilege::Delete]
        }
        RelationKind::Table | RelationKind::Partitioned => &[
            Privilege::Select,
            Privilege::Insert,
            Privilege::Update,
            Privilege::Delete,
            Privilege::Truncate,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::World;

    /// `app.notes app_rw: SELECT bound, …` for one object.
    fn told(world: &World, object: &str) -> Vec<String> {
        let survey = Survey::new(&world.catalog, &world.estate, &[]);
        matrix(&survey)
            .into_iter()
            .filter(|one| one.object.name == object)
            .map(|one| {
                let verbs: Vec<String> = one
                    .access
                    .iter()
                    .map(|(verb, access)| format!("{} {}", verb.word(), access.word()))
                    .collect();
                format!("{}: {}", one.role, verbs.join(", "))
            })
            .collect()
    }

    #[test]
    fn a_sound_table_is_bound_and_each_hole_opens_a_verb() {
        let mut world = World::new();
        let sound = "app_rw: SELECT bound, INSERT bound, UPDATE bound, DELETE bound";
        assert_eq!(told(&world, "app.notes")[0], sound);
        world.grant("app.notes", "app_rw", Privilege::Truncate);
        assert_eq!(told(&world, "app.notes")[0], format!("{sound}, TRUNCATE open"));
        world.policy_mut().command = Some(Command::Select);
        assert_eq!(
            told(&world, "app.notes")[0],
            "app_rw: SELECT bound, INSERT closed, UPDATE closed, DELETE closed, TRUNCATE open"
        );
        world.table_mut("app.notes").rls = false;
        assert!(told(&world, "app.notes")[0].starts_with("app_rw: SELECT open, INSERT open"));
    }

    #[test]
    fn ones_own_ground_is_own_and_anothers_is_open() {
        let world = World::new();
        let survey = Survey::new(&world.catalog, &world.estate, &[]);
        let all = matrix(&survey);
        let own = |one: &&Reached| one.object.name.starts_with("tenant_cat");
        assert!(all.iter().filter(own).count() > 0);
        for one in all.iter().filter(own) {
            assert!(one.access.values().all(|access| *access == Access::Own), "{one:?}");
        }
        assert!(all.iter().all(|one| !one.is_open()), "{all:#?}");
    }
}
