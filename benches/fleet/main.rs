//! What fleet migrations cost over the server's own work: `cargo bench --bench fleet`.
//!
//! Every job is done by the *limit* (the same SQL, one message per tenant, on raw connections) and by
//! the binary, in turns, on one server with fsync on. The ratio is what counts: times move with the
//! machine. `--full` takes the sizes that the targets are set for, `--help` says the rest.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what it is for")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::unnecessary_wraps,
    reason = "a measurement stops at the first surprise, and nobody imports it"
)]

mod audit;
mod cost;
mod fleet;
mod jobs;
mod latency;
mod limit;
mod options;
mod peers;
mod table;
mod tool;

#[path = "../../tests/it/harness/mod.rs"]
mod harness;

use harness::World;
use tenantctl::pg::server::{Durability, Listen};

use crate::options::Options;

fn main() {
    if let Some(options) = Options::from_command_line() {
        let world = world();
        let bench = jobs::Bench::new(&world, &options);
        println!(
            "PostgreSQL {}, {} cores, fsync {}, shared_buffers 1GB, autovacuum off; medians of {} rounds.\n",
            world.server().version(),
            std::thread::available_parallelism().map_or(1, usize::from),
            if options.fsync { "on" } else { "off" },
            options.rounds
        );
        for (name, job) in jobs::JOBS {
            if options.wants(name) {
                eprintln!("{name} (load {})", load());
                job(&bench);
            }
        }
    }
}

/// A server that survives a power cut, and does nothing that nobody asked for.
fn world() -> World {
    World::with(|options| {
        [
            ("shared_buffers", "1GB"),
            ("max_connections", "200"),
            ("checkpoint_timeout", "1h"),
            ("max_wal_size", "16GB"),
        ]
        .into_iter()
        .fold(options, |options, (name, value)| options.setting(name, value))
        .durability(Durability::Full)
        .listen(Listen::Loopback(None))
        // The peers cannot use the socket, and passwords would be their cost, not the migrations'.
        .hba("host all all 127.0.0.1/32 trust")
    })
}

/// How busy the machine is.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
