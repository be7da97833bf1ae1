//! The harness keeps its own promises.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::config::SslMode;

use crate::harness::{Authority, OPERATOR, OPERATOR_PASSWORD, Postgres, World, on_every_version};

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_worlds_do_not_meet() {
    let (one, two) = (World::new(), World::new());
    one.sql("CREATE ROLE app_tenant_acme");
    two.sql("CREATE ROLE app_tenant_acme");
    one.sql_in("postgres", "CREATE DATABASE tenant_acme");
    let databases = "SELECT count(*) FROM pg_database WHERE datname = 'tenant_acme'";
    assert_eq!(
        (one.rows(databases), two.rows(databases)),
        (vec![vec!["1".into()]], vec![vec!["0".into()]])
    );
}

#[test]
fn a_world_leaves_nothing_behind() {
    let world = World::new();
    let places = [world.server().socket_dir().to_path_buf(), world.work_dir(), world.home()];
    assert!(places.iter().all(|place| place.exists()));
    drop(world);
    assert!(places.iter().all(|place| !place.exists()));
}

#[test]
fn the_operator_can_do_what_a_managed_service_allows_and_no_more() {
    on_every_version(|world| {
        let mut operator = world.session("app", OPERATOR);
        operator
            .sql("CREATE ROLE somebody; CREATE SCHEMA tenant_acme; SET statement_timeout = '5s'");
        operator.sql("CREATE DATABASE tenant_acme");
        let refused = operator.attempt("SELECT pg_read_file('/etc/passwd')").unwrap_err();
        assert_eq!(refused.sqlstate, "42501");
        assert_eq!(
            operator.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"),
            [["f"]]
        );
        assert_eq!(operator.rows("SELECT NULL, 1"), [["NULL", "1"]]);
    });
}

#[test]
fn a_session_keeps_its_transaction() {
    let world = World::new();
    world.sql("CREATE TABLE t (i int)");
    let mut writer = world.session("app", "postgres");
    writer.sql("BEGIN; INSERT INTO t VALUES (1)");
    assert_eq!(world.rows("SELECT count(*) FROM t"), [["0"]]);
    writer.sql("COMMIT");
    assert_eq!(world.rows("SELECT count(*) FROM t"), [["1"]]);
}

#[test]
fn the_binary_runs_in_an_empty_directory_with_a_clean_environment() {
    let world = World::new();
    world.config("[isolation.schema]\nschema = \"tenant_{tenant}\"\n");
    let text = fs::read_to_string(world.path("tenants.toml")).unwrap();
    assert!(text.starts_with("[clusters.main]\nurl = \"postgres:///app?host="), "{text}");
    let outcome = world.run(["--version"]).ok();
    assert!(outcome.transcript().starts_with("$ tenantctl --version\nexit 0\n"));
}

#[test]
fn tls_is_the_only_way_in_from_the_network() {
    let world = World::tls();
    let stranger = Authority::new("tenantctl tests");
    let connect = |authority: &Authority, mode: SslMode| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut config: tokio_postgres::Config =
            world.server().loopback_url("app", OPERATOR).unwrap().parse().unwrap();
        config.password(OPERATOR_PASSWORD).ssl_mode(mode);
        let connector = native_tls::TlsConnector::builder()
            .disable_built_in_roots(true)
            .add_root_certificate(
                native_tls::Certificate::from_pem(authority.pem().as_bytes()).unwrap(),
            )
            .build()
            .unwrap();
        let connector = postgres_native_tls::MakeTlsConnector::new(connector);
        runtime.block_on(config.connect(connector)).map(|_| ())
    };
    connect(world.authority(), SslMode::Require).unwrap();
    assert!(connect(&stranger, SslMode::Require).is_err());
    let refused = connect(world.authority(), SslMode::Disable).unwrap_err();
    assert!(format!("{refused:?}").contains("no encryption"), "{refused:?}");
    assert!(world.tls_url("verify-full").contains("sslmode=verify-full&sslrootcert=/"));
}

#[test]
fn a_snapshot_holds_nothing_that_changes_from_run_to_run() {
    let world = World::tls();
    let text = format!(
        "{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
        world.path("tenants.toml").display(),
        world.operator_url(),
        world.tls_url("verify-full"),
        world.server().socket_dir().display(),
        format_args!("created tenant acme (main/app) in {} ms, pid {}", 240, world.server().pid()),
        r#"{"uuid": "8a6e0804-2bd0-4672-b79d-d97027f9071a", "elapsed_ms": 17, "at": "2031-01-02T03:04:05.678Z"}"#,
        "statement_timeout = 30s, version 3, 1205 rows",
    );
    world.snapshot("redactions", &text);
}

#[test]
fn a_second_cluster_is_one_line() {
    let (world, us) = (World::new(), Postgres::start());
    world.config(&us.cluster_toml("us-1", "us"));
    let text = fs::read_to_string(world.path("tenants.toml")).unwrap();
    assert!(text.contains("[clusters.us-1]"));
    assert_ne!(world.operator_url(), us.operator_url());
}

/// The child half of the next test.
#[test]
#[ignore = "run by a_killed_test_leaves_no_server_behind"]
fn victim() {
    let world = World::new();
    let report = std::env::var("VICTIM_REPORT").unwrap();
    let new = format!("{report}.new");
    fs::write(&new, world.server().socket_dir().to_string_lossy().as_bytes()).unwrap();
    fs::rename(new, report).unwrap();
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_killed_test_leaves_no_server_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let report = scratch.path().join("report");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "foundation::victim"])
        .env("VICTIM_REPORT", &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the victim's report", || report.exists());
    let directory = fs::read_to_string(&report).unwrap();
    let socket = Path::new(&directory).join(".s.PGSQL.5432");
    assert!(socket.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the directory's end", || !Path::new(&directory).exists());
}

/// Not a promise to be asserted on a busy machine; shown with `--no-capture`.
#[test]
fn worlds_start_fast() {
    World::new();
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let world = World::new();
        let started = start.elapsed();
        drop(world);
        times.push((started, start.elapsed().checked_sub(started).unwrap()));
    }
    #[allow(clippy::print_stdout, reason = "a measurement")]
    {
        println!("start, stop: {times:?}");
    }
    times.sort();
    assert!(times[0].0 < Duration::from_secs(5), "{times:?}");
}
