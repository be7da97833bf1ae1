//! `create` run again: nothing to do, another shape, `--if-not-exists`, `--dry-run`, interrupts.

use std::thread;
use std::time::Duration;

use crate::harness::{Model, Session, World, catalog};

/// What the server has written since it started: transactions that got an id, and WAL.
fn written(session: &mut Session) -> Vec<Vec<String>> {
    session.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())")
}

#[test]
fn a_second_create_writes_nothing() {
    let world = World::new();
    for (tenant, model) in
        [("one", Model::Shared), ("two", Model::Schema), ("three", Model::Database)]
    {
        let create = ["create", tenant, "--isolation", model.word()];
        world.run(create).ok();
        let mut session = world.session("app", "postgres");
        let before = written(&mut session);
        for arguments in [&create[..], &["create", tenant], &["create", tenant, "--if-not-exists"]]
        {
            let again = world.run(arguments).ok();
            let first = format!("nothing to do: tenant {tenant} is as it should be\n");
            assert!(again.stdout().starts_with(&first), "{}", again.transcript());
            assert_eq!(again.stderr(), "");
        }
        assert_eq!(written(&mut session), before, "{model:?}");
    }
}

#[test]
fn another_shape_is_refused_and_changes_nothing() {
    let world = World::new();
    world.config("[tiers.free]\nstatement_timeout = \"30s\"\n[tiers.pro]\n");
    world.run(["create", "acme", "--isolation", "schema", "--tier", "free"]).ok();
    let before = catalog(&world);
    for (arguments, says) in [
        (vec!["--isolation", "database"], "tenant acme exists already: isolation schema"),
        (vec!["--isolation", "shared"], "tenant acme exists already: isolation schema"),
        (
            vec!["--uuid", "33333333-3333-3333-3333-333333333333"],
            "tenant acme exists already with uuid ",
        ),
        (vec!["--tier", "pro"], "tenant acme exists already: tier free, not pro"),
        (vec!["--region", "eu"], "tenant acme exists already: region none, not eu"),
    ] {
        for dry in [&[][..], &["--dry-run"], &["--if-not-exists"]] {
            let outcome = world.run(["create", "acme"].iter().chain(&arguments).chain(dry)).code(4);
            assert!(outcome.stderr().contains(says), "{}", outcome.transcript());
            assert_eq!(outcome.stdout(), "");
        }
    }
    assert_eq!(catalog(&world), before);
}

#[test]
fn roles_that_were_renamed_afterwards_are_refused() {
    let world = World::new();
    world.config("");
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    let before = catalog(&world);
    for (layout, says) in [
        (
            "role = \"rw_{tenant}\"",
            "its roles are app_tenant_acme, and tenants.toml now names rw_acme",
        ),
        (
            "role = [\"app_tenant_{tenant}\", \"worker_{tenant}\"]",
            "its roles are app_tenant_acme, and tenants.toml now names app_tenant_acme, worker_acme",
        ),
    ] {
        world.config(&format!("[isolation.schema]\n{layout}\n"));
        for more in [&[][..], &["--dry-run"], &["--if-not-exists"]] {
            let refused = world.run(["create", "acme"].iter().chain(more)).code(4);
            assert!(refused.stderr().contains(says), "{}", refused.transcript());
        }
    }
    assert_eq!(catalog(&world), before);
}

#[test]
fn an_active_tenant_that_lost_its_place_is_not_made_anew() {
    let world = World::new();
    for (tenant, model) in
        [("one", Model::Shared), ("two", Model::Schema), ("three", Model::Database)]
    {
        world.run(["create", tenant, "--isolation", model.word()]).ok();
    }
    let mut session = world.session("app", "postgres");
    session.sql("DROP SCHEMA app, tenant_two CASCADE");
    session.sql("DROP DATABASE tenant_three");
    let before = catalog(&world);
    for (tenant, gone) in [
        ("one", "schema app in database app"),
        ("two", "schema tenant_two in database app"),
        ("three", "database tenant_three"),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let refused = world.run(["create", tenant].iter().chain(dry)).code(4);
            let says =
                format!("error[refused]: tenant {tenant} is active, and there is no {gone}\n");
            assert!(refused.stderr().contains(&says), "{}", refused.transcript());
            assert!(refused.stderr().contains("from a backup"), "{}", refused.transcript());
        }
    }
    assert_eq!(catalog(&world), before);
}

#[test]
fn if_not_exists_makes_a_tenant_that_does_not_exist_and_finishes_one_that_was_begun() {
    let world = World::new();
    let made = world.run(["create", "acme", "--if-not-exists"]).ok();
    assert!(made.stdout().starts_with("created tenant acme"), "{}", made.transcript());
    world.sql("UPDATE tenantctl.tenants SET state = 'provisioning'");
    let finished = world.run(["create", "acme", "--if-not-exists"]).ok();
    assert!(finished.stdout().starts_with("finished tenant acme"), "{}", finished.transcript());
    // It leaves what is there alone, even what is not as it should be.
    world.sql("ALTER ROLE app_tenant_acme IN DATABASE app RESET search_path");
    let left = world.run(["create", "acme", "--if-not-exists"]).ok();
    assert!(left.stdout().starts_with("nothing to do"), "{}", left.transcript());
    let repaired = world.run(["create", "acme"]).ok();
    assert!(
        repaired.stdout().starts_with("put right 1 thing of tenant acme"),
        "{}",
        repaired.transcript()
    );
}

