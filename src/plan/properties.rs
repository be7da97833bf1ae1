//! What every plan promises, whatever it starts from: idempotence, resumability, safe order, and
//! exact repairs.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::world::{Made, World, name};
use super::{Change, Plan, Step, provision};
use crate::model::desired::{Copying, Credential, Desired, KeyType, Limits, Sharing};
use crate::model::ident::QualifiedName;
use crate::model::layout::{Setting, Tenancy};
use crate::model::migration::{Migration, MigrationSet, Prefix, Version};
use crate::model::observed::{
    DatabaseFacts, DefaultGrant, DefaultKind, Observed, OperatorReach, RoleFacts, ServerFacts,
    TableFacts,
};
use crate::model::tenant::{ClusterName, Isolation, Placement, State, Tenant, TenantId};

/// A layout, a server and a set of migrations.
#[derive(Clone, Debug)]
struct Case {
    isolation: Isolation,
    roles: usize,
    own_roles: bool,
    readonly: bool,
    pool: Option<Pool>,
    connection_limit: Option<i32>,
    settings: usize,
    /// A schema whose name SQL reads in quotes.
    odd_names: bool,
    credential: bool,
    server: ServerFacts,
    made: Vec<Made>,
    /// Another tenant of the layout was there first, with so many migrations fewer.
    neighbour: Option<usize>,
    /// Databases are copies of a template, once there is another.
    template: bool,
}

/// The pool's login.
#[derive(Clone, Copy, Debug)]
enum Pool {
    Absent,
    Existing { login: bool, inherit: bool },
}

impl Case {
    fn desired(&self, id: &str) -> Desired {
        let isolation = self.isolation;
        let own = self.own_roles || isolation != Isolation::Shared;
        let suffix = if own { format!("_{id}") } else { String::new() };
        let shared = isolation == Isolation::Shared;
        let base = if self.odd_names { "Tenant" } else { "tenant" };
        let schema = if shared { base.to_owned() } else { format!("{base}_{id}") };
        let database =
            if isolation == Isolation::Database { format!("{base}_{id}") } else { "app".into() };
        let settings = [("statement_timeout", "30s"), ("work_mem", "8MB")];
        let tenant = Tenant {
            id: TenantId::new(id).unwrap(),
            uuid: Uuid::nil(),
            key: Uuid::nil().to_string(),
            isolation,
            placement: Placement {
                cluster: ClusterName::new("main").unwrap(),
                database: name(&database),
                schema: name(&schema),
            },
            owner: name(&format!("{schema}_owner")),
            roles: (0..self.roles).map(|at| name(&format!("app{at}{suffix}"))).collect(),
            tier: None,
            region: None,
            labels: BTreeMap::new(),
            state: State::Active,
        };
        Desired {
            tenant,
            roles_are_its_own: own,
            readonly: self.readonly.then(|| name(&format!("reader{suffix}"))),
            login_role: self.pool.map(|_| name("pool")),
            limits: Limits {
                connection_limit: self.connection_limit,
                settings: settings
                    .into_iter()
                    .take(self.settings)
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            },
            version: None,
            closed: false,
            copying: if self.template { Copying::Always } else { Copying::Never },
            sharing: shared.then(|| Sharing {
                tenancy: Tenancy {
                    column: name("tenant_id"),
                    setting: Setting::new("app.tenant_id").unwrap(),
                },
                key_type: KeyType::Uuid,
            }),
            credentials: (0..if self.credential { self.roles } else { 0 })
                .map(|at| {
                    let verifier = format!("SCRAM-SHA-256${at}…");
                    (name(&format!("app{at}{suffix}")), Credential { verifier })
                })
                .collect(),
        }
    }

    fn set(&self) -> MigrationSet {
        first(self.made.len())
    }

