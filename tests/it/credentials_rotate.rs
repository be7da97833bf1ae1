//! Passwords that are replaced while they are in use: both work for a while, then one.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tenantctl::pg::server::Options;

use crate::harness::{Model, Session, SqlFailure, World, on_every_version_with};

/// Everybody but the operator needs a password, on the socket too.
pub(crate) fn with_passwords(options: Options) -> Options {
    options.hba("local all postgres,platform trust").hba("local all all scram-sha-256")
}

/// What a document holds: login and password.
pub(crate) fn secret(world: &World, file: &str) -> (String, String) {
    let text = fs::read_to_string(world.path(file)).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let (login, password) = document["credentials"].as_object().unwrap().iter().next().unwrap();
    (login.clone(), password.as_str().unwrap().to_owned())
}

pub(crate) fn open(
    world: &World,
    database: &str,
    (login, password): &(String, String),
) -> Result<Session, SqlFailure> {
    Session::attempt_open(&format!("{}&password={password}", world.url(database, login)))
}

/// The tenants of a test, one of each model, and a second one beside the shared one.
const FLEET: [(&str, Model); 3] =
    [("acme", Model::Schema), ("globex", Model::Shared), ("initech", Model::Database)];

fn fleet(world: &World) {
    world.config(
        "[tiers.pro]\nconnection_limit = 7\nstatement_timeout = \"31s\"\n[isolation.shared]\nrole = \"app_{tenant}\"\n",
    );
    for (tenant, model) in FLEET {
        let file = format!("{tenant}.json");
        let create = ["create", tenant, "--isolation", model.word(), "--tier", "pro"];
        world.run(create.into_iter().chain(["--credentials-file", &file])).ok();
    }
}

fn role(tenant: &str) -> String {
    match tenant {
        "globex" => "app_globex".to_owned(),
        other => format!("app_tenant_{other}"),
    }
}

/// What a session finds that logs in with a password.
fn works(world: &World, tenant: &str, model: Model, secret: &(String, String)) {
    let mut session = open(world, &model.database(tenant), secret).unwrap();
    let rows = session.rows(
        "SELECT session_user, current_user, current_setting('statement_timeout'), \
                current_setting('search_path')",
    );
    let schema = if model == Model::Shared { "app" } else { &model.schema(tenant) };
    assert_eq!(rows[0][..3], [secret.0.clone(), role(tenant), "31s".to_owned()]);
    assert_eq!(rows[0][3], schema);
    session.rows(&format!("SELECT count(*) FROM {schema}.documents"));
    // What a pool does between two users changes nothing.
    session.sql("DISCARD ALL");
    assert_eq!(session.rows("SELECT current_user"), [[role(tenant)]]);
    session.rows(&format!("SELECT count(*) FROM {schema}.documents"));
}

#[test]
fn the_old_and_the_new_password_work_until_the_grace_is_over() {
    on_every_version_with(with_passwords, |world| {
        fleet(&world);
        let old: Vec<_> = FLEET.map(|(tenant, _)| secret(&world, &format!("{tenant}.json"))).into();
        for ((tenant, model), old) in FLEET.iter().zip(&old) {
            assert_eq!(old.0, role(tenant));
            works(&world, tenant, *model, old);
        }
        let rotate = ["credentials", "rotate", "--grace", "4s", "--to", "file:{tenant}.json"];
        let began = Instant::now();
        let answer = world.run(rotate.into_iter().chain(["-o", "json"])).ok().json();
        assert_eq!(answer["summary"]["done"], 3, "{answer:#}");
        let new: Vec<_> = FLEET.map(|(tenant, _)| secret(&world, &format!("{tenant}.json"))).into();
        for (((tenant, model), old), new) in FLEET.iter().zip(&old).zip(&new) {
            assert_eq!(new.0, format!("{}-b", role(tenant)));
            works(&world, tenant, *model, new);
            works(&world, tenant, *model, old);
        }
        assert!(began.elapsed() < Duration::from_secs(4), "too slow to be a test of the grace");
        world.run(["verify-rls", "--fail-on", "info"]).ok();
        // Again within the grace: nothing happens.
        let again = world.run(rotate.into_iter().chain(["-o", "json"])).ok().json();
        assert_eq!(again["summary"]["unchanged"], 3, "{again:#}");

        thread::sleep(Duration::from_secs(5).saturating_sub(began.elapsed()));
        for (((tenant, model), old), new) in FLEET.iter().zip(&old).zip(&new) {
            let refused = open(&world, &model.database(tenant), old).err().unwrap();
            assert_eq!(refused.sqlstate, "28P01", "{}", refused.message);
            works(&world, tenant, *model, new);
        }

        // A leak: the old one ends at once, and so do its sessions.
        let mut held = open(&world, "app", &new[0]).unwrap();
        let leaked = world
            .run([
                "credentials",
                "rotate",
                "acme",
                "--now",
                "--end-sessions",
                "--yes",
                "--to",
                "file:acme.json",
            ])
            .ok();
        assert!(leaked.stdout().contains("1 session ended"), "{}", leaked.transcript());
        assert!(held.attempt("SELECT 1").is_err());
        assert_eq!(open(&world, "app", &new[0]).err().unwrap().sqlstate, "28P01");
        let newest = secret(&world, "acme.json");
        assert_eq!(newest.0, "app_tenant_acme");
        works(&world, "acme", Model::Schema, &newest);
        world.run(["verify-rls", "--fail-on", "info"]).ok();

        world.run(["credentials", "revoke", "initech", "--yes"]).ok();
        assert!(open(&world, "tenant_initech", &new[2]).is_err());
        let none = world.run(["credentials", "rotate", "initech", "--show"]).ok();
        assert!(none.stdout().contains("no password to be replaced"), "{}", none.transcript());
        world.run(["credentials", "issue", "initech", "--to", "file:{tenant}.json"]).ok();
        works(&world, "initech", Model::Database, &secret(&world, "initech.json"));
    });
}

