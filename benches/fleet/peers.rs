//! The tools that do the same job: `scripts/bench-peers` installs them, `benches/peers` says more.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fleet::{FILES, File, Fleet, Kind, message, workload};
use crate::harness::{OPERATOR, World};
use crate::jobs::{Bench, one_batch};
use crate::limit;
use crate::table::{self, median};
use crate::tool;

/// Somebody who does every job once, and says how long each took per tenant.
type Contender<'a> = (String, Box<dyn Fn() -> [f64; 4] + 'a>);

/// What is done to the fleet, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Twelve migrations from nothing.
    All,
    /// One more.
    New,
    /// Nothing.
    Again,
    /// Looking.
    Status,
}

const JOBS: [Job; 4] = [Job::All, Job::New, Job::Again, Job::Status];

/// The thirteenth file of the workload.
const NEW: &str = "V13__priority";

/// A command line with its environment.
type Call = (PathBuf, Vec<String>, Vec<(String, String)>);

/// A tool beside tenantctl.
struct Peer {
    name: &'static str,
    /// The program, below the directory of tools.
    program: &'static str,
    /// A process for every tenant, or one for all.
    each: bool,
    call: fn(&Place<'_>, Job, usize) -> Option<Call>,
}

const PEERS: [Peer; 5] = [
    Peer { name: "refinery_cli", program: "bin/refinery", each: true, call: refinery },
    Peer { name: "sqlx-cli", program: "bin/sqlx", each: true, call: sqlx },
    Peer { name: "dbmate", program: "npm/node_modules/.bin/dbmate", each: true, call: dbmate },
    Peer { name: "alembic", program: "venv/bin/alembic", each: false, call: alembic },
    Peer { name: "django-tenants", program: "venv/bin/django-admin", each: false, call: django },
];

/// Where a peer works.
struct Place<'a> {
    world: &'a World,
    fleet: &'a Fleet<'a>,
    /// The directory of tools.
    tools: PathBuf,
    /// The files in every dialect.
    files: PathBuf,
}

impl Place<'_> {
    fn url(&self, user: &str) -> String {
        self.world.server().loopback_url(&self.fleet.name, user).unwrap()
    }

    /// The role of a tenant, whose search path is its schema.
    fn tenant_url(&self, tenant: usize) -> String {
        format!("{}?sslmode=disable", self.url(&role(tenant)))
    }

    /// The files up to which a job goes.
    fn upto(&self, dialect: &str, job: Job) -> String {
        let count = if job == Job::All { 12 } else { 13 };
        self.files.join(format!("{dialect}{count}")).to_string_lossy().into_owned()
    }

    fn program(&self, path: &str) -> PathBuf {
        self.tools.join(path)
    }
}

fn role(tenant: usize) -> String {
    format!("peer_{tenant:05}")
}

fn strings<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).to_vec()
}

fn refinery(place: &Place<'_>, job: Job, tenant: usize) -> Option<Call> {
    let args = strings(["migrate", "-e", "DATABASE_URL", "-p", &place.upto("refinery", job)]);
    let url = place.url(&role(tenant));
    (job != Job::Status)
        .then(|| (place.program("bin/refinery"), args, vec![("DATABASE_URL".to_owned(), url)]))
}

fn sqlx(place: &Place<'_>, job: Job, tenant: usize) -> Option<Call> {
    let verb = if job == Job::Status { "info" } else { "run" };
    let source = place.upto("sqlx", job);
    let url = place.tenant_url(tenant);
    let args = strings(["migrate", verb, "--source", &source, "--database-url", &url]);
    Some((place.program("bin/sqlx"), args, Vec::new()))
}

fn dbmate(place: &Place<'_>, job: Job, tenant: usize) -> Option<Call> {
    let verb = if job == Job::Status { "status" } else { "migrate" };
    let directory = place.upto("dbmate", job);
    let url = place.tenant_url(tenant);
    let args = strings(["--url", &url, "-d", &directory, "--no-dump-schema", verb]);
    // Not through npm's launcher, which would start node first.
    let native = "npm/node_modules/@dbmate/linux-x64/bin/dbmate";
    let native = place.program(native);
    let program =
        if native.exists() { native } else { place.program("npm/node_modules/.bin/dbmate") };
    Some((program, args, Vec::new()))
}

fn alembic(place: &Place<'_>, job: Job, _: usize) -> Option<Call> {
    let script = peers_directory().join("alembic/fleet.py").to_string_lossy().into_owned();
    let url = place.url(OPERATOR).replace("postgres://", "postgresql://");
    let url = url.replace("postgresql://", "postgresql+psycopg2://");
    let versions = place.upto("alembic", Job::New);
    let mut args = vec![script, url, versions];
    args.extend(match job {
        Job::All => strings(["upgrade", "v12"]),
        Job::New | Job::Again => strings(["upgrade", "head"]),
        Job::Status => strings(["current"]).into_iter().collect(),
    });
    Some((place.program("venv/bin/python"), args, Vec::new()))
}

