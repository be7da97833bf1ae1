//! Fleets of many schemas that cost one statement, and the law that every run is held to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde_json::Value;

use crate::fleet::Fleet;
use crate::harness::World;

/// Tenants `t0001`, `t0002` and so on, each with an empty schema `tenant_t0001`, all of one owner.
///
/// It dereferences to its [`Fleet`].
pub struct Many {
    fleet: Fleet,
}

impl Many {
    pub fn of(count: usize) -> Self {
        Self::on(World::new(), count)
    }

    pub fn on(world: World, count: usize) -> Self {
        Self::with(world, count, "")
    }

    /// With more configuration of the cluster, or after it.
    pub fn with(world: World, count: usize, configuration: &str) -> Self {
        let fleet = Fleet::with(world, configuration);
        // The registry is made with its first tenant, which then makes way.
        fleet.create("first", "schema");
        fleet.sql(&format!(
            "DELETE FROM tenantctl.tenants; DROP SCHEMA tenant_first CASCADE; \
             CREATE ROLE fleet_owner; GRANT fleet_owner TO platform; \
             CREATE TABLE public.done (schema text, version int); \
             GRANT INSERT ON public.done TO fleet_owner; \
             DO $$ BEGIN FOR i IN 1..{count} LOOP \
               EXECUTE format('CREATE SCHEMA tenant_t%s AUTHORIZATION fleet_owner', lpad(i::text, 4, '0')); \
             END LOOP; END $$; \
             INSERT INTO tenantctl.tenants \
               (id, uuid, key, isolation, cluster, database, schema, owner, roles, state, labels) \
             SELECT 't' || n, gen_random_uuid(), n, 'schema', 'main', 'app', 'tenant_t' || n, \
               'fleet_owner', '{{fleet_app}}', 'active', \
               CASE WHEN n::int % 5 = 3 THEN '{{\"wave\": \"canary\"}}' ELSE '{{}}' END::jsonb \
             FROM (SELECT lpad(i::text, 4, '0') AS n FROM generate_series(1, {count}) i) _"
        ));
        Self { fleet }
    }

    /// As [`Many::of`], at version 1.
    pub fn migrated(count: usize) -> Self {
        Self::of(count).up_to_date()
    }

    /// Everybody at the newest version.
    pub fn up_to_date(self) -> Self {
        self.up(&[]).run().ok();
        self
    }

    /// Writes a migration that does something, makes table `v<version>`, and counts that it was done:
    /// a second time would be seen.
    pub fn step(&self, version: u32, sql: &str) {
        self.migration(
            &format!("V{version}__v{version}.sql"),
            &format!(
                "{sql}\nCREATE TABLE v{version} ();\n\
                 INSERT INTO public.done SELECT current_schema(), {version};\n"
            ),
        );
    }

    /// The versions that each tenant's history holds.
    pub fn histories(&self) -> BTreeMap<String, Vec<i64>> {
        let ids = self.rows("SELECT id FROM tenantctl.tenants ORDER BY 1").concat();
        let written = self
            .rows(
                "SELECT schemaname FROM pg_tables WHERE tablename = 'refinery_schema_history' \
                 AND schemaname LIKE 'tenant\\_%'",
            )
            .concat();
        let parts: Vec<String> = written
            .iter()
            .map(|schema| {
                format!("SELECT '{schema}', version FROM {schema}.refinery_schema_history")
            })
            .collect();
        let mut found: BTreeMap<String, Vec<i64>> =
            ids.into_iter().map(|id| (id, Vec::new())).collect();
        if !parts.is_empty() {
            for row in self.rows(&format!("{} ORDER BY 1, 2", parts.join(" UNION ALL "))) {
                let id = row[0].strip_prefix("tenant_").unwrap();
                if let Some(history) = found.get_mut(id) {
                    history.push(row[1].parse().unwrap());
                }
            }
        }
        found
    }

    /// What `runs show` says of a run.
    pub fn ledger(&self, run: &str) -> Value {
        self.run(["runs", "show", run, "-o", "json"]).ok().json()
    }

    /// The ledger of the last run, after the law was checked: histories and catalogue agree, nothing
    /// was done twice, and what the ledger says of a tenant is so.
    #[track_caller]
    pub fn lawful(&self) -> Value {
        let histories = self.catalogue_agrees();
        let ledger = self.ledger("last");
        for target in ledger["targets"].as_array().unwrap() {
            let id = target["tenant"].as_str().unwrap();
            let Some(history) = histories.get(id) else {
                continue;
            };
            let from = target["from"].as_i64().unwrap_or_default();
            let applied = target["applied"].as_array().unwrap().iter().map(Value::as_i64);
            let mut said: Vec<i64> = (1..=from).chain(applied.map(Option::unwrap)).collect();
            said.sort_unstable();
            assert_eq!(said, *history, "{target}");
            let newest = history.last().copied().unwrap_or_default();
            let goal = target["goal"].as_i64().unwrap_or_default();
            let status = target["status"].as_str().unwrap();
            match status {
                "applied" | "up-to-date" => assert!(newest >= goal, "{target}"),
                "failed" => assert!(newest < goal && !target["error"].is_null(), "{target}"),
                "pending" => assert!(newest < goal && target["error"].is_null(), "{target}"),
                _ => panic!("a run that ended leaves nobody {status}: {target}"),
            }
        }
        ledger
    }

    /// Histories and catalogue agree, and nothing was done twice. Returns the histories.
    #[track_caller]
    pub fn catalogue_agrees(&self) -> BTreeMap<String, Vec<i64>> {
        let histories = self.histories();
        let pairs = |sql: &str| -> Vec<(String, i64)> {
            let rows = self.rows(sql).into_iter();
            rows.map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
        };
        let made: BTreeSet<(String, i64)> = pairs(
            "SELECT schemaname, substr(tablename, 2) FROM pg_tables WHERE tablename ~ '^v[0-9]+$'",
        )
        .into_iter()
        .collect();
        let done = pairs("SELECT schema, version FROM public.done");
        let once: BTreeSet<(String, i64)> = done.iter().cloned().collect();
        assert_eq!(done.len(), once.len(), "something was done twice: {done:?}");
        assert_eq!(made, once);
        let steps: BTreeSet<i64> = once.iter().map(|(_, version)| *version).collect();
        let recorded: BTreeSet<(String, i64)> = histories
            .iter()
            .flat_map(|(id, history)| history.iter().map(move |at| (format!("tenant_{id}"), *at)))
            .filter(|(_, version)| steps.contains(version))
            .collect();
        assert_eq!(recorded, once);
        histories
    }

    /// Everybody's history is the versions up to and including this one.
    #[track_caller]
    pub fn everybody_is_at(&self, version: i64) {
        for (id, history) in self.histories() {
            assert_eq!(history, (1..=version).collect::<Vec<_>>(), "{id}");
        }
    }
}

impl Deref for Many {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        &self.fleet
    }
}

/// The row of a tenant in `runs show -o json`, or in the answer of `migrate up`.
#[track_caller]
pub fn row(answer: &Value, tenant: &str) -> Value {
    let targets = answer["targets"].as_array().unwrap();
    let found = targets.iter().find(|target| target["tenant"] == tenant);
    found.unwrap_or_else(|| panic!("no {tenant} in {answer}")).clone()
}

/// `status` of every tenant.
#[track_caller]
pub fn states(answer: &Value) -> Vec<String> {
    let targets = answer["targets"].as_array().unwrap().iter();
    targets.map(|target| target["status"].as_str().unwrap().to_owned()).collect()
}
