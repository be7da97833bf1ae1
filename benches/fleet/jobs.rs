//! The jobs, each done by the limit and by the binaries in turns.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tenantctl::pg::server::SUPERUSER;

use crate::audit;
use crate::cost::Cost;
use crate::fleet::{self, File, Fleet, Kind, message};
use crate::harness::{OPERATOR, Session, World};
use crate::latency::Far;
use crate::limit;
use crate::options::Options;
use crate::peers;
use crate::table::{self, Race};
use crate::tool::{self, Ran};

/// A job, by the name that `--only` takes.
pub type Job = (&'static str, fn(&Bench<'_>));

/// In the order in which they are done.
pub const JOBS: [Job; 8] = [
    ("new", one_new),
    ("rtt", one_new_far_away),
    ("nothing", nothing_to_do),
    ("databases", databases),
    ("scratch", from_nothing),
    ("growth", growth),
    ("audit", audit::audit),
    ("peers", peers::race),
];

/// What is added to every round trip of a server that is far away.
const ROUND_TRIP: Duration = Duration::from_millis(5);

/// How many histories the limit reads in one statement: the best of them counts.
const BATCHES: [usize; 6] = [50, 100, 150, 200, 300, 500];

/// What jobs work with.
pub struct Bench<'w> {
    pub world: &'w World,
    pub options: &'w Options,
    fleets: RefCell<BTreeMap<(&'static str, usize), Rc<Fleet<'w>>>>,
}

impl<'w> Bench<'w> {
    pub fn new(world: &'w World, options: &'w Options) -> Self {
        fleet::prepare(world, &options.binaries[0].1);
        Self { world, options, fleets: RefCell::default() }
    }

    /// Schemas of the whole workload, which jobs share: each leaves them at the head.
    pub fn whole(&self, size: usize) -> Rc<Fleet<'w>> {
        self.fleet("whole", Kind::Whole, size)
    }

    /// As [`Bench::whole`], with four plain tables each.
    fn plain(&self, size: usize) -> Rc<Fleet<'w>> {
        self.fleet("plain", Kind::Plain, size)
    }

    fn fleet(&self, name: &'static str, kind: Kind, size: usize) -> Rc<Fleet<'w>> {
        let make = || {
            eprintln!("making {size} {name} schemas");
            let fleet = Fleet::make(self, &format!("{name}_{size}"), kind, size);
            self.tenantctl(0, &fleet, &["migrate", "status", "--check"]).ok();
            Rc::new(fleet)
        };
        Rc::clone(self.fleets.borrow_mut().entry((name, size)).or_insert_with(make))
    }

    /// Runs one of the binaries over a fleet.
    pub fn tenantctl(&self, binary: usize, fleet: &Fleet<'_>, args: &[&str]) -> Ran {
        tool::run(self.binary(binary), &fleet.directory, args, &[], None)
    }

    fn binary(&self, at: usize) -> &Path {
        &self.options.binaries[at].1
    }

    /// Lets the limit, 0, and every binary do a job in turns, each in every place as often; what it
    /// took is for one of so many `tenants`.
    pub fn race(&self, tenants: usize, mut run: impl FnMut(usize) -> Duration) -> Race {
        let mut race = Race::default();
        let contenders = self.options.binaries.len() + 1;
        for round in 0..self.options.rounds {
            for place in 0..contenders {
                let at = if round % 2 == 0 { place } else { contenders - 1 - place };
                let name = at.checked_sub(1).map_or("limit", |at| &self.options.binaries[at].0);
                race.add(at, name, Cost::of(self.world, || run(at)).over(tenants));
            }
        }
        race
    }
}

/// Milliseconds per tenant.
fn per_tenant(took: Duration, tenants: usize) -> f64 {
    took.as_secs_f64() * 1000.0 / tenants as f64
}

/// The columns of jobs that are measured per tenant.
const COLUMNS: [&str; 2] = ["tenants", "connections"];