    /// The world before the tenant is asked for.
    fn world(&self) -> World {
        let made_by = (1..).map(Version).zip(self.made.iter().cloned()).collect();
        let mut facts = Observed { server: self.server.clone(), ..Observed::default() };
        facts.peers = self.neighbour.is_some();
        if self.isolation != Isolation::Database {
            let owner = "postgres".to_owned();
            facts.database =
                Some(DatabaseFacts { owner, public: true, ..DatabaseFacts::default() });
        }
        if let Some(Pool::Existing { login, inherit }) = self.pool {
            let reach = self.server.superuser;
            facts.operator.insert(name("pool"), OperatorReach { set: reach, inherit: reach });
            let role = RoleFacts { login, inherit, connection_limit: -1, ..RoleFacts::default() };
            facts.roles.insert(name("pool"), role);
        }
        let mut world = World::new(facts, made_by);
        if let (Isolation::Shared, Some(fewer)) = (self.isolation, self.neighbour) {
            let set = first(self.made.len().saturating_sub(fewer));
            converge(&mut world, &self.desired("other"), &set).unwrap();
            world.facts.registered = None;
            world.facts.neighbours = true;
        }
        world
    }

    /// The world in which the tenant is active.
    fn settled(&self) -> World {
        let mut world = self.world();
        converge(&mut world, &self.desired("acme"), &self.set()).unwrap();
        world
    }
}

/// The first so many migrations.
fn first(count: usize) -> MigrationSet {
    let file = |at: usize| {
        let version = Version(i64::try_from(at).unwrap());
        let sql = format!("CREATE TABLE t{at} ()");
        Migration::new(Prefix::Versioned, version, "t", sql, "t.sql", Vec::new())
    };
    MigrationSet::new("set", (1..=count).map(file).collect()).unwrap()
}

/// Plans and applies until there is nothing left to do, as the executor does. Returns the plans.
fn converge(world: &mut World, desired: &Desired, set: &MigrationSet) -> Result<Vec<Plan>, String> {
    let mut plans = Vec::new();
    loop {
        let plan = provision(desired, set, &world.observe(desired)).map_err(|e| e.to_string())?;
        for step in &plan.steps {
            world.apply(desired, set, step).map_err(|why| format!("{why}: {step:?}"))?;
        }
        plans.push(plan.clone());
        if !plan.continues {
            return Ok(plans);
        }
        if plans.len() > 3 {
            return Err(format!("there is no end: {:?}", plan.steps));
        }
    }
}

fn next(world: &World, desired: &Desired, set: &MigrationSet) -> Plan {
    provision(desired, set, &world.observe(desired)).unwrap()
}

fn is_active(world: &World) -> bool {
    world.facts.registered.as_ref().is_some_and(|row| row.state == State::Active)
}

/// A tenant of a plain layout: its roles log in, one of them only reads.
pub(super) fn desired(isolation: Isolation, id: &str) -> Desired {
    let case = Case {
        isolation,
        roles: 1,
        own_roles: false,
        readonly: true,
        pool: None,
        connection_limit: None,
        settings: 0,
        odd_names: false,
        credential: false,
        server: server(150_000),
        made: Vec::new(),
        neighbour: None,
        template: false,
    };
    case.desired(id)
}

/// A server of a version, on which the operator is what a managed service gives.
pub(super) fn server(version: i32) -> ServerFacts {
    ServerFacts { version, operator: "platform".to_owned(), superuser: false, inherits: true }
}

fn made() -> impl Strategy<Value = Made> {
    let key = proptest::option::weighted(0.8, prop_oneof![Just("uuid"), Just("integer")]);
    let policies = (0..2_usize, any::<bool>(), any::<bool>());
    (key, policies, any::<bool>(), any::<bool>()).prop_map(
        |(key, (other_policies, rls, forced), partition, sequence)| Made {
            table: TableFacts {
                key_type: key.map(str::to_owned),
                rls,
                forced,
                other_policies,
                partition,
                ..TableFacts::default()
            },
            sequence,
        },
    )
}