#[test]
fn a_dry_run_changes_nothing_and_shows_everything() {
    let world = World::new();
    let before = catalog(&world);
    for model in Model::ALL {
        // A superuser's plan is the same on every version: it becomes nobody's member.
        let superuser = world.url("app", "postgres");
        let arguments = [
            "create",
            "acme",
            "--isolation",
            model.word(),
            "--dry-run",
            "--uuid",
            "11111111-1111-1111-1111-111111111111",
        ];
        let plan = world.tenantctl(arguments).env("DATABASE_URL", superuser).run();
        plan.ok().snapshot(&format!("create_dry_run_{}", model.word()));
        let json = world.run(arguments.iter().chain(&["-o", "json"])).ok().json();
        assert_eq!(json["format"], 1);
        assert_eq!(json["tenant"]["id"], "acme");
        assert!(json["hazards"].as_array().unwrap().contains(&"runs-migrations".into()), "{json}");
        assert!(json["steps"].as_array().unwrap().len() > 8, "{json}");
    }
    assert_eq!(catalog(&world), before);

    // With a registry and half a tenant, it is the rest that is shown.
    world.run(["create", "globex"]).ok();
    world.sql("ALTER ROLE app_tenant_globex IN DATABASE app RESET search_path");
    let before = catalog(&world);
    let rest = world.run(["create", "globex", "--dry-run"]).ok();
    assert!(rest.stdout().contains("1. set search_path = tenant_globex"), "{}", rest.transcript());
    assert!(rest.stdout().ends_with("1 step, hazards: none\n"), "{}", rest.transcript());
    assert_eq!(catalog(&world), before);
    world.run(["create", "globex"]).ok();
    let nothing = world.run(["create", "globex", "--dry-run"]).ok();
    assert!(nothing.stdout().starts_with("nothing to do"), "{}", nothing.transcript());
}

#[test]
fn an_interrupted_create_stops_between_two_steps_and_is_finished_by_the_next() {
    let world = World::new();
    let undisturbed = World::new();
    let create = ["create", "acme", "--uuid", "11111111-1111-1111-1111-111111111111"];
    undisturbed.run(create).ok();

    world.run(["create", "first"]).ok();
    // The step that makes the roles waits for this lock; the interrupt comes while it waits.
    let mut holder = world.session("app", "postgres");
    holder.sql("BEGIN; LOCK TABLE pg_authid IN EXCLUSIVE MODE");
    let mut running = world.tenantctl(create).spawn();
    let mut watcher = world.session("app", "postgres");
    running.wait_until("it waits for the lock", || {
        watcher
            .rows("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'pg_authid'::regclass")
            == [["1"]]
    });
    running.interrupt();
    while !running.stderr_so_far().contains("interrupt again to stop at once") {
        thread::sleep(Duration::from_millis(5));
    }
    holder.sql("COMMIT");
    let outcome = running.wait().code(130);
    assert!(
        outcome.stderr().contains("interrupted: finishing what was begun"),
        "{}",
        outcome.transcript()
    );
    assert!(outcome.stderr().contains("error[interrupted]"), "{}", outcome.transcript());
    assert!(outcome.stderr().contains("run it again"), "{}", outcome.transcript());
    // What was begun was finished: the roles are there, and nothing after them.
    assert_eq!(world.rows("SELECT count(*) FROM pg_roles WHERE rolname LIKE '%acme%'"), [["2"]]);
    assert_eq!(
        world.rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_acme'"),
        [["0"]]
    );

    let finished = world.run(create).ok();
    assert!(finished.stdout().starts_with("finished tenant acme"), "{}", finished.transcript());
    let (found, expected) = (catalog(&world), catalog(&undisturbed));
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn an_impatient_second_interrupt_ends_it_at_once() {
    let world = World::new();
    world.run(["create", "first"]).ok();
    let mut holder = world.session("app", "postgres");
    holder.sql("BEGIN; LOCK TABLE pg_authid IN EXCLUSIVE MODE");
    let mut running = world.tenantctl(["create", "acme"]).spawn();
    let mut watcher = world.session("app", "postgres");
    running.wait_until("it waits for the lock", || {
        watcher
            .rows("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'pg_authid'::regclass")
            == [["1"]]
    });
    running.interrupt();
    while !running.stderr_so_far().contains("interrupt again to stop at once") {
        thread::sleep(Duration::from_millis(5));
    }
    running.interrupt();
    let outcome = running.wait().code(130);
    assert!(outcome.elapsed() < Duration::from_secs(8), "{:?}", outcome.elapsed());
    holder.sql("COMMIT");
    world.run(["create", "acme"]).ok();
}
