//! How fast and in how much memory a large tenant is written down, filled and cloned:
//! `cargo bench --bench data`. COPY alone is measured in the same run: the fraction is what counts.
#![allow(clippy::print_stdout, reason = "it is what it is for")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement stops at the first surprise, and nobody imports it"
)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Invocation, Model, World};

/// Rows of the largest table; `DATA_ROWS` overrules it.
const ROWS: u64 = 1_000_000;

fn main() {
    let rows = std::env::var("DATA_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
    // On a disk.
    let world = World::with(|options| {
        let options = options.setting("shared_buffers", "256MB").setting("max_wal_size", "4GB");
        options.place(std::env::temp_dir())
    });
    world.run(["create", "acme", "--isolation", "schema"]).ok();
    world.seed(Model::Schema, "acme", 100);
    world.sql(&format!(
        "SET session_replication_role = replica; \
         INSERT INTO tenant_acme.events (stream, stream_version, type, payload) \
         SELECT 's' || n % 1000, 1000 + n, 'thing.happened', jsonb_build_object('n', n, 'text', md5(n::text)) \
         FROM generate_series(1, {rows}) AS n"
    ));
    world.sql("VACUUM ANALYZE tenant_acme.events");
    let out = raw(&world, "COPY (SELECT * FROM tenant_acme.events) TO STDOUT", "out.copy", true);
    let bytes = fs::metadata(world.path("out.copy")).unwrap().len();
    world.sql("CREATE TABLE raw (LIKE tenant_acme.events INCLUDING ALL)");
    let into = raw(&world, "COPY raw FROM STDIN", "out.copy", false);
    println!("{rows} rows, {} MB", bytes / 1_000_000);
    println!("{:<24} {:>8} {:>10} {:>10}", "", "s", "of COPY", "peak MB");
    println!("{:<24} {:>8.1} {:>10} {:>10}", "COPY TO, psql", out.as_secs_f64(), "1.00", "");
    println!("{:<24} {:>8.1} {:>10} {:>10}", "COPY FROM, psql", into.as_secs_f64(), "1.00", "");
    let measured: [(&str, &[&str], Duration); 9] = [
        ("export", &["export", "acme", "-O", "acme.tar"], out),
        ("export, not compressed", &["export", "acme", "-O", "plain", "--compress", "none"], out),
        ("import, schema", &["import", "acme.tar", "--as", "s"], into),
        ("import, database", &["import", "acme.tar", "--as", "d", "--isolation", "database"], into),
        ("import, shared", &["import", "acme.tar", "--as", "r", "--isolation", "shared"], into),
        ("clone", &["clone", "acme", "c", "--with-data"], out + into),
        ("move", &["move", "s", "--to-isolation", "database"], out + into),
        ("backup", &["backup", "acme", "-O", "acme.backup"], out),
        ("restore --verify", &["restore", "acme.backup", "--verify"], into),
    ];
    for (name, args, raw) in measured {
        let (took, peak) = watched(world.tenantctl(args));
        let fraction = raw.as_secs_f64() / took.as_secs_f64();
        println!("{name:<24} {:>8.1} {fraction:>10.2} {peak:>10}", took.as_secs_f64());
    }
}

/// What psql needs for one COPY, from a file or into one.
fn raw(world: &World, statement: &str, file: &str, out: bool) -> Duration {
    let started = Instant::now();
    let mut psql = Command::new(world.server().bin_dir().join("psql"));
    psql.args(["-X", "-q", "-d", &world.url("app", "postgres"), "-c", statement]);
    if out {
        psql.stdout(fs::File::create(world.path(file)).unwrap());
    } else {
        psql.stdin(fs::File::open(world.path(file)).unwrap());
    }
    assert!(psql.status().unwrap().success(), "{statement}");
    started.elapsed()
}

/// How long an invocation takes, and the most memory it has had, in MB.
fn watched(invocation: Invocation) -> (Duration, u64) {
    let started = Instant::now();
    let mut running = invocation.spawn();
    let status = format!("/proc/{}/status", running.pid());
    let mut peak = 0;
    while running.is_running() {
        if let Ok(text) = fs::read_to_string(&status)
            && let Some(line) = text.lines().find(|line| line.starts_with("VmHWM:"))
        {
            let kilobytes = line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
            peak = peak.max(kilobytes.unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = started.elapsed();
    running.wait().ok();
    (took, peak / 1000)
}
