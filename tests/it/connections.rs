//! Connections through the whole tool: TLS, client certificates, the environment, several hosts,
//! the budget; and what must never be shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use crate::harness::{Authority, OPERATOR_PASSWORD, Outcome, World, on_every_version};

/// A port of the loopback where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

#[track_caller]
fn says(outcome: &Outcome, parts: &[&str]) {
    for part in parts {
        assert!(outcome.stderr().contains(part), "{part:?} is missing\n{}", outcome.transcript());
    }
    assert!(!outcome.transcript().contains(OPERATOR_PASSWORD), "{}", outcome.transcript());
}

#[test]
fn everything_works_over_tls_that_is_verified_to_the_full() {
    let world = World::tls();
    let url = format!("{}&channel_binding=require", world.tls_url("verify-full"));
    world.file("tenants.toml", &format!("[clusters.main]\nurl = \"{url}\"\nregion = \"eu\"\n"));
    let run =
        |arguments: &[&str]| world.tenantctl(arguments).env("PGPASSWORD", OPERATOR_PASSWORD).run();
    for (tenant, model) in [("one", "shared"), ("two", "schema"), ("three", "database")] {
        run(&["create", tenant, "--isolation", model]).ok();
    }
    let listed = run(&["list", "-o", "json"]).ok().json();
    assert_eq!(listed["tenants"].as_array().unwrap().len(), 3);
    for tenant in listed["tenants"].as_array().unwrap() {
        assert_eq!(tenant["version"], 7, "{listed:#}");
    }
    run(&["doctor"]).ok();
    run(&["show", "three"]).ok();
    run(&["migrate", "status"]).ok();
}

#[test]
fn a_connection_that_is_not_what_was_asked_for_is_refused_in_plain_words() {
    let world = World::tls();
    let stranger = Authority::new("tenantctl tests");
    let wrong = world.file("wrong.crt", &stranger.pem());
    let port = world.server().port();
    let by = |host: &str, rest: &str| format!("postgres://platform@{host}:{port}/app?{rest}");
    let ca = world.authority_file();
    let wrong_ca = format!("sslmode=verify-full&sslrootcert={}", wrong.display());
    let right_ca = format!("sslmode=verify-full&sslrootcert={}", ca.display());
    for (url, password, code, parts) in [
        (
            by("127.0.0.1", &wrong_ca),
            OPERATOR_PASSWORD,
            6,
            vec![
                "error[auth-failed]",
                "certificate verify failed",
                "not signed by an authority in sslrootcert",
            ],
        ),
        (
            by("127.0.0.1", "sslmode=disable"),
            OPERATOR_PASSWORD,
            6,
            vec!["no encryption", "sslmode"],
        ),
        (
            by("127.0.0.1", &right_ca),
            "mistaken",
            6,
            vec!["error[auth-failed]", "password authentication failed", "28P01"],
        ),
        (
            by(
                "127.0.0.1",
                &format!(
                    "{right_ca}&ssl_max_protocol_version=TLSv1.2&ssl_min_protocol_version=TLSv1.3"
                ),
            ),
            OPERATOR_PASSWORD,
            1,
            vec!["ssl_max_protocol_version", "lower than the minimum, TLSv1.3"],
        ),
        (
            by("127.0.0.1", &format!("{right_ca}&sslrotcert=x")),
            OPERATOR_PASSWORD,
            1,
            vec!["unknown parameter \"sslrotcert\"", "sslrootcert"],
        ),
        (
            by("127.0.0.1", "sslmode=very-full"),
            OPERATOR_PASSWORD,
            1,
            vec!["very-full", "verify-full"],
        ),
    ] {
        for command in [&["create", "acme"][..], &["list"]] {
            let refused = world
                .tenantctl(command)
                .env("DATABASE_URL", &url)
                .env("PGPASSWORD", password)
                .run()
                .code(code);
            says(&refused, &parts);
            assert_eq!(refused.stdout(), "", "{}", refused.transcript());
        }
    }
    assert_eq!(world.rows("SELECT to_regnamespace('tenantctl')"), [["NULL"]]);
}

#[test]
fn the_oldest_tls_that_is_spoken_can_be_set() {
    let world = World::tls_with(|options| options.setting("ssl_max_protocol_version", "TLSv1.2"));
    let connect = |least: &str| {
        let url = format!("{}&ssl_min_protocol_version={least}", world.tls_url("verify-full"));
        world
            .tenantctl(["create", "acme"])
            .env("DATABASE_URL", url)
            .env("PGPASSWORD", OPERATOR_PASSWORD)
            .run()
    };
    says(&connect("TLSv1.3").code(6), &["TLS"]);
    connect("TLSv1.2").ok();
    let modern = World::tls_with(|options| options.setting("ssl_min_protocol_version", "TLSv1.3"));
    let url = format!("{}&ssl_min_protocol_version=TLSv1.3", modern.tls_url("verify-full"));
    modern
        .tenantctl(["create", "acme"])
        .env("DATABASE_URL", url)
        .env("PGPASSWORD", OPERATOR_PASSWORD)
        .run()
        .ok();
}

