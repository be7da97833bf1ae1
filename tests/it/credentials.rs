//! Passwords: made by the client, written where the user says, shown once, and nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::harness::{Model, OPERATOR_PASSWORD, Proxy, World};

fn password(file: &Path, role: &str) -> String {
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    document["credentials"][role].as_str().unwrap().to_owned()
}

/// Logs in over TLS with SCRAM, through the tool's own connection: `doctor` says who it is.
fn logs_in(world: &World, database: &str, role: &str, password: &str) -> bool {
    let url = world.server().loopback_url(database, role).unwrap();
    let ca = world.authority_file();
    let outcome = world
        .tenantctl(["list"])
        .env(
            "DATABASE_URL",
            format!(
                "{url}?sslmode=verify-full&channel_binding=require&sslrootcert={}",
                ca.display()
            ),
        )
        .env("PGPASSWORD", password)
        .run();
    let transcript = outcome.transcript();
    assert!(!transcript.contains(password), "{transcript}");
    // The role may not read the registry; a wrong password never gets so far.
    !transcript.contains("exit 6")
}

#[test]
fn a_password_is_written_to_its_file_and_nowhere_else() {
    let world = World::tls_with(|options| {
        options.setting("log_statement", "all").setting("log_min_duration_statement", "0")
    });
    for (tenant, model, database) in
        [("acme", "schema", "app"), ("globex", "database", "tenant_globex")]
    {
        let name = format!("{tenant}.json");
        let outcome = world
            .tenantctl(["create", tenant, "--isolation", model, "--credentials-file", &name, "-vv"])
            .env("DATABASE_URL", world.tls_url("verify-full"))
            .env("PGPASSWORD", OPERATOR_PASSWORD)
            .run()
            .ok();
        let file = world.path(&name);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        let role = format!("app_tenant_{tenant}");
        let text = fs::read_to_string(&file).unwrap();
        let password = password(&file, &role);
        assert_eq!(
            text,
            format!(
                "{{\n  \"format\": 1,\n  \"tenant\": \"{tenant}\",\n  \"credentials\": {{\n    \"{role}\": \"{password}\"\n  }}\n}}\n"
            )
        );
        assert!(
            outcome.stdout().contains(&format!("password   written to {name} (0600)")),
            "{}",
            outcome.transcript()
        );
        for secret in [password.as_str(), OPERATOR_PASSWORD] {
            assert!(!outcome.transcript().contains(secret), "{}", outcome.transcript());
            assert!(!world.server().log().contains(secret));
        }
        assert!(logs_in(&world, database, &role, &password));
        assert!(!logs_in(&world, database, &role, "not it"));
        let leftovers: Vec<_> = fs::read_dir(world.work_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(leftovers.is_empty(), "{leftovers:?}");
    }
    // The server never saw more than a verifier.
    let log = world.server().log();
    assert!(log.contains("PASSWORD 'SCRAM-SHA-256$4096:"), "{log}");
    let stored = world.rows("SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%' AND rolname ~ 'tenant'");
    assert_eq!(stored, [["2"]]);
}

#[test]
fn json_shows_a_password_once_and_people_never_see_one() {
    let world = World::tls();
    let made = world.run(["create", "acme", "-o", "json"]).ok();
    let json = made.json();
    let credential = &json["credentials"][0];
    assert_eq!(credential["role"], "app_tenant_acme");
    let password = credential["password"].as_str().unwrap();
    assert_eq!(made.stdout().matches(password).count(), 1);
    assert!(!made.stderr().contains(password));
    assert!(logs_in(&world, "app", "app_tenant_acme", password));
    let again = world.run(["create", "acme", "-o", "json"]).ok();
    assert_eq!(again.json()["outcome"], "unchanged");
    assert_eq!(again.json()["credentials"], serde_json::json!([]));
    assert!(logs_in(&world, "app", "app_tenant_acme", password));

    let human = world.run(["create", "globex"]).ok();
    let note = "note: role app_tenant_globex logs in and has no password: --credentials-file FILE issues one";
    assert!(human.stdout().contains(note), "{}", human.transcript());
    assert_eq!(
        world.rows("SELECT rolpassword FROM pg_authid WHERE rolname = 'app_tenant_globex'"),
        [["NULL"]]
    );
}

#[test]
fn a_run_that_is_killed_loses_no_password() {
    let world = World::tls();
    let create = ["create", "acme", "--credentials-file", "acme.json"];
    world.run(["create", "first", "--credentials-file", "first.json"]).ok();
    let counting = Proxy::start(&world, None);
    world
        .tenantctl(["create", "second", "--credentials-file", "second.json"])
        .env("DATABASE_URL", counting.operator_url(&world))
        .run()
        .ok();
    let mut states = Vec::new();
    for at in [18, counting.requests() / 2, counting.requests() - 25, counting.requests() - 15] {
        let proxy = Proxy::start(&world, Some(at));
        let killed =
            world.tenantctl(create).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
        proxy.aim_at(killed.pid());
        killed.wait().signal(9);
        let kept = password(&world.path("acme.json"), "app_tenant_acme");
        let known =
            "SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'app_tenant_acme'";
        states.extend(world.rows(known).into_iter().flatten());
        let finished = world.run(create).ok();
        assert_eq!(password(&world.path("acme.json"), "app_tenant_acme"), kept);
        assert!(logs_in(&world, "app", "app_tenant_acme", &kept), "{}", finished.transcript());
        let again = world.run(create).ok();
        assert!(again.stdout().contains("no password was issued"), "{}", again.transcript());
        assert!(logs_in(&world, "app", "app_tenant_acme", &kept));
        world.sql("DROP SCHEMA IF EXISTS tenant_acme CASCADE");
        world.sql("DELETE FROM tenantctl.tenants WHERE id = 'acme'");
        for role in ["tenant_acme_owner", "app_tenant_acme"] {
            world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        }
        fs::remove_file(world.path("acme.json")).unwrap();
    }
    // Before the role was made, before it had the password, and after.
    assert!(
        states.len() < 4 && states.contains(&"f".into()) && states.contains(&"t".into()),
        "{states:?}"
    );
}

#[test]
fn a_run_that_is_killed_loses_no_password_of_a_role_that_others_will_share() {
    let world = World::tls();
    let create = ["create", "acme", "--isolation", "shared", "--credentials-file", "acme.json"];
    let start_over = || {
        world.sql("DROP SCHEMA app CASCADE; DELETE FROM tenantctl.tenants");
        for role in [Model::Shared.owner("acme"), Model::Shared.role("acme")] {
            world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        }
        fs::remove_file(world.path("acme.json")).unwrap();
    };
    world.run(create).ok();
    start_over();
    let counting = Proxy::start(&world, None);
    world.tenantctl(create).env("DATABASE_URL", counting.operator_url(&world)).run().ok();
    let requests = counting.requests();
    start_over();

    // From before the password is set until the tenant is active and looked at once more.
    let mut left = BTreeSet::new();
    for at in requests.saturating_sub(40)..requests {
        let proxy = Proxy::start(&world, Some(at));
        let killed =
            world.tenantctl(create).env("DATABASE_URL", proxy.operator_url(&world)).spawn();
        proxy.aim_at(killed.pid());
        killed.wait().signal(9);
        left.extend(world.rows(
            "SELECT state, rolpassword IS NOT NULL FROM tenantctl.tenants, pg_authid WHERE rolname = 'app_rw'",
        ));
        let kept = password(&world.path("acme.json"), "app_rw");
        let finished = world.run(create).ok();
        assert_eq!(password(&world.path("acme.json"), "app_rw"), kept);
        assert!(logs_in(&world, "app", "app_rw", &kept), "{at}: {}", finished.transcript());
        start_over();
    }
    let moments = [["provisioning", "f"], ["provisioning", "t"], ["active", "t"]];
    let moments = moments.map(|moment| moment.map(str::to_owned).to_vec());
    assert_eq!(left, BTreeSet::from(moments));
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let world = World::new();
    world.run(["create", "first", "--credentials-file", "first.json"]).ok();
    world.file("notes.txt", "do not lose me");
    for file in ["notes.txt", "first.json"] {
        let before = fs::read_to_string(world.path(file)).unwrap();
        let refused = world.run(["create", "acme", "--credentials-file", file]).code(4);
        let says = format!("{file} is there already, and holds no credentials of tenant acme");
        assert!(refused.stderr().contains(&says), "{}", refused.transcript());
        assert_eq!(fs::read_to_string(world.path(file)).unwrap(), before);
    }
    // Neither is a place that cannot be written to; the tenant was not begun.
    let nowhere = world.run(["create", "acme", "--credentials-file", "no/such/place.json"]).code(1);
    assert!(
        nowhere.stderr().contains("error[io]: write no/such/place.json"),
        "{}",
        nowhere.transcript()
    );
    assert_eq!(world.rows("SELECT id FROM tenantctl.tenants"), [["first"]]);
    world.run(["create", "acme", "--credentials-file", "acme.json"]).ok();
    assert_eq!(fs::metadata(world.path("acme.json")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn every_role_that_logs_in_gets_its_own_password() {
    let world = World::tls();
    world.config("[isolation.schema]\nrole = [\"app_{tenant}\", \"worker_{tenant}\"]\n");
    world.run(["create", "acme", "--credentials-file", "acme.json"]).ok();
    let (app, worker) = (
        password(&world.path("acme.json"), "app_acme"),
        password(&world.path("acme.json"), "worker_acme"),
    );
    assert_ne!(app, worker);
    assert!(logs_in(&world, "app", "app_acme", &app));
    assert!(logs_in(&world, "app", "worker_acme", &worker));
    let json = world.run(["create", "globex", "-o", "json"]).ok().json();
    assert_eq!(json["credentials"].as_array().unwrap().len(), 2, "{json:#}");
}

#[test]
fn a_role_that_a_pool_becomes_gets_no_password() {
    let world = World::new();
    world.config("[isolation.schema]\nlogin_role = \"pool\"\n");
    let made = world.run(["create", "acme", "--credentials-file", "acme.json"]).ok();
    assert!(made.stdout().contains("no password was issued"), "{}", made.transcript());
    assert!(!world.path("acme.json").exists());
    let json = world.run(["create", "globex", "-o", "json"]).ok().json();
    assert_eq!(json["credentials"], serde_json::json!([]));
}

#[test]
fn of_two_that_share_a_role_one_gives_it_a_password() {
    let world = World::tls();
    for round in 0..3 {
        let schema = format!("shared_{round}");
        world.config(&format!(
            "[isolation.shared]\nschema = \"{schema}\"\nrole = \"{schema}_rw\"\n"
        ));
        let running: Vec<_> = (0..4)
            .map(|at| {
                let (id, file) = (format!("t{round}-{at}"), format!("t{round}-{at}.json"));
                let file = if at % 2 == 0 {
                    vec!["--credentials-file", &file]
                } else {
                    vec!["-o", "json"]
                };
                world
                    .tenantctl(["create", &id, "--isolation", "shared"].iter().chain(&file))
                    .spawn()
            })
            .collect();
        let answers: Vec<_> = running.into_iter().map(|one| one.wait().ok()).collect();
        let role = format!("{schema}_rw");
        let mut passwords = Vec::new();
        for (at, answer) in answers.iter().enumerate() {
            let file = world.path(&format!("t{round}-{at}.json"));
            if file.exists() {
                passwords.push(password(&file, &role));
            } else if at % 2 == 1 {
                let shown = answer.json()["credentials"].as_array().unwrap().clone();
                passwords
                    .extend(shown.iter().map(|one| one["password"].as_str().unwrap().to_owned()));
            }
        }
        assert_eq!(passwords.len(), 1);
        assert!(logs_in(&world, "app", &role, &passwords[0]));
    }
}