fn django(place: &Place<'_>, job: Job, _: usize) -> Option<Call> {
    let mut args = strings(["-m", "django"]);
    args.extend(match job {
        Job::All => strings(["migrate_schemas", "--tenant", "crm", "0012"]),
        Job::New | Job::Again => strings(["migrate_schemas", "--tenant"]),
        Job::Status => strings(["all_tenants_command", "showmigrations"]),
    });
    let server = place.world.server();
    let path = format!(
        "{}:{}",
        peers_directory().join("django").display(),
        place.files.join("django").display()
    );
    let environment = [
        ("DJANGO_SETTINGS_MODULE", "settings".to_owned()),
        ("PYTHONPATH", path),
        ("PGHOST", "127.0.0.1".to_owned()),
        ("PGPORT", server.port().to_string()),
        ("PGDATABASE", place.fleet.name.clone()),
        ("PGUSER", OPERATOR.to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Some((place.program("venv/bin/python"), args, environment))
}

fn peers_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers")
}

/// Writes the thirteen files as every tool wants them.
fn write_files(into: &Path) {
    let put = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (at, stem) in FILES.iter().copied().chain([NEW]).enumerate() {
        let version = at + 1;
        let sql = fs::read_to_string(workload().join(format!("{stem}.sql"))).unwrap();
        let name = stem.split_once("__").unwrap().1;
        for count in [12, 13].into_iter().filter(|count| version <= *count) {
            let dialect = |name: &str| into.join(format!("{name}{count}"));
            put(dialect("refinery").join(format!("{stem}.sql")), &sql);
            put(dialect("sqlx").join(format!("{version:04}_{name}.sql")), &sql);
            let text = format!("-- migrate:up\n{sql}\n-- migrate:down\n");
            put(dialect("dbmate").join(format!("{version:04}_{name}.sql")), &text);
        }
        let before = if at == 0 { "None".to_owned() } else { format!("'v{at}'") };
        let text = format!(
            "from alembic import op\n\nrevision = 'v{version}'\ndown_revision = {before}\n\n\
             SQL = r'''{sql}'''\n\n\ndef upgrade():\n    \
             op.get_bind().exec_driver_sql(SQL)\n"
        );
        put(into.join("alembic13").join(format!("v{version}.py")), &text);
        let before = if at == 0 { String::new() } else { format!("('crm', '{at:04}')") };
        let text = format!(
            "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    \
             dependencies = [{before}]\n    \
             operations = [migrations.RunSQL(r'''{sql}''')]\n"
        );
        put(into.join(format!("django/crm/migrations/{version:04}.py")), &text);
    }
    put(into.join("django/crm/__init__.py"), "");
    put(into.join("django/crm/migrations/__init__.py"), "");
}

/// All tools over fleets of their own, one after the other.
pub fn race(bench: &Bench<'_>) {
    let tools = std::env::var_os("TENANTCTL_BENCH_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-tools"),
        PathBuf::from,
    );
    let files = bench.world.path("peer-files");
    write_files(&files);
    let columns = ["tenants", "", "from nothing", "one new", "nothing to do", "status"];
    table::head(
        "Beside other tools, ms per tenant (times the limit with one connection)",
        &columns,
    );
    for size in bench.options.sizes(&[20], &[50, 200]) {
        prepare_roles(bench, size);
        let mut contenders: Vec<Contender<'_>> = vec![
            ("limit, 1 connection".to_owned(), Box::new(move || by_limit(bench, size, 1))),
            ("limit, 4 connections".to_owned(), Box::new(move || by_limit(bench, size, 4))),
        ];
        for jobs in ["1", "4"] {
            let run = move || by_tenantctl(bench, size, jobs);
            contenders.push((format!("tenantctl --jobs {jobs}"), Box::new(run)));
        }
        for peer in &PEERS {
            if !tools.join(peer.program).exists() {
                eprintln!("{} is not installed: see benches/peers/README.md", peer.name);
                println!("| {size} | {} | not installed | | | |", peer.name);
                continue;
            }
            let kind = if peer.each { "process per tenant" } else { "one process" };
            let (tools, files) = (tools.clone(), files.clone());
            let run = move || {
                let fleet = Fleet::make(bench, "peers", Kind::Empty, size);
                let (tools, files) = (tools.clone(), files.clone());
                let place = Place { world: bench.world, fleet: &fleet, tools, files };
                let times = by_peer(peer, &place);
                fleet.drop();
                times
            };
            contenders.push((format!("{}, {kind}", peer.name), Box::new(run)));
        }
        let mut rounds: Vec<Vec<[f64; 4]>> = Vec::new();
        for _ in 0..bench.options.rounds {
            rounds.push(contenders.iter().map(|(_, run)| run()).collect());
        }
        let of = |at: usize| {
            [0, 1, 2, 3]
                .map(|job| median(&rounds.iter().map(|round| round[at][job]).collect::<Vec<_>>()))
        };
        for (at, (name, _)) in contenders.iter().enumerate() {
            row(size, name, of(at), of(0));
        }
    }
    table::end();
}