/// One new migration over many schemas.
fn one_new(bench: &Bench<'_>) {
    table::race_head("One new migration, a schema per tenant: for each", &COLUMNS);
    for size in bench.options.sizes(&[300], &[1000, 5000]) {
        let fleet = bench.whole(size);
        new(bench, &fleet, &fleet.operator_url(), "tenants.toml");
    }
    table::end();
}

/// The same on a server that is far away.
fn one_new_far_away(bench: &Bench<'_>) {
    table::race_head("The same with 5 ms of added round-trip time: for each", &COLUMNS);
    let far = Far::start(bench.world, ROUND_TRIP);
    for size in bench.options.sizes(&[300], &[1000]) {
        let fleet = bench.whole(size);
        let url = far.url(&fleet.operator_url());
        fleet.config("far.toml", &url);
        new(bench, &fleet, &url, "far.toml");
    }
    table::end();
}

fn new(bench: &Bench<'_>, fleet: &Fleet<'_>, url: &str, config: &str) {
    for jobs in &bench.options.jobs {
        let race = bench.race(fleet.size, |at| {
            let file = fleet.another();
            match at.checked_sub(1) {
                None => limit::messages(url, &one_more(fleet, &file), *jobs).took,
                Some(binary) => {
                    let jobs = jobs.to_string();
                    let args = [
                        "-c",
                        config,
                        "migrate",
                        "up",
                        "--allow-lint",
                        "--jobs",
                        &jobs,
                        "-o",
                        "ndjson",
                    ];
                    let ran = bench.tenantctl(binary, fleet, &args).ok();
                    applied(&ran, fleet.size);
                    ran.took
                }
            }
        });
        table::rows(&[fleet.size.to_string(), jobs.to_string()], &race, 1.10);
    }
    bench.tenantctl(0, fleet, &["migrate", "status", "--check"]).ok();
}

/// What the limit sends to give every tenant one more file.
fn one_more(fleet: &Fleet<'_>, file: &File) -> Vec<String> {
    let files = std::slice::from_ref(file);
    (0..fleet.size).map(|id| message(&fleet::schema(id), files, false)).collect()
}

/// Every tenant must have got something.
fn applied(ran: &Ran, tenants: usize) {
    let done = ran.lines.iter().filter(|(_, line)| is_applied(line)).count();
    assert_eq!(done, tenants, "{}", ran.lines.last().unwrap().1);
}

fn is_applied(line: &str) -> bool {
    line.contains("\"event\":\"target\"") && line.contains("\"status\":\"applied\"")
}

/// Looking at tenants that have everything.
fn nothing_to_do(bench: &Bench<'_>) {
    table::race_head("Nothing to do, a schema per tenant: for all", &["tenants", "command"]);
    for size in bench.options.sizes(&[1000], &[1000, 5000, 10_000]) {
        let fleet = bench.plain(size);
        let queries = best_batch(&fleet);
        for command in [["migrate", "up"].as_slice(), &["migrate", "status"]] {
            let race = bench.race(1, |at| match at.checked_sub(1) {
                None => limit::queries(&fleet.operator_url(), &queries).0,
                Some(binary) => bench.tenantctl(binary, &fleet, command).ok().took,
            });
            let (written, locks) = traces(bench, &fleet, command);
            let verb = format!("{}; {written} bytes of WAL, {locks} locks", command.join(" "));
            table::rows(&[size.to_string(), verb], &race, 1.30);
        }
    }
    table::end();
}

/// The queries that read every history fastest on one connection.
fn best_batch(fleet: &Fleet<'_>) -> Vec<String> {
    let mut best: Option<(Duration, usize, Vec<String>)> = None;
    for batch in BATCHES {
        let queries = one_batch(fleet, batch);
        for _ in 0..2 {
            let (took, rows) = limit::queries(&fleet.operator_url(), &queries);
            assert_eq!(rows, fleet.size);
            if best.as_ref().is_none_or(|(best, ..)| took < *best) {
                best = Some((took, batch, queries.clone()));
            }
        }
    }
    let (took, batch, queries) = best.unwrap();
    eprintln!("{} histories in {took:.0?}, {batch} at a time", fleet.size);
    queries
}