#[test]
fn a_pools_login_has_two_logins_that_become_every_tenant() {
    on_every_version_with(with_passwords, |world| {
        world.config(
            "[isolation.schema]\nlogin_role = \"pool\"\n[isolation.database]\nlogin_role = \"pool\"\n",
        );
        world.run(["create", "acme", "--isolation", "schema"]).ok();
        world.run(["create", "initech", "--isolation", "database"]).ok();
        let first = ["credentials", "issue", "--to", "file:{role}.json"];
        world.run(first).ok();
        let old = secret(&world, "pool.json");
        world.run(["credentials", "rotate", "--to", "file:{role}.json"]).ok();
        let new = secret(&world, "pool.json");
        assert_eq!((old.0.as_str(), new.0.as_str()), ("pool", "pool-b"));
        for login in [&old, &new] {
            let mut session = open(&world, "app", login).unwrap();
            assert!(session.attempt("SELECT FROM tenant_acme.documents").is_err());
            session.sql("SET ROLE app_tenant_acme; SELECT FROM tenant_acme.documents; RESET ROLE");
            assert!(session.attempt("SELECT FROM tenant_acme.documents").is_err());
            let mut session = open(&world, "tenant_initech", login).unwrap();
            session.sql("SET ROLE app_tenant_initech; SELECT FROM app.documents");
        }
        world.run(["verify-rls", "--fail-on", "info"]).ok();
        // One tenant's leak is everybody's here.
        let refused =
            world.run(["credentials", "rotate", "acme", "--now", "--yes", "--show"]).code(4);
        let says = "replace at once the password of pool: tenant initech, not selected";
        assert!(refused.stderr().contains(says), "{}", refused.transcript());
    });
}

#[test]
fn a_sink_that_fails_leaves_the_server_as_it_was() {
    let world = World::with(|options| with_passwords(options).setting("log_statement", "all"));
    world.run(["create", "acme", "--credentials-file", "acme.json"]).ok();
    world.run(["create", "globex", "--credentials-file", "globex.json"]).ok();
    let old = secret(&world, "acme.json");
    world.file("sink", "#!/bin/sh\ncat >&2\necho \"$TENANTCTL_TENANT\" >> told\nexit 3\n");
    let rotate = ["credentials", "rotate", "--to-command"];
    let failed = world.run(rotate.into_iter().chain(["sh sink", "--max-failures", "1"])).code(1);
    let text = failed.transcript();
    assert!(text.contains("deliver to the command \"sh sink\" (exit status: 3)"), "{text}");
    assert!(text.contains("\"***\""), "{text}");
    assert_eq!(
        world.rows(
            "SELECT rolname, rolpassword, rolvaliduntil FROM pg_authid WHERE rolname LIKE '%-b'"
        ),
        [["app_tenant_acme-b", "NULL", "NULL"], ["app_tenant_globex-b", "NULL", "NULL"]]
    );
    open(&world, "app", &old).unwrap();
    // A file of somebody else's is a sink that fails.
    world.file("notes.txt", "do not lose me");
    let foreign = ["credentials", "rotate", "acme", "--to", "file:notes.txt"];
    world.run(foreign).code(4).snapshot("credentials_foreign_file");
    // So is one that two would share.
    let shared = world.run(["credentials", "rotate", "--to", "file:all.json"]).code(64);
    assert!(shared.stderr().contains("would both go to all.json"), "{}", shared.transcript());
    world.run(["credentials", "rotate"]).code(64).snapshot("credentials_nowhere");

    world.file("sink", "cat > \"$TENANTCTL_TENANT.yaml\"\n");
    let k8s = ["sh sink", "--format", "k8s", "--namespace", "shop", "-o", "json"];
    let done = world.run(rotate.into_iter().chain(k8s)).ok();
    assert_eq!(done.json()["summary"]["done"], 2);
    let manifest = fs::read_to_string(world.path("globex.yaml")).unwrap();
    let password = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("PGPASSWORD: \""))
        .unwrap()
        .trim_end_matches('"');
    let new = ("app_tenant_globex-b".to_owned(), password.to_owned());
    open(&world, "app", &new).unwrap();
    for hidden in [password, &old.1] {
        assert!(!done.transcript().contains(hidden));
        assert!(!world.server().log().contains(hidden));
    }
}