fn row(size: usize, name: &str, times: [f64; 4], limit: [f64; 4]) {
    let mut cells = String::new();
    for (time, limit) in times.iter().zip(limit) {
        if time.is_nan() {
            cells.push_str(" – |");
        } else {
            write!(cells, " {time:.2} ({:.1}×) |", time / limit).unwrap();
        }
    }
    println!("| {size} | {name} |{cells}");
}

/// Roles for tools that know no schemas: each finds one schema only.
fn prepare_roles(bench: &Bench<'_>, size: usize) {
    for tenant in 0..size {
        let role = role(tenant);
        bench.world.sql_in(
            "postgres",
            &format!(
                "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN \
                 CREATE ROLE {role} LOGIN IN ROLE {}; \
                 ALTER ROLE {role} SET search_path = tenant_t{tenant:05}; END IF; END $$",
                crate::fleet::OWNER
            ),
        );
    }
}

fn by_limit(bench: &Bench<'_>, size: usize, connections: usize) -> [f64; 4] {
    let fleet = Fleet::make(bench, "peers", Kind::Empty, size);
    let all: Vec<File> = FILES.iter().map(|stem| File::of_workload(stem)).collect();
    let url = fleet.operator_url();
    let send = |files: &[File], first| {
        let messages: Vec<String> =
            (0..size).map(|id| message(&crate::fleet::schema(id), files, first)).collect();
        limit::messages(&url, &messages, connections).took
    };
    let made = send(&all, true);
    let new = send(&[File::of_workload(NEW)], false);
    let look = limit::queries(&url, &one_batch(&fleet, 150)).0;
    let times = [made, new, look, look].map(|took| per_tenant(took, size));
    fleet.drop();
    times
}

fn by_tenantctl(bench: &Bench<'_>, size: usize, jobs: &str) -> [f64; 4] {
    let fleet = Fleet::make(bench, "peers", Kind::Empty, size);
    let times = JOBS.map(|job| {
        if job == Job::New {
            let from = workload().join(format!("{NEW}.sql"));
            fs::copy(from, fleet.directory.join(format!("migrations/{NEW}.sql"))).unwrap();
        }
        let args = match job {
            Job::Status => vec!["migrate", "status"],
            _ => vec!["migrate", "up", "--allow-lint", "--jobs", jobs],
        };
        let binary = &bench.options.binaries[0].1;
        per_tenant(tool::run(binary, &fleet.directory, args, &[], None).ok().took, size)
    });
    fs::remove_dir_all(&fleet.directory).unwrap();
    fleet.drop();
    times
}

fn by_peer(peer: &Peer, place: &Place<'_>) -> [f64; 4] {
    let size = place.fleet.size;
    if peer.name == "django-tenants" {
        let ids: Vec<String> =
            (0..size).map(|id| format!("('{}', '')", crate::fleet::schema(id))).collect();
        place.world.sql_in(
            &place.fleet.name,
            &format!(
                "CREATE TABLE customers_tenant (id bigserial PRIMARY KEY, \
                 schema_name text UNIQUE, name text); GRANT ALL ON customers_tenant TO {OPERATOR}; \
                 INSERT INTO customers_tenant (schema_name, name) VALUES {}",
                ids.join(", ")
            ),
        );
    }
    JOBS.map(|job| {
        let mut took = Duration::ZERO;
        for tenant in 0..if peer.each { size } else { 1 } {
            let Some((program, args, environment)) = (peer.call)(place, job, tenant) else {
                return f64::NAN;
            };
            let environment: Vec<(&str, &str)> =
                environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let directory = &place.fleet.directory;
            took += tool::run(&program, directory, args, &environment, None).ok().took;
        }
        if job == Job::New {
            assert_all_have_it(place);
        }
        per_tenant(took, size)
    })
}

/// A tool that was quick because it did nothing would win.
fn assert_all_have_it(place: &Place<'_>) {
    let query = "SELECT count(*) FROM pg_class WHERE relname = 'projects_priority'";
    let found = place.world.rows_in(&place.fleet.name, query).concat();
    assert_eq!(found, [place.fleet.size.to_string()]);
}

fn per_tenant(took: Duration, tenants: usize) -> f64 {
    took.as_secs_f64() * 1000.0 / tenants as f64
}
