//! `migrate up` while the server refuses, ends, loses and runs out of things: what the ledger says
//! afterwards is what histories and catalogue hold.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet::{statuses, target};
use crate::harness::{OPERATOR, Outcome, Proxy, Session, World};
use crate::many::{Many, row, states};

/// Locks the notes of a tenant in a session that calls itself `report`.
fn holder(many: &Many, tenant: &str) -> Session {
    let mut holder = many.session("app", OPERATOR);
    holder.sql(&format!(
        "SET application_name = 'report'; BEGIN; SET LOCAL ROLE fleet_owner; \
         LOCK TABLE tenant_{tenant}.notes"
    ));
    holder
}

fn pid(session: &mut Session) -> String {
    session.rows("SELECT pg_backend_pid()").concat().concat()
}

#[test]
fn who_holds_a_lock_is_named_and_the_others_go_on() {
    let many = Many::migrated(3);
    many.step(2, "ALTER TABLE notes ADD COLUMN title text;");
    let mut holder = holder(&many, "t0002");
    let pid = pid(&mut holder);
    let up = many.up(&["--lock-timeout", "200ms"]).run().code(3);
    assert_eq!(statuses(&up), ["t0001 applied", "t0002 failed", "t0003 applied"]);
    let failed = target(&up, "t0002");
    assert_eq!((&failed["error"]["sqlstate"], &failed["attempts"]), (&"55P03".into(), &5.into()));
    let hints = failed["error"]["hints"].to_string();
    let ledger = many.lawful();
    let kept = row(&ledger, "t0002");
    let cause = kept["cause"].as_str().unwrap();
    for text in [hints.as_str(), cause] {
        for part in [format!("pid {pid} report"), "since 20".into(), "pg_backend_pid()".into()] {
            assert!(text.contains(&part), "{part}: {text}");
        }
    }
    assert!(hints.contains("it was tried 5 times"), "{hints}");
    assert_eq!((&kept["error"]["sqlstate"], &kept["attempts"]), (&"55P03".into(), &5.into()));
    assert_eq!(ledger["state"], "failed");
}

#[test]
fn a_lock_that_is_given_back_in_time_is_only_a_wait() {
    let many = Many::migrated(3);
    many.step(2, "ALTER TABLE notes ADD COLUMN title text;");
    let mut holder = holder(&many, "t0002");
    let mut running = many.up(&["--lock-timeout", "100ms"]).spawn();
    running.wait_until("a wait in the ledger", || {
        let query = "SELECT cause FROM tenantctl.run_targets WHERE state = 'waiting'";
        many.rows(query).concat().iter().any(|cause| cause.contains("lock timeout"))
    });
    holder.sql("ROLLBACK");
    let up = running.wait().ok();
    assert_eq!(statuses(&up), ["t0001 applied", "t0002 applied", "t0003 applied"]);
    let waited = target(&up, "t0002");
    assert!(waited["attempts"].as_u64().unwrap() > 1, "{waited}");
    let ledger = many.lawful();
    assert_eq!(row(&ledger, "t0002")["attempts"], waited["attempts"]);
    assert_eq!(row(&ledger, "t0001")["attempts"], 1);
}

#[test]
fn what_was_applied_before_a_wait_is_told_and_kept_as_well() {
    let many = Many::migrated(2);
    many.step(2, "");
    many.step(3, "ALTER TABLE notes ADD COLUMN title text;");
    let mut holder = holder(&many, "t0002");
    let mut running = many.up(&["--per-file", "--lock-timeout", "100ms"]).spawn();
    running.wait_until("a wait in the ledger", || {
        let query = "SELECT cause FROM tenantctl.run_targets WHERE state = 'waiting'";
        many.rows(query).concat().iter().any(|cause| cause.contains("lock timeout"))
    });
    holder.sql("ROLLBACK");
    let up = running.wait().ok();
    let waited = target(&up, "t0002");
    assert_eq!((&waited["from"], &waited["to"]), (&1.into(), &3.into()), "{waited}");
    assert_eq!(waited["applied"], json!([2, 3]));
    let ledger = many.lawful();
    assert_eq!(row(&ledger, "t0002")["applied"], json!([2, 3]));
}

