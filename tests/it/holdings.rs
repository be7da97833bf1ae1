//! What a tenant has is found in the catalogue, in every isolation model, and read at one moment.

use std::sync::Arc;

use tenantctl::config::conninfo::Environment;
use tenantctl::config::{Fleet, Sources};
use tenantctl::model::holdings::{Holdings, OnDelete, Outside, Reach};
use tenantctl::model::ident::Ident;
use tenantctl::model::layout::Tenancy;
use tenantctl::model::tally::Tally;
use tenantctl::model::tenant::Tenant;
use tenantctl::ops;
use tenantctl::pg::copy::{Filling, Shape, Snapshot};
use tenantctl::pg::{Servers, Session, registry};
use tenantctl::plan::transfer;
use tenantctl::sql;

use crate::harness::{Model, World, on_every_version};

/// What the library sees of a world.
struct Seen {
    runtime: tokio::runtime::Runtime,
    servers: Arc<Servers>,
    fleet: Fleet,
}

impl Seen {
    fn of(world: &World) -> Self {
        let sources = Sources {
            database_url: Some(world.operator_url()),
            directory: world.work_dir(),
            ..Sources::default()
        };
        let fleet = Fleet::load(&sources, &Environment::process()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { servers: ops::servers(&fleet, "test"), fleet, runtime }
    }

    fn snapshot<T>(
        &self,
        id: &str,
        read: impl AsyncFnOnce(&Session, &Snapshot<'_>, &Tenant) -> T,
    ) -> T {
        self.runtime.block_on(async {
            let (cluster, database) = &self.fleet.registry;
            let control = self.servers.session(cluster, Some(database)).await.unwrap();
            let tenant = registry::find(&control, &id.parse().unwrap()).await.unwrap().unwrap();
            let session =
                self.servers.dedicated(cluster, Some(&tenant.placement.database)).await.unwrap();
            let tenancy = self.tenancy(&tenant);
            let snapshot = Snapshot::open(&session, &tenant, tenancy.as_ref(), None).await.unwrap();
            let answer = read(&session, &snapshot, &tenant).await;
            snapshot.close().await.unwrap();
            answer
        })
    }

    fn tenancy(&self, tenant: &Tenant) -> Option<Tenancy> {
        self.fleet.layout(tenant.isolation).sharing.as_ref().map(|sharing| sharing.tenancy.clone())
    }

    fn holdings(&self, id: &str) -> Holdings {
        self.snapshot(id, async |_, snapshot, _| snapshot.holdings().clone())
    }
}

fn names(holdings: &Holdings) -> Vec<String> {
    holdings.tables.keys().map(|name| name.name.to_string()).collect()
}

const EMBEDDED: [&str; 9] = [
    "api_keys",
    "audit_log",
    "document_tags",
    "documents",
    "embeddings",
    "events",
    "organisations",
    "settings",
    "tags",
];

#[test]
fn every_table_of_the_embedded_schema_is_held_and_read_in_every_model() {
    on_every_version(|world| {
        let seen = Seen::of(&world);
        for model in Model::ALL {
            let id = format!("acme_{}", model.word());
            let other = format!("bolt_{}", model.word());
            for id in [&id, &other] {
                world.run(["create", id, "--isolation", model.word()]).ok();
                world.seed(model, id, 7);
            }
            let holdings = seen.holdings(&id);
            let expected: Vec<&str> = EMBEDDED.into_iter().chain(["users"]).collect();
            assert_eq!(names(&holdings), expected, "{model:?}");
            assert_eq!(holdings.version().unwrap().0, 7);
            let shared = model == Model::Shared;
            for (name, table) in &holdings.tables {
                assert_eq!(matches!(table.reach, Reach::Column { .. }), shared, "{name}");
                assert!(!table.key.is_empty(), "{name}");
            }
            let order: Vec<String> = transfer::loading(&holdings)
                .into_iter()
                .map(|group| {
                    let names: Vec<String> =
                        group.iter().map(|name| name.name.to_string()).collect();
                    names.join("+")
                })
                .collect();
            let at = |name: &str| order.iter().position(|group| group == name).unwrap();
            assert!(at("users") < at("documents") && at("documents") < at("document_tags"));
            let documents =
                holdings.tables.iter().find(|(name, _)| name.name.as_str() == "documents");
            assert_eq!(
                documents.unwrap().1.columns.iter().filter(|column| column.generated).count(),
                1
            );
            // Whoever shares the tables is not counted, and not read.
            let (counts, contents) = seen.snapshot(&id, async |_, snapshot, _| {
                let counts = snapshot.count().await.unwrap();
                let mut contents = Vec::new();
                for (name, table) in &snapshot.holdings().tables {
                    let columns: Vec<Ident> =
                        table.written().map(|column| column.name.clone()).collect();
                    let rows = snapshot.rows(name, table, &columns, Shape::Rows, Tally::default());
                    contents.push((name.clone(), rows.await.unwrap().content().await.unwrap()));
                }
                (counts, contents)
            });
            for (name, content) in contents {
                let expected = if name.name.as_str() == "organisations" { 1 } else { 7 };
                assert_eq!((counts[&name], content.rows), (expected, expected), "{model:?} {name}");
            }
        }
    });
}

#[test]
fn what_is_not_plain_is_held_all_the_same() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.sql(
        "SET search_path = tenant_acme; SET ROLE tenant_acme_owner; \
         CREATE TABLE a (id int PRIMARY KEY, b_id int NOT NULL); \
         CREATE TABLE b (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a_id int NOT NULL REFERENCES a); \
         ALTER TABLE a ADD CONSTRAINT round FOREIGN KEY (b_id) REFERENCES b ON DELETE CASCADE; \
         CREATE TABLE parts (at date, n serial, PRIMARY KEY (at, n)) PARTITION BY RANGE (at); \
         CREATE TABLE parts_2024 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
         CREATE TABLE part_notes (at date, n int, FOREIGN KEY (at, n) REFERENCES parts); \
         CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM a; \
         CREATE SEQUENCE alone START 41; SELECT nextval('alone'); \
         SELECT lo_create(4242); RESET ROLE; \
         CREATE SCHEMA beside AUTHORIZATION tenant_acme_owner; \
         CREATE TABLE beside.more (id int); ALTER TABLE beside.more OWNER TO tenant_acme_owner; \
         CREATE TABLE public.foreigner (a_id int REFERENCES tenant_acme.a)",
    );
    let holdings = Seen::of(&world).holdings("acme");
    let found = names(&holdings);
    for name in ["a", "b", "parts", "part_notes", "more"] {
        assert!(found.iter().any(|found| found == name), "{name} is not among {found:?}");
    }
    assert!(!found.iter().any(|name| name == "parts_2024" || name == "refinery_schema_history"));
    assert_eq!(holdings.derived.len(), 1);
    assert_eq!(holdings.large_objects, 1);
    let circle: Vec<Vec<String>> = transfer::loading(&holdings)
        .into_iter()
        .filter(|group| group.len() > 1)
        .map(|group| group.iter().map(|name| name.name.to_string()).collect())
        .collect();
    assert_eq!(circle, [["a", "b"]]);
    let round = holdings.edges.iter().find(|edge| edge.name.as_str() == "round").unwrap();
    assert_eq!((round.on_delete, round.optional), (OnDelete::Cascade, false));
    let outside: Vec<String> =
        holdings.from_outside().map(|edge| edge.from.name.to_string()).collect();
    assert_eq!(outside, ["foreigner"]);
    let sequence = |name: &str| {
        let found = holdings.sequences.iter().find(|(found, _)| found.name.as_str() == name);
        found.unwrap().1.clone()
    };
    assert_eq!(sequence("alone").stands_at, (41, true));
    assert_eq!(sequence("alone").column, None);
    assert!(sequence("b_id_seq").identity);
    assert_eq!(sequence("parts_n_seq").column.unwrap().1.as_str(), "n");
}

#[test]
fn shared_rows_are_reached_through_foreign_keys_where_they_have_no_tenant_column() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "shared"]).ok();
    world.run(["create", "bolt", "--isolation", "shared"]).ok();
    world.sql(
        "SET search_path = app; SET ROLE app_owner; \
         CREATE TABLE orders (id int PRIMARY KEY, tenant_id uuid NOT NULL); \
         CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders); \
         CREATE TABLE notes (id int PRIMARY KEY, line_id int REFERENCES lines); \
         CREATE TABLE countries (code text PRIMARY KEY); RESET ROLE; \
         INSERT INTO orders SELECT n, t.uuid FROM tenantctl.tenants t, \
           generate_series(CASE t.id WHEN 'acme' THEN 1 ELSE 10 END, CASE t.id WHEN 'acme' THEN 3 ELSE 11 END) n; \
         INSERT INTO lines SELECT id, id FROM orders; INSERT INTO notes SELECT id, id FROM orders",
    );
    let seen = Seen::of(&world);
    let holdings = seen.holdings("acme");
    let through: Vec<String> =
        holdings.reached_through().map(|(name, path)| format!("{name} {}", path.len())).collect();
    assert_eq!(through, ["app.lines 1", "app.notes 2"]);
    assert_eq!(
        holdings.outside.iter().map(|(name, why)| (name.to_string(), *why)).collect::<Vec<_>>(),
        [("app.countries".to_owned(), Outside::Nobodys)]
    );
    for (id, rows) in [("acme", 3), ("bolt", 2)] {
        let counts = seen.snapshot(id, async |_, snapshot, _| snapshot.count().await.unwrap());
        for (name, count) in counts {
            if ["orders", "lines", "notes"].contains(&name.name.as_str()) {
                assert_eq!(count, rows, "{id} {name}");
            }
        }
    }
}