/// Reads so many histories in one query: how many rows, up to which version, and the sum of their
/// checksums, which is the least that tells whether one is as it should be.
pub fn one_batch(fleet: &Fleet<'_>, batch: usize) -> Vec<String> {
    let histories: Vec<String> = (0..fleet.size)
        .map(|id| {
            let schema = fleet::schema(id);
            format!(
                "SELECT '{schema}', count(*), max(version), sum(checksum::numeric)::text \
                 FROM {schema}.refinery_schema_history"
            )
        })
        .collect();
    histories.chunks(batch).map(|batch| batch.join(" UNION ALL ")).collect()
}

/// What a command leaves behind: bytes of WAL, and advisory locks that it took.
fn traces(bench: &Bench<'_>, fleet: &Fleet<'_>, command: &[&str]) -> (String, usize) {
    let mut session = bench.world.session("postgres", SUPERUSER);
    session.sql(&format!("ALTER ROLE {OPERATOR} SET log_statement = 'all'"));
    session.sql("CHECKPOINT");
    let logged = bench.world.server().log().len();
    let before = session.rows("SELECT pg_current_wal_insert_lsn()").concat().concat();
    bench.tenantctl(0, fleet, command).ok();
    let written = session
        .rows(&format!("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')"))
        .concat()
        .concat();
    session.sql(&format!("ALTER ROLE {OPERATOR} RESET log_statement"));
    let log = bench.world.server().log();
    let taken =
        ["advisory_lock", "advisory_xact_lock"].map(|name| log[logged..].matches(name).count());
    (written, taken.iter().sum())
}

/// One new migration over many databases.
fn databases(bench: &Bench<'_>) {
    table::race_head("One new migration, a database per tenant: for each", &COLUMNS);
    for size in bench.options.sizes(&[60], &[500]) {
        eprintln!("making {size} databases");
        let name = format!("databases_{size}");
        let fleet = Fleet::make(bench, &name, Kind::Databases, size);
        for jobs in &bench.options.jobs {
            let race = bench.race(size, |at| {
                let file = fleet.another();
                match at.checked_sub(1) {
                    None => {
                        let files = std::slice::from_ref(&file);
                        let url = |id| bench.world.url(&fleet.database(id), OPERATOR);
                        let work: Vec<(String, String)> =
                            (0..size).map(|id| (url(id), message("app", files, false))).collect();
                        limit::databases(&work, *jobs).took
                    }
                    Some(binary) => {
                        let jobs = jobs.to_string();
                        let args =
                            ["migrate", "up", "--allow-lint", "--jobs", &jobs, "-o", "ndjson"];
                        let ran = bench.tenantctl(binary, &fleet, &args).ok();
                        applied(&ran, size);
                        ran.took
                    }
                }
            });
            table::rows(&[size.to_string(), jobs.to_string()], &race, 1.20);
        }
    }
    table::end();
}

/// Twelve migrations for schemas that hold nothing.
fn from_nothing(bench: &Bench<'_>) {
    table::race_head("12 migrations from nothing, a schema per tenant: for each", &COLUMNS);
    let files: Vec<File> = fleet::FILES.iter().map(|stem| File::of_workload(stem)).collect();
    for size in bench.options.sizes(&[40], &[200]) {
        for jobs in &bench.options.jobs {
            let race = bench.race(size, |at| {
                let fleet = Fleet::make(bench, "scratch", Kind::Empty, size);
                let took = match at.checked_sub(1) {
                    None => {
                        let message = |id| message(&fleet::schema(id), &files, true);
                        let messages: Vec<String> = (0..size).map(message).collect();
                        limit::messages(&fleet.operator_url(), &messages, *jobs).took
                    }
                    Some(binary) => {
                        let jobs = jobs.to_string();
                        let args =
                            ["migrate", "up", "--allow-lint", "--jobs", &jobs, "-o", "ndjson"];
                        let ran = bench.tenantctl(binary, &fleet, &args).ok();
                        applied(&ran, size);
                        ran.took
                    }
                };
                fleet.drop();
                took
            });
            table::rows(&[size.to_string(), jobs.to_string()], &race, 1.10);
        }
    }
    table::end();
}