#[test]
fn a_client_certificate_is_enough() {
    let world = World::tls_with(|options| options.hba("hostssl all all 127.0.0.1/32 cert"));
    let (certificate, key) =
        world.authority().client("platform").write(&world.work_dir(), "client");
    let url = format!(
        "{}&sslcert={}&sslkey={}",
        world.tls_url("verify-full"),
        certificate.display(),
        key.display()
    );
    let create = || world.tenantctl(["create", "acme"]).env("DATABASE_URL", &url).run();
    create().ok();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    says(&create().code(1), &["its group or the world has access", "chmod 0600"]);
    let without = world.tenantctl(["list"]).env("DATABASE_URL", world.tls_url("verify-full")).run();
    says(&without.code(6), &["certificate"]);
    world.authority().expired_client("platform").write(&world.work_dir(), "client");
    says(&create().code(6), &["certificate"]);
}

#[test]
fn libpqs_environment_files_and_services_are_read() {
    let world = World::tls();
    let server = world.server();
    let (port, ca) = (server.port().to_string(), world.authority_file());
    world.run(["create", "acme"]).ok();
    let lists = |invocation: crate::harness::Invocation| {
        let outcome = invocation.run().ok();
        assert!(outcome.stdout().contains("acme"), "{}", outcome.transcript());
    };
    // PG* alone.
    lists(
        world
            .tenantctl(["list"])
            .without("DATABASE_URL")
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", &port)
            .env("PGUSER", "platform")
            .env("PGDATABASE", "app")
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &ca)
            .env("PGPASSWORD", OPERATOR_PASSWORD),
    );
    // A service, and a password file that only its owner reads.
    let services = world.file(
        "services.conf",
        &format!("[fleet]\nhost=127.0.0.1\nport={port}\ndbname=app\nuser=platform\nsslmode=verify-ca\nsslrootcert={}\n", ca.display()),
    );
    let passwords =
        world.file("passwords", &format!("127.0.0.1:{port}:*:platform:{OPERATOR_PASSWORD}\n"));
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    let by_service = || {
        world
            .tenantctl(["list"])
            .without("DATABASE_URL")
            .env("PGSERVICEFILE", &services)
            .env("PGSERVICE", "fleet")
            .env("PGPASSFILE", &passwords)
    };
    lists(by_service());
    lists(by_service().without("PGSERVICE").args(["--database-url", "service=fleet"]));
    // ~/.pgpass, with the name that libpq looks for.
    fs::rename(&passwords, world.home().join(".pgpass")).unwrap();
    lists(by_service().without("PGPASSFILE"));
    fs::set_permissions(world.home().join(".pgpass"), fs::Permissions::from_mode(0o644)).unwrap();
    says(&by_service().without("PGPASSFILE").run().code(6), &["password"]);
}

#[test]
fn the_next_host_is_tried_when_the_first_is_down() {
    let world = World::tls();
    let port = world.server().port();
    let ca = world.authority_file();
    let url = |hosts: &str| {
        format!("postgres://platform@{hosts}/app?sslmode=verify-full&sslrootcert={}", ca.display())
    };
    let create = |url: String, arguments: &[&str]| {
        world
            .tenantctl(["create", "acme"])
            .args(arguments)
            .env("DATABASE_URL", url)
            .env("PGPASSWORD", OPERATOR_PASSWORD)
            .run()
    };
    create(url(&format!("{NOBODY},127.0.0.1:{port}")), &[]).ok();
    let writable =
        format!("{}&target_session_attrs=read-write", url(&format!("{NOBODY},127.0.0.1:{port}")));
    create(writable, &[]).ok();
    let down = create(url(&format!("{NOBODY},localhost:2")), &[]).code(6);
    says(&down, &["error[unreachable]", "127.0.0.1", "localhost", "refused"]);
    assert!(down.elapsed() < Duration::from_secs(20), "{:?}", down.elapsed());
}

#[test]
fn passwords_on_the_command_line_are_refused_and_never_repeated() {
    let world = World::tls();
    let port = world.server().port();
    for url in [
        format!("postgres://platform:{OPERATOR_PASSWORD}@127.0.0.1:{port}/app"),
        format!("postgres://platform@127.0.0.1:{port}/app?password={OPERATOR_PASSWORD}"),
        format!("host=127.0.0.1 port={port} user=platform password={OPERATOR_PASSWORD}"),
    ] {
        let refused = world.run(["list", "--database-url", &url]).code(64);
        // The command line itself repeats it; the streams do not.
        assert!(refused.stderr().contains("password"), "{}", refused.stderr());
        assert!(!refused.stderr().contains(OPERATOR_PASSWORD) && refused.stdout().is_empty());
    }
}