#[test]
fn a_deadlock_is_tried_again() {
    let many = Many::migrated(2);
    many.step(2, "CREATE TABLE other ();");
    many.up(&[]).run().ok();
    many.step(
        3,
        "LOCK TABLE notes; SELECT pg_sleep(0.5) WHERE current_schema() = 'tenant_t0001'; LOCK TABLE other;",
    );
    let mut rival = many.session("app", "postgres");
    // Whoever looks first ends itself.
    rival.sql("SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE tenant_t0001.other");
    many.sql("ALTER ROLE platform SET deadlock_timeout = '100ms'");
    let mut running = many.up(&[]).spawn();
    running.wait_until("the first lock", || {
        let query = "SELECT FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted \
                     AND relation = 'tenant_t0001.notes'::regclass";
        !many.rows(query).is_empty()
    });
    rival.sql("LOCK TABLE tenant_t0001.notes; COMMIT");
    let up = running.wait().ok();
    let first = target(&up, "t0001");
    assert_eq!(first["attempts"], 2, "{first}");
    assert!(first["waited_for"].to_string().contains("deadlock"), "{first}");
    assert_eq!(row(&many.lawful(), "t0001")["attempts"], 2);
}

/// Each tenant's migration is refused with a code of its own, the first time only.
#[test]
fn what_passes_is_tried_again_and_nothing_else() {
    let codes = [
        ("55P03", true),
        ("40P01", true),
        ("40001", true),
        ("55006", true),
        ("23505", false),
        ("57014", false),
        ("53200", false),
        ("P0001", false),
        ("25006", false),
        ("XX000", false),
    ];
    let many = Many::migrated(codes.len());
    for (at, (code, _)) in codes.iter().enumerate() {
        let schema = format!("tenant_t{:04}", at + 1);
        many.sql(&format!(
            "CREATE SEQUENCE public.try_{schema}; GRANT USAGE ON SEQUENCE public.try_{schema} TO PUBLIC; \
             CREATE TABLE IF NOT EXISTS public.raised (schema text, code text); \
             GRANT SELECT ON public.raised TO PUBLIC; \
             INSERT INTO public.raised VALUES ('{schema}', '{code}')"
        ));
    }
    many.step(
        2,
        "DO $$ BEGIN IF nextval(('public.try_' || current_schema())::regclass) = 1 THEN \
           RAISE EXCEPTION USING MESSAGE = 'not now', \
             ERRCODE = (SELECT code FROM public.raised WHERE schema = current_schema()); \
         END IF; END $$;",
    );
    let up = many.up(&[]).run().code(3);
    let ledger = many.lawful();
    for (at, (code, passes)) in codes.iter().enumerate() {
        let id = format!("t{:04}", at + 1);
        let (told, kept) = (target(&up, &id), row(&ledger, &id));
        let tried = if *passes { 2 } else { 1 };
        assert_eq!(
            (&told["attempts"], &kept["attempts"]),
            (&tried.into(), &tried.into()),
            "{code}"
        );
        let status = if *passes { "applied" } else { "failed" };
        assert_eq!((&told["status"], &kept["status"]), (&status.into(), &status.into()), "{code}");
        let sqlstate = if *passes { Value::Null } else { Value::from(*code) };
        assert_eq!(kept["error"]["sqlstate"], sqlstate, "{code}");
    }
    // The second time they would succeed: that is the user's to say.
    many.up(&["--resume", "last"]).run().ok();
    let ledger = many.lawful();
    assert_eq!(ledger["state"], "done");
    assert_eq!(row(&ledger, "t0005")["attempts"], 2);
    assert_eq!(row(&ledger, "t0005")["error"], Value::Null);
}

#[test]
fn a_statement_that_takes_too_long_is_ended_once() {
    let many = Many::migrated(2);
    many.step(2, "SELECT pg_sleep(60) WHERE current_schema() = 'tenant_t0001';");
    let up = many.up(&["--statement-timeout", "300ms"]).run().code(3);
    assert_eq!(statuses(&up), ["t0001 failed", "t0002 applied"]);
    let kept = row(&many.lawful(), "t0001");
    assert_eq!((&kept["error"]["sqlstate"], &kept["attempts"]), (&"57014".into(), &1.into()));
}

#[test]
fn a_server_out_of_shared_memory_says_how_to_need_less() {
    let few = |options: tenantctl::pg::server::Options| {
        options.setting("max_locks_per_transaction", "10").setting("max_connections", "20")
    };
    let many = Many::on(World::with(few), 1).up_to_date();
    for version in 2..=5 {
        let tables: Vec<String> =
            (0..250).map(|at| format!("CREATE TABLE many_{version}_{at} ();")).collect();
        many.step(version, &tables.join("\n"));
    }
    let up = many.up(&["--jobs", "1"]).run().code(1);
    assert!(up.stdout().contains("targets"), "{}", up.transcript());
    let failed = target(&up, "t0001");
    assert_eq!(failed["error"]["sqlstate"], "53200", "{failed}");
    assert!(failed["error"]["hints"].to_string().contains("--per-file"), "{failed}");
    many.lawful();
    many.everybody_is_at(1);
    many.up(&["--jobs", "1", "--per-file", "--resume", "last"]).run().ok();
    many.lawful();
    many.everybody_is_at(5);
}

