//! `verify-rls` on a database at work: nobody notices, also when it is killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::design::families;
use super::stage::{Auditor, Stage};
use crate::harness::{OPERATOR, World};

/// How long the application works.
const WORK: Duration = Duration::from_secs(10);

/// What the application does besides what the family `fleet` has: every transaction writes a row and
/// counts it. A statement that waits for five seconds fails.
const TALLY: &str = "
    SET ROLE app_owner;
    CREATE TABLE app.tally (tenant_id uuid PRIMARY KEY, n bigint NOT NULL);
    ALTER TABLE app.tally ENABLE ROW LEVEL SECURITY;
    ALTER TABLE app.tally FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON app.tally USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
    GRANT SELECT, INSERT, UPDATE, DELETE ON app.tally TO app_rw;
    RESET ROLE;
    SET ROLE tenant_sea_owner;
    CREATE TABLE tenant_sea.tally (id int PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE tenant_sea.still (id int GENERATED ALWAYS AS IDENTITY, words text NOT NULL UNIQUE);
    GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_sea.tally, tenant_sea.still TO app_tenant_sea;
    RESET ROLE;
    INSERT INTO app.tally SELECT DISTINCT tenant_id, 0 FROM app.note;
    INSERT INTO tenant_sea.tally VALUES (1, 0);
    INSERT INTO tenant_sea.still (words) SELECT md5(i::text) FROM generate_series(1, 500) AS i;
    ALTER ROLE app_rw SET lock_timeout = '5s';
    ALTER ROLE app_tenant_sea SET lock_timeout = '5s';
";

const FIG: &str = "f1000000-0000-4000-8000-000000000001";
const FIR: &str = "f2000000-0000-4000-8000-000000000002";

/// One transaction of a tenant in shared tables.
fn shared(tenant: &str) -> String {
    format!(
        "BEGIN;\nSELECT set_config('app.tenant_id', '{tenant}', true);\n\
         INSERT INTO app.note (tenant_id, body) VALUES ('{tenant}', 'at work');\n\
         UPDATE app.tally SET n = n + 1;\nCOMMIT;\n"
    )
}

const SEA: &str = "BEGIN;\nINSERT INTO tenant_sea.note (body) VALUES ('at work');\n\
                   UPDATE tenant_sea.tally SET n = n + 1;\nCOMMIT;\n";

/// Whoever works, until the time is up: pgbench where the server has it, sessions otherwise.
enum Worker {
    Pgbench(Child),
    Session(thread::JoinHandle<Vec<String>>),
}

impl Worker {
    fn start(world: &World, user: &str, name: &str, script: &str) -> Self {
        let program = world.server().bin_dir().join("pgbench");
        if program.exists() {
            return Self::Pgbench(pgbench(world, &program, user, name, script));
        }
        let (mut session, script) = (world.session("app", user), script.to_owned());
        Self::Session(thread::spawn(move || {
            let end = Instant::now() + WORK;
            let mut failures = Vec::new();
            while Instant::now() < end {
                failures.extend(session.attempt(&script).err().map(|why| why.message));
                thread::sleep(Duration::from_millis(10));
            }
            failures
        }))
    }

    fn done(&mut self) -> bool {
        match self {
            Self::Pgbench(child) => child.try_wait().unwrap().is_some(),
            Self::Session(thread) => thread.is_finished(),
        }
    }

    /// What failed.
    fn failures(self) -> Vec<String> {
        match self {
            Self::Session(thread) => thread.join().unwrap(),
            Self::Pgbench(child) => {
                let output = child.wait_with_output().unwrap();
                let (said, complained) = (
                    String::from_utf8(output.stdout).unwrap(),
                    String::from_utf8(output.stderr).unwrap(),
                );
                let none_failed = said
                    .lines()
                    .find(|line| line.starts_with("number of failed transactions"))
                    .is_none_or(|line| line.contains(": 0 "));
                if output.status.success() && none_failed && !complained.contains("aborted") {
                    return Vec::new();
                }
                vec![said, complained]
            }
        }
    }
}

fn pgbench(world: &World, program: &Path, user: &str, name: &str, script: &str) -> Child {
    let file = world.file(&format!("{name}.sql"), script);
    let socket = world.server().socket_dir().display().to_string();
    let seconds = WORK.as_secs().to_string();
    Command::new(program)
        .args(["-n", "-c", "1", "-R", "60", "-T", &seconds, "-h", &socket, "-U", user])
        .args(["-p", &world.server().port().to_string()])
        .arg("-f")
        .arg(file)
        .arg("app")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Everything that an audit must leave as it was, apart from what the application writes.
fn state(world: &World) -> Vec<Vec<String>> {
    let mut all =
        world.rows_in("postgres", "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1");
    for row in all.clone() {
        let own = world.rows_in(
            &row[0],
            "SELECT 'relation', c.oid::text, relname, relowner::text || relacl::text || relrowsecurity || relforcerowsecurity
               FROM pg_class AS c WHERE c.oid >= 16384 AND relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
             UNION ALL SELECT 'function', oid::text, proname, proacl::text FROM pg_proc WHERE oid >= 16384
             UNION ALL SELECT 'schema', oid::text, nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
             UNION ALL SELECT 'policy', oid::text, polname, polqual::text FROM pg_policy
             UNION ALL SELECT 'trigger', oid::text, tgname, tgrelid::text FROM pg_trigger
             UNION ALL SELECT 'default', oid::text, defaclobjtype::text, defaclacl::text FROM pg_default_acl
             UNION ALL SELECT 'object', loid::text, pageno::text, md5(data) FROM pg_largeobject
             UNION ALL SELECT 'prepared', gid, owner, database FROM pg_prepared_xacts ORDER BY 1, 2, 3",
        );
        all.extend(own);
    }
    all.extend(world.rows_in(
        "postgres",
        "SELECT 'role', oid::text, rolname, concat(rolsuper, rolinherit, rolcreaterole, rolcanlogin, rolbypassrls, rolconfig::text)
           FROM pg_roles
         UNION ALL SELECT 'member', roleid::text, member::text, concat(admin_option, grantor) FROM pg_auth_members
         UNION ALL SELECT 'setting', setdatabase::text, setrole::text, setconfig::text FROM pg_db_role_setting
         UNION ALL SELECT 'slot', slot_name, slot_type, '' FROM pg_replication_slots
         UNION ALL SELECT 'file', sourcefile, name, setting FROM pg_file_settings ORDER BY 1, 2, 3, 4",
    ));
    all.extend(
        world.rows_in("app", "SELECT 'still', id::text, words FROM tenant_sea.still ORDER BY id"),
    );
    all.extend(world.rows_in(
        "app",
        "SELECT 'note', tenant_id::text, body FROM app.note WHERE body <> 'at work' ORDER BY 2",
    ));
    all.extend(
        world.rows_in("app", "SELECT 'note', body FROM tenant_sea.note WHERE body <> 'at work'"),
    );
    all.extend(
        world.rows_in("tenant_sky", "SELECT 'note', id::text, body FROM app.note ORDER BY id"),
    );
    all
}

/// A number that nobody chose.
fn chance() -> u64 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    u64::from(nanos / 1000)
}

/// Waits for the server to notice that a client is gone.
fn settle(world: &World) {
    let end = Instant::now() + Duration::from_secs(30);
    let others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
                  AND application_name NOT IN ('pgbench') AND pid <> pg_backend_pid() AND application_name <> ''";
    while world.rows_in("postgres", others) != [["0"]] {
        assert!(Instant::now() < end, "a session of a killed audit is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_database_at_work_does_not_notice_an_audit_nor_one_that_is_killed() {
    let families = families();
    let fleet = families.iter().find(|family| family.name == "fleet").unwrap();
    let mut stage = Stage::on(World::new());
    stage.build(fleet, &fleet.designs[0], Auditor::Operator).unwrap();
    let world = &stage.world;
    world.sql_in("app", TALLY);
    let configs = [OPERATOR, "postgres"].map(|user| {
        let url = world.url("app", user);
        let file = world.file(&format!("{user}.toml"), &fleet.config(&fleet.designs[0], &url));
        file.display().to_string()
    });
    let before = state(world);
    let audit = |config: &str| world.tenantctl(["verify-rls", "-q", "-c", config]);

    let mut workers = [
        Worker::start(world, "app_rw", "fig", &shared(FIG)),
        Worker::start(world, "app_rw", "fir", &shared(FIR)),
        Worker::start(world, "app_tenant_sea", "sea", SEA),
    ];
    let (mut whole, mut killed) = (0, 0);
    let mut working = true;
    while working {
        for config in &configs {
            let outcome = audit(config).run().ok();
            whole += 1;
            // Anywhere between its first byte and its last.
            let longest = u64::try_from(outcome.elapsed().as_millis()).unwrap().max(1);
            for _ in 0..3 {
                let mut running = audit(config).spawn();
                thread::sleep(Duration::from_millis(chance() % longest));
                running.kill();
                drop(running);
                killed += 1;
            }
        }
        settle(world);
        assert_eq!(state(world), before, "after {whole} audits and {killed} that were killed");
        working = !workers.iter_mut().any(Worker::done);
    }
    for worker in workers {
        let failures = worker.failures();
        assert!(failures.is_empty(), "{failures:#?}");
    }
    settle(world);
    assert_eq!(state(world), before, "after {whole} audits and {killed} that were killed");
    // What was counted is there, and nothing else.
    let counted = world.rows_in(
        "app",
        "SELECT t.n > 20 AND t.n = count(*) FROM app.tally AS t JOIN app.note AS n USING (tenant_id)
           WHERE n.body = 'at work' GROUP BY t.tenant_id, t.n
         UNION ALL SELECT max(t.n) > 20 AND max(t.n) = (SELECT count(*) FROM tenant_sea.note WHERE body = 'at work')
           FROM tenant_sea.tally AS t
         UNION ALL SELECT count(*) = 2 FROM app.tally",
    );
    assert_eq!(counted, [["t"], ["t"], ["t"], ["t"]]);
    assert!(whole >= 2 && killed >= 6);
}