#[test]
fn a_password_is_never_shown_however_much_is_logged() {
    let world = World::tls();
    let ca = world.authority_file();
    let base = world.server().loopback_url("app", "platform").unwrap();
    let secret = base.replace("platform@", &format!("platform:{OPERATOR_PASSWORD}@"));
    let url = format!("{secret}?sslmode=verify-full&sslrootcert={}", ca.display());
    let wrong = url.replace(OPERATOR_PASSWORD, "another-secret");
    for arguments in [
        &["create", "acme", "-vv"][..],
        &["create", "acme", "-vvv", "--log-format", "json"],
        &["list", "-vvv"],
        &["doctor", "-vvv"],
        &["config", "show", "-vvv"],
        &["config", "show", "-o", "json"],
    ] {
        let outcome = world.tenantctl(arguments).env("DATABASE_URL", &url).run().ok();
        assert!(!outcome.transcript().contains(OPERATOR_PASSWORD), "{}", outcome.transcript());
        let outcome = world.tenantctl(arguments).env("DATABASE_URL", &wrong).run();
        assert!(!outcome.transcript().contains("another-secret"), "{}", outcome.transcript());
    }
    // In a file it stays in the file.
    world.file("tenants.toml", &format!("[clusters.main]\nurl = \"{url}\"\n"));
    let shown = world.tenantctl(["config", "show", "-o", "json"]).env("PGAPPNAME", "ci").run().ok();
    let parameters = &shown.json()["clusters"]["main"]["parameters"];
    for (parameter, value, from) in [
        ("password", "***", "tenants.toml"),
        ("user", "platform", "tenants.toml"),
        ("sslmode", "verify-full", "tenants.toml"),
        ("application_name", "ci", "PGAPPNAME"),
        ("channel_binding", "prefer", "default"),
    ] {
        let shown = &parameters[parameter];
        assert_eq!(shown["value"], value, "{parameter}: {shown}");
        assert!(shown["origin"].as_str().unwrap().contains(from), "{parameter}: {shown}");
    }
    let human = world.run(["config", "show"]).ok();
    let line = human.stdout().lines().find(|line| line.starts_with("password ")).unwrap();
    assert!(line.contains("***"), "{line}");
    // Not even in the message about a file that cannot be read.
    world.file("tenants.toml", &format!("[clusters.main]\nurl = \"{url}\nregion = 1\n"));
    says(&world.run(["list"]).code(1), &["tenants.toml:2"]);
}

#[test]
fn sessions_call_themselves_by_their_command() {
    let world = World::new();
    world.run(["create", "first"]).ok();
    let mut holder = world.session("app", "postgres");
    holder.sql("BEGIN; LOCK TABLE tenantctl.tenants IN ACCESS EXCLUSIVE MODE");
    for command in ["create", "list", "show"] {
        let arguments: &[&str] = if command == "list" { &["list"] } else { &[command, "first"] };
        let mut running = world.tenantctl(arguments).spawn();
        let mut watcher = world.session("app", "postgres");
        running.wait_until("it waits", || {
            watcher.rows(&format!(
                "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'tenantctl/{command}'"
            )) == [["platform"]]
        });
        drop(running);
    }
    // Whoever names the application keeps the name.
    let mut running = world.tenantctl(["list"]).env("PGAPPNAME", "nightly").spawn();
    let mut watcher = world.session("app", "postgres");
    running.wait_until("it waits", || {
        watcher.rows("SELECT 1 FROM pg_stat_activity WHERE application_name = 'nightly'") == [["1"]]
    });
}

#[test]
fn no_more_connections_are_opened_than_the_cluster_allows_us() {
    on_every_version(|world| {
        world.config("[isolation.shared]\nschema = \"rows\"\n");
        let file = world.path("tenants.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("region = \"eu\"", "region = \"eu\"\nmax_connections = 4"))
            .unwrap();
        // The server enforces what the tool promises: a fifth session would be refused.
        world.sql("ALTER ROLE platform CONNECTION LIMIT 4");
        for at in 0..6 {
            world.run(["create", &format!("t{at}"), "--isolation", "database"]).ok();
            // Sessions of a process that has ended are gone a moment later.
            thread::sleep(Duration::from_millis(30));
        }
        world.run(["create", "s", "--isolation", "schema"]).ok();
        thread::sleep(Duration::from_millis(30));
        world.run(["create", "r", "--isolation", "shared"]).ok();
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(50));
            let listed = world.run(["list", "-o", "json"]).ok().json();
            for tenant in listed["tenants"].as_array().unwrap() {
                assert_eq!(tenant["version"], 7, "{listed:#}");
            }
            thread::sleep(Duration::from_millis(50));
            world.run(["migrate", "status"]).ok();
        }
        let less = fs::read_to_string(&file)
            .unwrap()
            .replace("max_connections = 4", "max_connections = 3");
        fs::write(&file, less).unwrap();
        says(&world.run(["list"]).code(1), &["allows 3 connections: 4 is the least"]);
    });
}