#[test]
fn a_snapshot_stays_at_its_moment_and_rows_go_from_one_session_into_another() {
    let world = World::new();
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.seed(Model::Schema, "acme", 500);
    world.sql("CREATE SCHEMA copies AUTHORIZATION platform; CREATE TABLE copies.events (LIKE tenant_acme.events); \
               ALTER TABLE copies.events OWNER TO platform");
    let seen = Seen::of(&world);
    let servers = Arc::clone(&seen.servers);
    let (sent, taken) = seen.snapshot("acme", async |_, snapshot, tenant| {
        let (name, table) = snapshot
            .holdings()
            .tables
            .iter()
            .find(|(name, _)| name.name.as_str() == "events")
            .unwrap();
        // A session of the test's blocks, and so has a thread of its own.
        std::thread::scope(|scope| {
            scope.spawn(|| world.sql("DELETE FROM tenant_acme.events"));
        });
        let columns: Vec<Ident> = table.written().map(|column| column.name.clone()).collect();
        let mut rows =
            snapshot.rows(name, table, &columns, Shape::Rows, Tally::default()).await.unwrap();
        let placement = &tenant.placement;
        let other = servers.dedicated(&placement.cluster, Some(&placement.database)).await.unwrap();
        let statement =
            sql!("COPY {}.{} FROM STDIN", "copies".parse::<Ident>().unwrap(), name.name);
        let mut filling = Filling::begin(&other, &statement, "copy".to_owned()).await.unwrap();
        while let Some(piece) = rows.next().await.unwrap() {
            filling.put(piece).await.unwrap();
        }
        (rows.so_far(), filling.end().await.unwrap())
    });
    assert_eq!((sent.rows, taken), (500, 500));
    assert_eq!(world.rows("SELECT count(*) FROM copies.events"), [["500"]]);
}