#[test]
fn a_session_that_is_killed_takes_its_own_tenant_with_it_alone() {
    let many = Many::migrated(4);
    many.step(2, "SELECT pg_sleep(60) WHERE current_schema() = 'tenant_t0002';");
    let mut running = many.up(&["--jobs", "1"]).spawn();
    running.wait_until("the migration", || !sleepers(&many).is_empty());
    for pid in sleepers(&many) {
        many.sql(&format!("SELECT pg_terminate_backend({pid})"));
    }
    let up = running.wait().code(3);
    assert_eq!(states(&up.json()), ["applied", "failed", "applied", "applied"]);
    let ledger = many.lawful();
    assert_eq!(states(&ledger), ["applied", "failed", "applied", "applied"]);
    assert_eq!(row(&ledger, "t0002")["error"]["sqlstate"], "57P01");
}

/// The sessions that sleep in a migration.
pub fn sleepers(many: &Many) -> Vec<String> {
    many.rows(
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tenantctl/%' \
         AND wait_event = 'PgSleep'",
    )
    .concat()
}

/// The fleet of `many` through a proxy that cuts a connection.
fn cut_off(many: &Many, args: &[&str]) -> Outcome {
    let proxy = Proxy::cutting(many, "CREATE TABLE v2");
    let toml = std::fs::read_to_string(many.path("tenants.toml")).unwrap();
    let through = toml.replace(&many.operator_url(), &proxy.operator_url(many));
    assert_ne!(toml, through);
    many.file("tenants.toml", &through);
    let outcome = many.up(args).run();
    many.file("tenants.toml", &toml);
    outcome
}

/// The server has the whole transaction, and commits it; its answer is lost.
#[test]
fn a_lost_answer_is_found_out_from_the_history() {
    for args in [&["--jobs", "1"][..], &["--jobs", "1", "--per-file"], &["--jobs", "2"]] {
        let many = Many::migrated(4);
        many.step(2, "");
        let up = cut_off(&many, args).ok();
        assert_eq!(states(&up.json()), ["applied"; 4], "{}", up.transcript());
        let ledger = many.lawful();
        assert_eq!(states(&ledger), ["applied"; 4]);
        assert_eq!(ledger["state"], "done");
        many.everybody_is_at(2);
    }
}

/// The server is still at work on it when the connection is lost: it ends when the server has ended.
#[test]
fn what_goes_on_behind_a_lost_connection_is_waited_for() {
    let many = Many::migrated(3);
    many.step(2, "SELECT pg_sleep(1) WHERE current_schema() = 'tenant_t0001';");
    let up = cut_off(&many, &["--jobs", "1"]).ok();
    assert_eq!(states(&up.json()), ["applied"; 3], "{}", up.transcript());
    many.lawful();
    many.everybody_is_at(2);
}

#[test]
fn a_server_that_gives_few_connections_is_worked_on_with_these() {
    let many = Many::migrated(20);
    many.step(2, "SELECT pg_sleep(0.02);");
    // One that reads and migrates, one for the ledger, and one more.
    many.sql("ALTER ROLE platform CONNECTION LIMIT 3");
    let up = many.up(&["--jobs", "8"]).run().ok();
    assert_eq!(states(&up.json()), ["applied"; 20]);
    many.lawful();
    many.everybody_is_at(2);
}

#[test]
fn histories_are_read_with_the_connections_that_there_are() {
    let many = Many::of(400).up_to_date();
    many.sql("ALTER ROLE platform CONNECTION LIMIT 2");
    let status = many.status(&["--check"]).run().ok();
    assert_eq!(status.json()["summary"]["failed"], 0, "{}", status.transcript());
}