#[test]
fn only_what_is_old_is_rotated_and_doctor_says_what_is() {
    let world = World::new();
    for tenant in ["acme", "globex", "initech"] {
        world.run(["create", tenant, "--credentials-file", &format!("{tenant}.json")]).ok();
    }
    world.run(["create", "hooli"]).ok();
    let aged = |tenant: &str, days: u32| {
        world.sql(&format!(
            "UPDATE tenantctl.credentials SET issued_at = now() - interval '{days} days 1 hour' \
             WHERE role = 'app_tenant_{tenant}' AND state = 'current'"
        ));
    };
    aged("acme", 100);
    aged("globex", 30);
    aged("initech", 91);
    world.run(["credentials", "list"]).ok().snapshot("credentials_list");
    world.run(["credentials", "list", "--check", "-q"]).code(2);
    world.run(["credentials", "list", "globex", "--check", "-q"]).ok();
    let doctor = world.run(["doctor"]).ok();
    let says = "passwords: app_tenant_acme and 1 more: older than allowed";
    assert!(doctor.stdout().contains(says), "{}", doctor.transcript());

    let rotate = ["credentials", "rotate", "--max-age", "90d", "--to", "file:{tenant}.json"];
    world.run(rotate.into_iter().chain(["--dry-run"])).ok().snapshot("credentials_rotate_dry_run");
    let before = world.rows("SELECT count(*) FROM tenantctl.credentials WHERE login LIKE '%-b'");
    assert_eq!(before, [["0"]]);
    // One whose file cannot be written fails by itself; the others are done, and not done again.
    fs::remove_file(world.path("initech.json")).unwrap();
    fs::create_dir(world.path("initech.json")).unwrap();
    let partial = world.run(rotate.into_iter().chain(["-o", "json"])).code(3).json();
    // Of hooli nobody knows the age: it is as old as can be.
    let states = |answer: &Value| -> Vec<String> {
        let targets = answer["targets"].as_array().unwrap();
        targets.iter().map(|one| one["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&partial), ["rotated", "unchanged", "rotated", "failed"]);
    fs::remove_dir(world.path("initech.json")).unwrap();
    let rest = world.run(rotate.into_iter().chain(["-o", "json"])).ok().json();
    assert_eq!(states(&rest), ["unchanged", "unchanged", "unchanged", "rotated"]);
    let doctor = world.run(["doctor"]).ok();
    let says = "4 current passwords, none older than 90 days";
    assert!(doctor.stdout().contains(says), "{}", doctor.transcript());
    // What happened is kept, and no secret with it.
    let trail = world.rows("SELECT string_agg(detail::text, ' ') FROM tenantctl.events");
    for tenant in ["acme", "initech"] {
        let (_, password) = secret(&world, &format!("{tenant}.json"));
        assert!(!trail[0][0].contains(&password));
    }
}

#[test]
fn roles_that_are_somebody_elses_are_left_alone() {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    world.sql("CREATE ROLE \"app_tenant_acme-b\" LOGIN");
    let taken = world.run(["credentials", "rotate", "acme", "--show"]).code(4);
    let says = "role \"app_tenant_acme-b\" exists already, and is no login of app_tenant_acme";
    assert!(taken.stdout().contains(says), "{}", taken.transcript());
    world.sql("DROP ROLE \"app_tenant_acme-b\"");
    // Whoever is logged in knows a password that is not ours to replace.
    let _held = world.session("app", "app_tenant_acme");
    let used = world.run(["credentials", "issue", "acme", "--show"]).code(4);
    let says = "role app_tenant_acme has 1 session, so somebody knows a password of it";
    assert!(used.stdout().contains(says), "{}", used.transcript());
    let shown = world.run(["credentials", "rotate", "acme", "--show"]).ok();
    assert!(shown.stdout().contains("password of app_tenant_acme-b: "), "{}", shown.transcript());
    assert!(
        shown.stdout().contains("note: 1 session of app_tenant_acme is open"),
        "{}",
        shown.transcript()
    );
}
