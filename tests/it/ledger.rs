//! The ledger of a run: written while it goes on, true after it was killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenantctl::config::conninfo::{self, Environment};
use tenantctl::error::Code;
use tenantctl::migrations::embedded;
use tenantctl::model::ident::Ident;
use tenantctl::model::migration::{MigrationSet, Version};
use tenantctl::model::run::{
    NewRun, Run, RunError, RunKind, RunReference, RunState, RunTarget, TargetState,
};
use tenantctl::model::tenant::{ClusterName, Placement, TenantId};
use tenantctl::pg::ledger::{self, Reconnect};
use tenantctl::pg::{Ledger, Servers, Session, registry};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::harness::{DATABASE, OPERATOR, Proxy, World, on_every_version};

/// What a process that runs migrations has of its own: dropped, it is as good as killed.
struct Process {
    runtime: Runtime,
    servers: Arc<Servers>,
}

impl Process {
    fn new(url: &str) -> Self {
        let source = conninfo::Source::Flag("--database-url".to_owned());
        let settings = conninfo::resolve(url, &source, &Environment::bare()).unwrap();
        let servers = Servers::new([(cluster(), settings, 4)], "migrate");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { runtime: runtime.unwrap(), servers: Arc::new(servers) }
    }

    fn of(world: &World) -> Self {
        Self::new(&world.operator_url())
    }

    fn block<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn session(&self) -> Session {
        self.block(self.servers.dedicated(&cluster(), None)).unwrap()
    }

    fn reconnect(&self) -> Reconnect {
        ledger::reconnect(&self.servers, &cluster(), &Ident::new(DATABASE).unwrap())
    }

    fn begin(&self, run: &NewRun, targets: &[RunTarget]) -> Ledger {
        let begun = Ledger::begin(self.session(), Some(self.reconnect()), run, targets);
        self.block(begun).unwrap()
    }
}

fn cluster() -> ClusterName {
    ClusterName::new("main").unwrap()
}

/// A server with a registry, and nothing in its ledger.
fn world() -> World {
    let world = World::new();
    world.run(["create", "acme"]).ok();
    world
}

