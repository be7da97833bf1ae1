//! A tenant gets another name, with everything that is named after it, or keeps its own.

use std::collections::BTreeSet;

use crate::harness::{Model, Proxy, World, catalog, on_every_version};

const UUID: &str = "11111111-1111-1111-1111-111111111111";

fn make(world: &World, model: Model, id: &str) {
    world.run(["create", id, "--isolation", model.word(), "--uuid", UUID]).ok();
}

/// What stands on a server on which the tenant was called so from the beginning.
fn made_as(model: Model, id: &str) -> BTreeSet<String> {
    let world = World::new();
    make(&world, model, id);
    catalog(&world)
}

#[test]
fn a_renamed_tenant_is_as_if_it_had_always_been_called_so() {
    for model in Model::ALL {
        let expected = made_as(model, "acorn");
        let world = World::new();
        make(&world, model, "acme");
        world.seed(model, "acme", 3);
        let tags = |id: &str| {
            let table = format!("SELECT count(*) FROM {}.tags", model.schema(id));
            world.rows_in(&model.database(id), &table)
        };
        let before = tags("acme");
        let dry = world.run(["rename", "acme", "acorn", "--dry-run"]).ok();
        assert!(dry.stdout().contains("nothing is done"), "{}", dry.transcript());
        let done = world.run(["rename", "acme", "acorn"]).ok();
        assert!(done.stdout().starts_with("renamed tenant acme to acorn"), "{}", done.transcript());
        let found = catalog(&world);
        assert_eq!(
            found.difference(&expected).chain(expected.difference(&found)).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{model:?}"
        );
        assert_eq!(tags("acorn"), before, "{model:?}");
        let again = world.run(["create", "acorn"]).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        world.run(["migrate", "status", "--check"]).ok();
        // Killed behind the last step, it is done.
        world.run(["rename", "acme", "acorn"]).ok();
        // The old name is nobody else's, and may be taken again by whoever had it.
        let taken = world.run(["create", "acme", "--isolation", model.word()]).code(4);
        assert!(taken.stderr().contains("name-taken"), "{}", taken.transcript());
        // What was done under the old name is found under the new one.
        let log = world.run(["audit", "log", "--tenant", "acorn"]).ok();
        assert!(log.stdout().contains("create"), "{}", log.transcript());
        world.run(["suspend", "acorn"]).ok();
        world.run(["rename", "acorn", "acme"]).ok();
        world.run(["resume", "acme"]).ok();
        let again = world.run(["create", "acme"]).ok();
        assert!(again.stdout().starts_with("nothing to do"), "{}", again.transcript());
        world.run(["audit", "verify"]).ok();
    }
}

#[test]
fn a_name_that_somebody_has_is_refused_and_nothing_is_half_renamed() {
    on_every_version(|world| {
        make(&world, Model::Schema, "acme");
        world.run(["create", "globex"]).ok();
        world.run(["rename", "acme", "globex"]).code(4);
        world.run(["rename", "nobody", "acorn"]).code(1);
        world.sql("CREATE SCHEMA tenant_acorn");
        let before = catalog(&world);
        let taken = world.run(["rename", "acme", "acorn"]).code(4);
        assert!(taken.stderr().contains("there is schema tenant_acorn"), "{}", taken.transcript());
        assert_eq!(catalog(&world), before);
        world.sql("DROP SCHEMA tenant_acorn");
        world.run(["rename", "acme", "acorn"]).ok();
        let mut app = world.session("app", "app_tenant_acorn");
        app.sql("SELECT count(*) FROM tags");
    });
}

#[test]
fn renaming_a_database_survives_kills() {
    let expected = made_as(Model::Database, "acorn");
    let world = World::new();
    make(&world, Model::Database, "acme");
    let proxy = Proxy::start(&world, None);
    let there = ["rename", "acme", "acorn"];
    world.tenantctl(there).env("DATABASE_URL", proxy.operator_url(&world)).run().ok();
    let turns = proxy.turns();
    assert!(turns.len() > 4, "{turns:?}");
    for turn in turns {
        world.run(["rename", "acorn", "acme"]).ok();
        let proxy = Proxy::killing(&world, &turn);
        let victim = world.tenantctl(there).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
        proxy.aim_at(victim.pid());
        let killed = victim.wait().transcript();
        let second = world.run(there).transcript();
        assert!(killed.contains("signal: 9"), "{turn:?}:\n{killed}");
        assert!(second.contains("\nexit 0\n"), "behind {turn:?}:\n{killed}\n{second}");
        assert_eq!(catalog(&world), expected, "behind {turn:?}:\n{killed}\n{second}");
    }
}

#[test]
fn functions_that_go_on_naming_the_old_schema_are_told_before_and_after() {
    let world = World::new();
    make(&world, Model::Schema, "acme");
    world.run(["create", "globex"]).ok();
    world.sql(
        "SET ROLE tenant_acme_owner; \
         CREATE FUNCTION tenant_acme.by_text() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM tenant_acme.tags'; \
         CREATE FUNCTION tenant_acme.by_path() RETURNS int LANGUAGE sql SET search_path = tenant_acme AS 'SELECT 1'; \
         CREATE FUNCTION tenant_acme.other() RETURNS int LANGUAGE sql AS 'SELECT 1 AS tenant_acme_too'",
    );
    let told = |outcome: &crate::harness::Outcome| {
        for name in ["tenant_acme.by_text()", "tenant_acme.by_path()"] {
            let says = format!("note: function {name} names schema tenant_acme");
            assert!(outcome.stdout().contains(&says), "{}", outcome.transcript());
        }
        assert!(!outcome.stdout().contains("tenant_acme.other()"), "{}", outcome.transcript());
    };
    told(&world.run(["rename", "acme", "acorn", "--dry-run"]).ok());
    let done = world.run(["rename", "acme", "acorn"]).ok();
    told(&done);
    for name in ["schema     tenant_acme -> tenant_acorn", "app_tenant_acme -> app_tenant_acorn"] {
        assert!(done.stdout().contains(name), "{}", done.transcript());
    }
    // Nothing else is told, and nothing of anybody else's.
    world.sql("DROP FUNCTION tenant_acorn.by_text(), tenant_acorn.by_path()");
    let back = world.run(["rename", "acorn", "acme"]).ok();
    assert!(!back.stdout().contains("note:"), "{}", back.transcript());
}