/// How costs and memory grow along one run.
fn growth(bench: &Bench<'_>) {
    let columns = [
        "tenants",
        "",
        "first tenants, ms each",
        "last tenants, ms each",
        "growth",
        "peak memory, MB",
        "largest server process, MB",
        "all of them, MB",
    ];
    table::head("Along one run with 4 connections", &columns);
    for size in bench.options.sizes(&[1000], &[1000, 10_000]) {
        let fleet = bench.plain(size);
        for at in 0..=bench.options.binaries.len() {
            let file = fleet.another();
            let mut memory = Memory::new(bench.world);
            let (name, done, peak) = match at.checked_sub(1) {
                None => {
                    let (url, messages) = (fleet.operator_url(), one_more(&fleet, &file));
                    let done = std::thread::scope(|scope| {
                        let limit = scope.spawn(|| limit::messages(&url, &messages, 4).at);
                        while !limit.is_finished() {
                            memory.look();
                            std::thread::sleep(Duration::from_millis(20));
                        }
                        limit.join().unwrap()
                    });
                    ("limit", done, None)
                }
                Some(binary) => {
                    let mut peak = 0;
                    let mut watch = |pid| {
                        peak = peak.max(tool::peak_kb(pid).unwrap_or_default());
                        memory.look();
                    };
                    let args = ["migrate", "up", "--allow-lint", "--jobs", "4", "-o", "ndjson"];
                    let program = bench.binary(binary);
                    let ran =
                        tool::run(program, &fleet.directory, args, &[], Some(&mut watch)).ok();
                    applied(&ran, size);
                    let done = ran.lines.iter().filter(|(_, line)| is_applied(line));
                    let done = done.map(|(at, _)| *at).collect();
                    (bench.options.binaries[binary].0.as_str(), done, Some(peak))
                }
            };
            let (first, last) = ends(&done);
            let megabytes = |kb: u64| kb as f64 / 1024.0;
            let peak = peak.map_or_else(String::new, |kb| format!("{:.1}", megabytes(kb)));
            println!(
                "| {size} | {name} | {first:.3} | {last:.3} | {:.2} | {peak} | {:.1} | {:.1} |",
                last / first,
                megabytes(memory.largest),
                megabytes(memory.all),
            );
        }
    }
    table::end();
}

/// What the first and the last tenth of the tenants cost, without those for which everything was
/// new to the server's processes.
fn ends(done: &[Duration]) -> (f64, f64) {
    let window = done.len() / 10;
    let over = |from: usize| per_tenant(done[from + window].saturating_sub(done[from]), window);
    (over(window / 5), over(done.len() - window - 1))
}

/// The most memory that server processes of the operator held at once.
struct Memory {
    session: Session,
    largest: u64,
    all: u64,
}

impl Memory {
    fn new(world: &World) -> Self {
        Self { session: world.session("postgres", SUPERUSER), largest: 0, all: 0 }
    }

    fn look(&mut self) {
        let query = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{OPERATOR}'");
        let pids = self.session.rows(&query).concat();
        let held: Vec<u64> =
            pids.iter().filter_map(|pid| tool::private_kb(pid.parse().ok()?)).collect();
        self.largest = self.largest.max(held.iter().copied().max().unwrap_or_default());
        self.all = self.all.max(held.iter().sum());
    }
}