fn id(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn up() -> NewRun {
    NewRun {
        id: Uuid::now_v7(),
        kind: RunKind::Up,
        asked: "--selector tier=pro".to_owned(),
        to: Some(Version(7)),
    }
}

fn pending(tenant: &str) -> RunTarget {
    RunTarget {
        tenant: id(tenant),
        placement: Placement {
            cluster: cluster(),
            database: Ident::new("app").unwrap(),
            schema: Ident::new(format!("tenant_{tenant}")).unwrap(),
        },
        from: Some(Version(5)),
        goal: Some(Version(7)),
        applied: Vec::new(),
        state: TargetState::Pending,
        cause: None,
        attempts: 0,
        took: Duration::ZERO,
        error: None,
    }
}

fn applied(tenant: &str) -> RunTarget {
    RunTarget {
        applied: vec![Version(6), Version(7)],
        state: TargetState::Applied,
        attempts: 1,
        took: Duration::from_millis(1234),
        ..pending(tenant)
    }
}

fn failed(tenant: &str) -> RunTarget {
    let error = RunError {
        code: "server".to_owned(),
        sqlstate: Some("42P01".to_owned()),
        message: "apply V6: relation \"nowhere\" does not exist".to_owned(),
        location: Some("V6__x.sql:3:1".to_owned()),
    };
    RunTarget { state: TargetState::Failed, error: Some(error), attempts: 3, ..pending(tenant) }
}

fn in_state(state: TargetState, tenant: &str) -> RunTarget {
    RunTarget { state, attempts: 1, ..pending(tenant) }
}

#[test]
fn what_is_noted_is_read_back() {
    on_every_version(|world| {
        world.run(["create", "acme"]).ok();
        let process = Process::of(&world);
        let run = up();
        let ledger = process.begin(&run, &["cat", "dog", "elk"].map(pending));
        let waiting = RunTarget {
            cause: Some("pid 17 (psql, active for 3 s): LOCK TABLE notes".to_owned()),
            ..in_state(TargetState::Waiting, "elk")
        };
        process.block(async {
            // Only the newest note of a tenant counts.
            ledger.note(in_state(TargetState::Running, "cat"));
            ledger.note(applied("cat"));
            ledger.note(failed("dog"));
            ledger.note(waiting.clone());
            ledger.flush().await.unwrap();
        });
        let reader = process.session();
        let read = process.block(ledger::targets(&reader, run.id)).unwrap();
        assert_eq!(read, [applied("cat"), failed("dog"), waiting]);

        let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
        assert_eq!((seen.run.id, seen.run.state), (run.id, RunState::Running));
        assert_eq!((seen.run.actor.as_str(), seen.run.to), (OPERATOR, Some(Version(7))));
        assert!(seen.process.is_some() && !seen.was_killed() && seen.run.finished.is_none());
        assert_eq!(
            seen.counts,
            BTreeMap::from([
                (TargetState::Waiting, 1),
                (TargetState::Applied, 1),
                (TargetState::Failed, 1)
            ])
        );
        process.block(ledger.close(RunState::Failed)).unwrap();
        let seen = process.block(ledger::runs(&reader, 10)).unwrap();
        let [seen] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((seen.run.state, seen.process), (RunState::Failed, None));
        assert!(!seen.was_killed() && seen.run.finished.is_some());
        assert_eq!(
            world.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
            [["0"]]
        );
    });
}

#[test]
fn a_run_is_found_by_the_beginning_of_its_id() {
    let world = world();
    let process = Process::of(&world);
    let reader = process.session();
    let find = |text: &str| process.block(ledger::find(&reader, &text.parse().unwrap()));
    assert_eq!(find("last").unwrap_err().code, Code::NotFound);
    let ids = ["0199a8f2-3c4d-7000-8000-000000000001", "0199a8f2-3c4d-7000-8000-000000000002"];
    for id in ids {
        let run = NewRun { id: id.parse().unwrap(), ..up() };
        process.block(process.begin(&run, &[]).close(RunState::Done)).unwrap();
    }
    assert_eq!(find("last").unwrap().run.id.to_string(), ids[1]);
    assert_eq!(find(ids[0]).unwrap().run.id.to_string(), ids[0]);
    let several = find("0199a8f2").unwrap_err();
    assert_eq!(several.code, Code::Usage);
    assert!(ids.iter().all(|id| several.hints[0].contains(id)), "{several:?}");
    assert_eq!(find("0199a8f3").unwrap_err().code, Code::NotFound);
}

#[test]
fn ten_thousand_tenants_are_written_down_at_once() {
    let world = world();
    let process = Process::of(&world);
    let targets: Vec<RunTarget> = (0..10_000).map(|at| pending(&format!("t{at:05}"))).collect();
    let started = Instant::now();
    let ledger = process.begin(&up(), &targets);
    let begun = started.elapsed();
    assert!(begun < Duration::from_secs(10), "{begun:?}");
    let started = Instant::now();
    process.block(async {
        for target in &targets {
            ledger.note(in_state(TargetState::Running, target.tenant.as_str()));
            ledger.note(applied(target.tenant.as_str()));
        }
        ledger.flush().await.unwrap();
    });
    let noted = started.elapsed();
    assert!(noted < Duration::from_secs(20), "{noted:?}");
    process.block(ledger.close(RunState::Done)).unwrap();
    let reader = process.session();
    let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
    assert_eq!(seen.counts, BTreeMap::from([(TargetState::Applied, 10_000)]));
    let ids: Vec<TenantId> = targets.iter().map(|target| target.tenant.clone()).collect();
    let started = Instant::now();
    assert!(process.block(ledger::last_failures(&reader, &ids)).unwrap().is_empty());
    let looked = started.elapsed();
    assert!(looked < Duration::from_secs(10), "{looked:?}");
    // Almost no change reached an index: new versions of rows found room on their page.
    let hot = "SELECT n_tup_upd >= 10000 AND n_tup_hot_upd > n_tup_upd * 0.6 \
               FROM pg_stat_user_tables WHERE relname = 'run_targets'";
    until(|| (world.rows(hot) == [["t"]]).then_some(()));
}

#[test]
fn a_run_whose_session_is_killed_goes_on_with_another() {
    let world = world();
    let process = Process::of(&world);
    let run = up();
    let ledger = process.begin(&run, &["cat", "dog"].map(pending));
    ledger.note(applied("cat"));
    process.block(ledger.flush()).unwrap();
    kill_sessions(&world);
    ledger.note(applied("dog"));
    process.block(ledger.flush()).unwrap();
    assert!(ledger.failed().is_none());
    // It lives, and says so again.
    let reader = process.session();
    let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
    assert!(seen.process.is_some(), "{seen:?}");
    kill_sessions(&world);
    process.block(ledger.close(RunState::Done)).unwrap();
    let reader = process.session();
    let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
    assert_eq!((seen.run.state, seen.count(TargetState::Applied)), (RunState::Done, 2));
}

#[test]
fn a_ledger_that_cannot_be_written_says_why_and_how_to_go_on() {
    let world = world();
    let process = Process::of(&world);
    let run = up();
    let targets = [pending("cat")];
    let begun = Ledger::begin(process.session(), None, &run, &targets);
    let ledger = process.block(begun).unwrap();
    kill_sessions(&world);
    ledger.note(applied("cat"));
    let lost = process.block(ledger.flush()).unwrap_err();
    assert_eq!(lost.code, Code::Unreachable);
    let resume = format!("tenantctl migrate up --resume {}", run.id);
    assert!(lost.hints.iter().any(|hint| hint.contains(&resume)), "{lost:?}");
    assert_eq!(ledger.failed().unwrap().code, Code::Unreachable);
    assert_eq!(process.block(ledger.close(RunState::Done)).unwrap_err().code, Code::Unreachable);

    // What the server refuses is no lost session: it is told at once, and never tried again.
    let run = up();
    let ledger = process.begin(&run, &[pending("cat")]);
    world.sql("REVOKE UPDATE ON tenantctl.run_targets FROM platform");
    ledger.note(applied("cat"));
    let refused = process.block(ledger.flush()).unwrap_err();
    assert_eq!(refused.code, Code::Permission, "{refused:?}");
    world.sql("GRANT UPDATE ON tenantctl.run_targets TO platform");
    ledger.note(applied("cat"));
    assert_eq!(process.block(ledger.close(RunState::Done)).unwrap_err().code, Code::Permission);
}

#[test]
fn a_killed_run_is_seen_as_killed_and_can_be_taken_up() {
    let world = world();
    let run = up();
    {
        let process = Process::of(&world);
        let ledger = process.begin(&run, &["cat", "dog", "elk"].map(pending));
        ledger.note(applied("cat"));
        ledger.note(in_state(TargetState::Running, "dog"));
        process.block(ledger.flush()).unwrap();
        // Nothing is closed: the process is gone with whatever it was about to write.
        process.runtime.shutdown_background();
        std::mem::forget(ledger);
    }
    let process = Process::of(&world);
    let reader = process.session();
    let seen = until(|| {
        let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
        seen.was_killed().then_some(seen)
    });
    assert_eq!(seen.left(), 2);

    let reopened = Ledger::reopen(process.session(), None, run.id);
    let (ledger, again, targets) = process.block(reopened).unwrap();
    assert_eq!((again.id, again.asked.as_str()), (run.id, "--selector tier=pro"));
    let states: Vec<TargetState> = targets.iter().map(|target| target.state).collect();
    assert_eq!(states, [TargetState::Applied, TargetState::Running, TargetState::Pending]);
    ledger.note(applied("dog"));
    ledger.note(applied("elk"));
    process.block(ledger.close(RunState::Done)).unwrap();
    let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
    assert_eq!((seen.run.state, seen.left()), (RunState::Done, 0));
}

/// Whenever a run is killed: what it had flushed is there, what is there was noted, and whoever takes
/// it up finds every tenant.
#[test]
fn a_run_that_is_killed_at_any_moment_says_nothing_that_was_not_noted() {
    let world = world();
    let tenants: Vec<String> = (0..300).map(|at| format!("t{at:03}")).collect();
    let targets: Vec<RunTarget> = tenants.iter().map(|tenant| pending(tenant)).collect();
    let run = up();
    for (round, moment) in [0, 3, 20, 45, 52, 60, 75, 90].into_iter().enumerate() {
        let process = Process::of(&world);
        let (ledger, flushed) = if round == 0 {
            (process.begin(&run, &targets), 0)
        } else {
            // The session of whoever was killed ends when the server notices.
            let (ledger, targets) = until(|| {
                let taken = process.block(Ledger::reopen(process.session(), None, run.id));
                taken.ok().map(|(ledger, _, targets)| (ledger, targets))
            });
            assert_eq!(targets.len(), tenants.len());
            for target in &targets {
                let noted = match target.state {
                    TargetState::Pending => pending(target.tenant.as_str()),
                    TargetState::Running => in_state(TargetState::Running, target.tenant.as_str()),
                    _ => applied(target.tenant.as_str()),
                };
                assert_eq!(*target, noted);
            }
            let done = targets.iter().filter(|target| target.state.is_done()).count();
            assert!(done >= (round - 1) * 30, "{done} in round {round}");
            (ledger, (round - 1) * 30)
        };
        for tenant in tenants.iter().take(flushed + 30) {
            ledger.note(applied(tenant));
        }
        if round > 0 {
            process.block(ledger.flush()).unwrap();
        }
        for tenant in tenants.iter().skip(flushed + 30) {
            ledger.note(in_state(TargetState::Running, tenant));
        }
        std::thread::sleep(Duration::from_millis(moment));
        process.runtime.shutdown_background();
        drop(ledger);
    }
}

#[test]
fn who_may_not_write_ledgers_is_told_what_to_grant() {
    let world = world();
    world.sql(
        "CREATE ROLE ci LOGIN; GRANT USAGE ON SCHEMA tenantctl TO ci; \
         GRANT SELECT ON tenantctl.runs TO ci",
    );
    let process = Process::new(&world.url(DATABASE, "ci"));
    let targets = [pending("cat")];
    let begin = || {
        let run = up();
        process.block(Ledger::begin(process.session(), None, &run, &targets)).map(|_| ())
    };
    let refused = begin().unwrap_err();
    assert_eq!(refused.code, Code::Permission);
    world.sql(refused.hints[0].split_once(": ").unwrap().1);
    begin().unwrap();
}

#[test]
fn events_are_noted_with_a_reason_and_kept() {
    let world = world();
    let process = Process::of(&world);
    let detail = serde_json::json!({"reason": "restored from a backup", "version": 7});
    let (session, acme) = (process.session(), id("acme"));
    process.block(registry::note_event(&session, &acme, "repair", detail)).unwrap();
    assert_eq!(
        world.rows(
            "SELECT tenant, event, actor, application, detail ->> 'reason', detail ->> 'version' \
             FROM tenantctl.events ORDER BY id DESC LIMIT 1"
        ),
        [["acme", "repair", OPERATOR, "tenantctl/migrate", "restored from a backup", "7"]]
    );
}

#[test]
fn a_run_that_goes_on_is_not_taken_up() {
    let world = world();
    let first = Process::of(&world);
    let run = up();
    let ledger = first.begin(&run, &[pending("cat")]);
    let holder = world.rows("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")[0][0].clone();
    let second = Process::of(&world);
    let reopen =
        || second.block(Ledger::reopen(second.session(), None, run.id)).map(|_| ()).unwrap_err();
    let refused = reopen();
    assert_eq!(refused.code, Code::LockBusy);
    assert!(
        refused.message.contains(&format!("going on in tenantctl/migrate, pid {holder}")),
        "{refused:?}"
    );
    // Where nobody may see what others do, the process is still named.
    world.sql("REVOKE SELECT ON pg_stat_activity FROM PUBLIC");
    let refused = reopen();
    assert!(refused.message.ends_with(&format!("going on in pid {holder}")), "{refused:?}");
    first.block(ledger.close(RunState::Stopped)).unwrap();
    let (ledger, ..) = second.block(Ledger::reopen(second.session(), None, run.id)).unwrap();
    second.block(ledger.close(RunState::Done)).unwrap();
    let nobody = second.block(Ledger::reopen(second.session(), None, Uuid::nil())).map(|_| ());
    assert_eq!(nobody.unwrap_err().code, Code::NotFound);
}

/// Whoever was away for so long that another took up the run, and ended it, adds nothing to it.
#[test]
fn a_run_that_another_process_ended_is_not_written_any_more() {
    let world = world();
    let process = Process::of(&world);
    let run = up();
    let ledger = process.begin(&run, &[pending("cat")]);
    kill_sessions(&world);
    let other = Process::of(&world);
    let (taken, ..) = other.block(Ledger::reopen(other.session(), None, run.id)).unwrap();
    taken.note(applied("cat"));
    other.block(taken.close(RunState::Done)).unwrap();
    ledger.note(failed("cat"));
    assert_eq!(process.block(ledger.close(RunState::Failed)).unwrap_err().code, Code::Refused);
    let reader = process.session();
    let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
    assert_eq!((seen.run.state, seen.count(TargetState::Applied)), (RunState::Done, 1));
}

/// Whoever forgets runs may have looked before somebody took one up.
#[test]
fn a_run_that_was_taken_up_meanwhile_is_not_forgotten() {
    let world = world();
    let process = Process::of(&world);
    let (first, second, third) = (up(), up(), up());
    for run in [&first, &second, &third] {
        process.block(process.begin(run, &[pending("cat")]).close(RunState::Stopped)).unwrap();
    }
    world.sql("UPDATE tenantctl.runs SET finished_at = finished_at - interval '1 day'");
    let session = process.session();
    let seen = process.block(ledger::runs(&session, 3)).unwrap();
    let seen: Vec<&Run> = seen.iter().map(|one| &one.run).collect();

    let resume = |run: &NewRun| {
        let resumed = Ledger::reopen(process.session(), Some(process.reconnect()), run.id);
        process.block(resumed).unwrap().0
    };
    let going_on = resume(&first);
    process.block(resume(&second).close(RunState::Done)).unwrap();
    let forgotten = process.block(ledger::forget(&session, &seen)).unwrap();
    assert_eq!(forgotten.into_iter().collect::<Vec<_>>(), [third.id]);
    process.block(async {
        going_on.note(applied("cat"));
        going_on.close(RunState::Done).await.unwrap();
    });
    assert_eq!(process.block(ledger::targets(&session, first.id)).unwrap(), [applied("cat")]);
    assert!(process.block(ledger::targets(&session, third.id)).unwrap().is_empty());
}

#[test]
fn the_last_failure_of_a_tenant_is_that_of_the_newest_run_that_tried_it() {
    let world = world();
    let process = Process::of(&world);
    let tenants = ["cat", "dog", "elk", "fox"];
    let done = |targets: &[RunTarget]| {
        let run = up();
        let ledger = process.begin(&run, targets);
        process.block(ledger.close(RunState::Failed)).unwrap();
        run.id
    };
    let older = done(&tenants.map(failed));
    // cat is well again; dog was not reached, elk failed once more, fox was not selected.
    let newer = done(&[applied("cat"), pending("dog"), failed("elk")]);
    let reader = process.session();
    let read = || process.block(ledger::last_failures(&reader, &tenants.map(id))).unwrap();
    let failures = read();
    let runs: Vec<(&str, Uuid)> =
        failures.iter().map(|(tenant, (run, _))| (tenant.as_str(), *run)).collect();
    assert_eq!(runs, [("dog", older), ("elk", newer), ("fox", older)]);
    assert_eq!(Some(&failures[&id("elk")].1), failed("elk").error.as_ref());

    // A resumed run makes up for a newer one.
    let (ledger, ..) = process.block(Ledger::reopen(process.session(), None, older)).unwrap();
    ledger.note(applied("elk"));
    process.block(ledger.close(RunState::Failed)).unwrap();
    assert_eq!(read().keys().map(TenantId::as_str).collect::<Vec<_>>(), ["dog", "fox"]);
}

#[test]
fn a_slow_line_loses_no_note_and_keeps_nobody_waiting() {
    let world = world();
    let proxy = Proxy::start(&world, None);
    let process = Process::new(&proxy.operator_url(&world));
    let run = up();
    let targets: Vec<RunTarget> = (0..2_000).map(|at| pending(&format!("t{at}"))).collect();
    let ledger = process.begin(&run, &targets);
    let before = proxy.requests();
    let noting = Instant::now();
    for target in &targets {
        ledger.note(applied(target.tenant.as_str()));
    }
    let noted = noting.elapsed();
    assert!(noted < Duration::from_millis(500), "{noted:?}");
    process.block(ledger.close(RunState::Done)).unwrap();
    // Batches, one for the run's end, one for its lock; the driver describes no statement.
    let messages = proxy.requests() - before;
    assert!(messages < 30, "{messages}");
    let reader = process.session();
    let seen = process.block(ledger::find(&reader, &RunReference::Last)).unwrap();
    assert_eq!(seen.count(TargetState::Applied), 2_000);
}

#[test]
fn an_older_registry_with_tenants_gets_its_ledger() {
    on_every_version(|world| {
        // As a tenantctl before ledgers left it.
        let process = Process::of(&world);
        let set = embedded::registry().unwrap();
        let older = MigrationSet::new("older", set.migrations()[..2].to_vec()).unwrap();
        process.block(registry::ensure(&process.session(), &older)).unwrap();
        world.sql(
            "INSERT INTO tenantctl.tenants \
               (id, uuid, key, isolation, cluster, database, schema, owner, roles, state) \
             VALUES ('acme', gen_random_uuid(), 'acme', 'schema', 'default', 'app', 'tenant_acme', \
                     'tenant_acme_owner', '{app_tenant_acme}', 'active')",
        );
        assert!(!process.block(ledger::exists(&process.session())).unwrap());
        world.run(["create", "globex"]).ok();
        assert!(process.block(ledger::exists(&process.session())).unwrap());
        assert_eq!(
            world.rows("SELECT id, state FROM tenantctl.tenants ORDER BY id"),
            [["acme", "active"], ["globex", "active"]]
        );
        let ledger = process.begin(&up(), &[pending("acme")]);
        process.block(ledger.close(RunState::Done)).unwrap();
    });
}

fn kill_sessions(world: &World) {
    world.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE application_name = 'tenantctl/migrate'",
    );
}

#[track_caller]
fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}