/// One backend is killed as the kernel does when memory is short: the server ends all others, and
/// starts again.
#[test]
fn a_server_that_crashes_is_migrated_by_the_run_that_goes_on() {
    // What a server has answered it keeps, unless it was told that it need not.
    let keeping = World::with(|options| options.setting("synchronous_commit", "on"));
    let many = Many::on(keeping, 30).up_to_date();
    many.step(2, "SELECT pg_sleep(0.1);");
    let mut running = many.up(&["--jobs", "2"]).spawn();
    running.wait_until("the migrations", || {
        many.rows("SELECT FROM public.done").len() > 3 && !sleepers(&many).is_empty()
    });
    let victim = sleepers(&many).pop().unwrap();
    let killed = Command::new("kill").args(["-KILL", &victim]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let ended = running.wait();
    let code = ended.transcript();
    assert!(code.contains("exit 3") || code.contains("exit 6"), "{code}");
    wait_for(&many);
    many.catalogue_agrees();
    many.up(&["--resume", "last"]).run().ok();
    assert_eq!(many.lawful()["state"], "done");
    many.everybody_is_at(2);
}

/// Most transactions of a run commit without waiting for the disk, which is slow here. Whom the run
/// has called migrated, a crash does not take back.
#[test]
fn nobody_is_called_migrated_whom_a_crash_takes_back() {
    let slow = World::with(|options| {
        [("synchronous_commit", "on"), ("wal_writer_delay", "10s"), ("wal_buffers", "16MB")]
            .into_iter()
            .fold(options, |options, (name, value)| options.setting(name, value))
    });
    let many = Many::on(slow, 300).up_to_date();
    many.step(2, "SELECT pg_sleep(0.01);");
    let mut running =
        many.tenantctl(["migrate", "up", "--allow-lint", "--jobs", "2", "-o", "ndjson"]).spawn();
    running.wait_until("the migrations", || many.rows("SELECT FROM public.done").len() > 60);
    let victim = many
        .rows("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'tenantctl/%' LIMIT 1");
    let killed = Command::new("kill").args(["-KILL", &victim[0][0]]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let ended = running.wait();
    wait_for(&many);
    let histories = many.catalogue_agrees();
    let mut told = 0;
    for line in ended.stdout().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["event"] == "target" && event["status"] == "applied" {
            told += 1;
            let tenant = event["tenant"].as_str().unwrap();
            assert_eq!(histories[tenant], [1, 2], "{line}");
        }
    }
    assert!(told > 20, "{}", ended.transcript());
    many.up(&["--resume", "last"]).run().ok();
    assert_eq!(many.lawful()["state"], "done");
    many.everybody_is_at(2);
}

/// Until the server takes connections again.
fn wait_for(many: &Many) {
    for _ in 0..600 {
        let ready = Command::new(many.server().bin_dir().join("pg_isready"))
            .arg("-h")
            .arg(many.server().socket_dir())
            .arg("-p")
            .arg(many.server().port().to_string())
            .output();
        if ready.is_ok_and(|ready| ready.status.success()) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the server did not come back:\n{}", many.server().log());
}

/// A file system of one megabyte, which is taken away with its value.
struct Small(tempfile::TempDir);

impl Small {
    /// None where this process may not mount anything.
    fn mount(owner: u32) -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("tenantctl-full-").tempdir().unwrap();
        let options = format!("size=1m,uid={owner},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(directory))
    }
}

impl Small {
    fn grow(&self) {
        let remounted =
            Command::new("mount").args(["-o", "remount,size=32m"]).arg(self.0.path()).status();
        assert!(remounted.is_ok_and(|status| status.success()));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_fails_whom_it_hits_and_the_run_is_gone_on_with() {
    let many = Many::migrated(3);
    let owner = std::fs::metadata(many.server().socket_dir()).unwrap().uid();
    let Some(small) = Small::mount(owner) else {
        let missing = "warning: no full disk was tested: this process may not mount a file system";
        writeln!(std::io::stderr(), "{missing}").unwrap();
        return;
    };
    many.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", small.0.path().display()));
    many.sql("GRANT CREATE ON TABLESPACE small TO fleet_owner");
    // The second fills it.
    many.step(
        2,
        "CREATE TABLE big TABLESPACE small AS SELECT repeat('x', 1000) AS filler \
         FROM generate_series(1, CASE current_schema() WHEN 'tenant_t0002' THEN 5000 ELSE 10 END);",
    );
    let up = many.up(&["--jobs", "1"]).run().code(3);
    assert_eq!(states(&up.json()), ["applied", "failed", "applied"], "{}", up.transcript());
    let kept = row(&many.lawful(), "t0002");
    assert_eq!(kept["error"]["sqlstate"], "53100", "{kept}");
    assert_eq!(kept["applied"], json!([]));
    small.grow();
    many.up(&["--resume", "last"]).run().ok();
    assert_eq!(row(&many.lawful(), "t0002")["attempts"], 2);
}