fn any_server() -> impl Strategy<Value = ServerFacts> {
    let version = prop_oneof![Just(140_000), Just(150_000), Just(160_000), Just(180_000)];
    (version, any::<bool>(), any::<bool>()).prop_map(|(version, superuser, inherits)| ServerFacts {
        version,
        operator: "platform".to_owned(),
        superuser,
        // Before PostgreSQL 16 such an operator is refused, which a test of its own shows.
        inherits: inherits || version < 160_000,
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    prop_oneof![
        Just(Pool::Absent),
        (any::<bool>(), any::<bool>())
            .prop_map(|(login, inherit)| Pool::Existing { login, inherit }),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let layout = (
        prop_oneof![Just(Isolation::Shared), Just(Isolation::Schema), Just(Isolation::Database)],
        1..3_usize,
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(pool()),
        any::<bool>(),
    );
    let rest = (
        proptest::option::of(1..20_i32),
        0..3_usize,
        any::<bool>(),
        any_server(),
        vec(made(), 0..4),
        proptest::option::of(0..2_usize),
        any::<bool>(),
    );
    (layout, rest).prop_map(
        |(
            (isolation, roles, own_roles, readonly, pool, odd_names),
            (connection_limit, settings, credential, server, made, neighbour, template),
        )| Case {
            isolation,
            roles,
            own_roles,
            readonly,
            pool,
            connection_limit,
            settings,
            odd_names,
            credential,
            server,
            made,
            neighbour,
            template,
        },
    )
}

/// Something that an active tenant lost, and what brings it back.
fn losses(world: &World, desired: &Desired, settled: &Plan) -> Vec<(World, Vec<Change>)> {
    assert!(settled.is_empty());
    let mut losses = Vec::new();
    let schema_name = &desired.tenant.placement.schema;
    let database = &desired.tenant.placement.database;
    let mut lose = |change: &dyn Fn(&mut Observed), repair: Vec<Change>| {
        let mut lost = world.clone();
        change(&mut lost.facts);
        losses.push((lost, repair));
    };
    let schema = world.facts.schema.as_ref().unwrap();
    let table_name = |table: &_| QualifiedName::new(schema_name.clone(), Clone::clone(table));

    for role in desired.users() {
        lose(
            &|facts| {
                facts.schema.as_mut().unwrap().usage.remove(role);
            },
            vec![Change::GrantUsage { schema: schema_name.clone(), role: role.clone() }],
        );
    }
    for role in desired.tenant.roles.iter().filter(|_| desired.login_role.is_none()) {
        lose(
            &|facts| facts.roles.get_mut(role).unwrap().login = false,
            vec![Change::AllowLogin(role.clone())],
        );
    }
    for (role, member) in world.facts.members.keys() {
        if desired.users().any(|name| name == role) {
            let (role, member) = (role.clone(), member.clone());
            let repair =
                Change::GrantRole { role: role.clone(), member: member.clone(), inherit: false };
            lose(
                &|facts| {
                    facts.members.remove(&(role.clone(), member.clone()));
                },
                vec![repair.clone()],
            );
            lose(
                &|facts| {
                    let at = (role.clone(), member.clone());
                    facts.members.get_mut(&at).unwrap().inherit = true;
                },
                vec![repair],
            );
        }
    }
    for grant in schema.defaults.iter().filter(|grant| grant.kind == DefaultKind::Functions) {
        if desired.users().any(|role| *role == grant.role) {
            let repair = Change::GrantByDefault {
                owner: desired.tenant.owner.clone(),
                schema: schema_name.clone(),
                kind: grant.kind,
                role: grant.role.clone(),
            };
            lose(
                &|facts: &mut Observed| {
                    facts.schema.as_mut().unwrap().defaults.remove(grant);
                },
                vec![repair],
            );
        }
    }
    lose(
        &|facts| facts.schema.as_mut().unwrap().functions_closed = false,
        vec![Change::CloseFunctions(desired.tenant.owner.clone())],
    );
    lose(
        &|facts| facts.schema.as_mut().unwrap().public = true,
        vec![Change::CloseSchema(schema_name.clone())],
    );
    let stranger = name("stranger");
    lose(
        &|facts| {
            facts.schema.as_mut().unwrap().history_granted.insert(stranger.clone());
        },
        vec![Change::CloseHistory { schema: schema_name.clone(), role: stranger.clone() }],
    );
    for (table, facts) in &schema.tables {
        let guarded = desired.sharing.as_ref().zip(facts.key_type.as_ref());
        if let Some((sharing, key_type)) = guarded {
            let repair = if facts.policy.is_some() {
                Change::GuardTable {
                    table: table_name(table),
                    sharing: sharing.clone(),
                    key_type: key_type.clone(),
                }
            } else {
                Change::EnforcePolicies(table_name(table))
            };
            for weaken in
                [(|facts: &mut TableFacts| facts.forced = false) as fn(&mut TableFacts), |facts| {
                    facts.rls = false;
                }]
            {
                lose(
                    &|facts| {
                        weaken(facts.schema.as_mut().unwrap().tables.get_mut(table).unwrap());
                    },
                    vec![repair.clone()],
                );
            }
        }
        let reached = desired.sharing.is_none() || (guarded.is_some() && !facts.partition);
        for role in desired.tenant.roles.iter().filter(|_| reached) {
            lose(
                &|facts| {
                    let schema = facts.schema.as_mut().unwrap();
                    schema.tables.get_mut(table).unwrap().write.remove(role);
                },
                vec![Change::GrantTable {
                    table: table_name(table),
                    role: role.clone(),
                    write: true,
                }],
            );
        }
    }
    for sequence in schema.sequences.keys() {
        for role in &desired.tenant.roles {
            lose(
                &|facts| {
                    let schema = facts.schema.as_mut().unwrap();
                    schema.sequences.get_mut(sequence).unwrap().remove(role);
                },
                vec![Change::GrantSequence { sequence: table_name(sequence), role: role.clone() }],
            );
        }
    }
    if desired.tenant.isolation == Isolation::Database {
        lose(
            &|facts| facts.database.as_mut().unwrap().public = true,
            vec![Change::CloseDatabase(database.clone())],
        );
        lose(
            &|facts| facts.database.as_mut().unwrap().settings.clear(),
            desired
                .limits
                .settings
                .iter()
                .map(|(setting, value)| (setting.clone(), value.clone()))
                .chain([("search_path".to_owned(), schema_name.as_str().to_owned())])
                .map(|(setting, value)| Change::SetForDatabase {
                    database: database.clone(),
                    setting,
                    value,
                })
                .collect(),
        );
    }
    if let Some(limit) = desired.limits.connection_limit
        && desired.roles_are_its_own
    {
        let role = desired.tenant.role();
        lose(
            &|facts| facts.roles.get_mut(role).unwrap().connection_limit = -1,
            vec![Change::LimitConnections { role: role.clone(), limit }],
        );
    }
    losses
}

proptest! {
    #[test]
    fn applying_a_plan_leaves_nothing_to_do(case in case()) {
        let (desired, set, mut world) = (case.desired("acme"), case.set(), case.world());
        converge(&mut world, &desired, &set).map_err(TestCaseError::fail)?;
        let plan = next(&world, &desired, &set);
        prop_assert!(plan.is_empty(), "{:?}", plan.steps);
        prop_assert!(is_active(&world));
    }

    #[test]
    fn a_plan_that_is_stopped_anywhere_is_completed_by_the_next(case in case()) {
        let (desired, set) = (case.desired("acme"), case.set());
        let expected = case.settled();
        let mut world = case.world();
        loop {
            let plan = next(&world, &desired, &set);
            for step in &plan.steps {
                let mut resumed = vec![world.clone()];
                // Each migration is a transaction of its own, so a step of several can stop inside.
                if let Change::Migrate { schema, versions } = &step.change {
                    for count in 1..=versions.len() {
                        let mut inside = world.clone();
                        let versions = versions[..count].to_vec();
                        let change = Change::Migrate { schema: schema.clone(), versions };
                        let part = Step { change, ..step.clone() };
                        inside.apply(&desired, &set, &part).map_err(TestCaseError::fail)?;
                        resumed.push(inside);
                    }
                }
                for mut stopped in resumed {
                    prop_assert!(!is_active(&stopped), "active before {}", step.change.describe());
                    converge(&mut stopped, &desired, &set).map_err(TestCaseError::fail)?;
                    prop_assert_eq!(&stopped, &expected, "stopped before {:?}", step.change);
                }
                world.apply(&desired, &set, step).map_err(TestCaseError::fail)?;
            }
            if !plan.continues {
                break;
            }
        }
        prop_assert_eq!(world, expected);
    }

    #[test]
    fn the_row_comes_first_and_active_comes_last(case in case()) {
        let (desired, set, mut world) = (case.desired("acme"), case.set(), case.world());
        let plans = converge(&mut world, &desired, &set).map_err(TestCaseError::fail)?;
        let changes: Vec<&Change> =
            plans.iter().flat_map(|plan| &plan.steps).map(|step| &step.change).collect();
        prop_assert_eq!(changes.first(), Some(&&Change::Record(State::Provisioning)));
        prop_assert_eq!(changes.last(), Some(&&Change::Record(State::Active)));
        prop_assert_eq!(changes.iter().filter(|c| matches!(c, Change::Record(_))).count(), 2);
    }

    #[test]
    fn everybody_who_uses_a_tenant_reaches_all_of_it(case in case()) {
        let (desired, world) = (case.desired("acme"), case.settled());
        let schema = world.facts.schema.as_ref().unwrap();
        prop_assert!(schema.history_granted.is_empty());
        for role in desired.users() {
            prop_assert!(schema.usage.contains(role));
            prop_assert!(schema.functions.values().all(|users| users.contains(role)));
            for helper in schema.helpers.values() {
                prop_assert!(helper.execute.contains(role), "{role} cannot call a helper");
            }
        }
        for table in schema.tables.values() {
            let shared = desired.sharing.is_some();
            prop_assert!(!shared || table.key_type.is_none() || table.is_guarded());
            let reached = !shared || (table.key_type.is_some() && !table.partition);
            prop_assert_eq!(desired.tenant.roles.iter().all(|r| table.write.contains(r)), reached);
            prop_assert!(table.read.iter().all(|role| !shared || reached || role.as_str() == ""));
        }
    }

    #[test]
    fn an_active_tenant_gets_back_what_it_lost_and_no_more(case in case()) {
        let (desired, set, world) = (case.desired("acme"), case.set(), case.settled());
        let settled = next(&world, &desired, &set);
        for (mut lost, expected) in losses(&world, &desired, &settled) {
            let plan = next(&lost, &desired, &set);
            let changes: Vec<Change> = plan.steps.iter().map(|step| step.change.clone()).collect();
            prop_assert_eq!(&changes, &expected);
            converge(&mut lost, &desired, &set).map_err(TestCaseError::fail)?;
            prop_assert_eq!(next(&lost, &desired, &set).steps, vec![]);
            prop_assert!(is_active(&lost));
        }
    }

    #[test]
    fn losing_several_things_at_once_is_repaired_by_one_plan(
        case in case(),
        closed in any::<bool>(),
        history in any::<bool>(),
        picks in vec(any::<prop::sample::Index>(), 1..6),
    ) {
        // What other tenants lose is theirs to repair.
        let case = Case { neighbour: None, ..case };
        let (desired, set, mut world) = (case.desired("acme"), case.set(), case.settled());
        let expected = world.clone();
        let schema = world.facts.schema.as_mut().unwrap();
        if closed {
            schema.usage.clear();
            schema.helpers.clear();
        }
        if history && case.made.is_empty() {
            schema.history = None;
        }
        for pick in picks {
            let ours = |grant: &&DefaultGrant| desired.users().any(|role| *role == grant.role);
            let defaults: Vec<DefaultGrant> =
                schema.defaults.iter().filter(ours).cloned().collect();
            if !defaults.is_empty() {
                // Who can no longer read cannot read and write.
                let role = &pick.get(&defaults).role;
                schema.defaults.retain(|grant| grant.role != *role);
            }
            if let Some(table) = schema.tables.values_mut().nth(pick.index(4)) {
                table.write.clear();
                table.forced &= table.policy.is_none();
            }
        }
        converge(&mut world, &desired, &set).map_err(TestCaseError::fail)?;
        let left = next(&world, &desired, &set);
        prop_assert!(left.is_empty(), "{:?}", left.steps);
        prop_assert_eq!(world, expected);
    }

    #[test]
    fn whatever_waits_in_an_unusable_database_is_made_again(case in case()) {
        let case = Case { isolation: Isolation::Database, ..case };
        let (desired, set, mut world) = (case.desired("acme"), case.set(), case.settled());
        let expected = world.clone();
        world.facts.database.as_mut().unwrap().invalid = true;
        world.facts.registered.as_mut().unwrap().state = State::Provisioning;
        converge(&mut world, &desired, &set).map_err(TestCaseError::fail)?;
        prop_assert_eq!(world, expected);
    }

    #[test]
    fn a_newcomer_does_not_migrate_tables_that_are_in_use(case in case(), fewer in 0..2_usize) {
        let case = Case { isolation: Isolation::Shared, neighbour: Some(fewer), ..case };
        let (desired, set) = (case.desired("acme"), case.set());
        let plan = next(&case.world(), &desired, &set);
        let migrates = |step: &Step| matches!(step.change, Change::Migrate { .. });
        prop_assert!(!plan.steps.iter().any(migrates));
        prop_assert_eq!(plan.notes.iter().any(|n| n.contains("is behind")), fewer > 0 && !case.made.is_empty());
    }
}
