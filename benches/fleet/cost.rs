//! What something takes: time on the wall, and work of the server and of the program, which other
//! programs on the machine change less.

use std::fs;
use std::time::Duration;

use crate::harness::World;

/// The clock of `/proc`: so many ticks in a second on every Linux that there is.
const TICKS: f64 = 100.0;

/// What something took, in milliseconds.
#[derive(Clone, Copy)]
pub struct Cost {
    pub time: f64,
    /// CPU time of the server's processes,
    pub server: f64,
    /// and of programs that this process has started and seen end.
    pub program: f64,
}

impl Cost {
    /// Measures what is done, which says itself how long it took.
    pub fn of(world: &World, work: impl FnOnce() -> Duration) -> Self {
        let before = (server(world), programs());
        let took = work();
        let after = (server(world), programs());
        let time = took.as_secs_f64() * 1000.0;
        Self { time, server: after.0 - before.0, program: after.1 - before.1 }
    }

    /// The same for each of so many tenants.
    pub fn over(self, tenants: usize) -> Self {
        let tenants = tenants as f64;
        Self {
            time: self.time / tenants,
            server: self.server / tenants,
            program: self.program / tenants,
        }
    }
}

/// The postmaster's processes, those that ended included.
fn server(world: &World) -> f64 {
    let postmaster = world.server().pid();
    let ended = stat(&format!("/proc/{postmaster}/stat")).map_or(0, |stat| stat.own + stat.ended);
    let alive: u64 = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| stat(&format!("{}/stat", entry.ok()?.path().display())))
        .filter(|stat| stat.parent == u64::from(postmaster))
        .map(|stat| stat.own)
        .sum();
    (ended + alive) as f64 * 1000.0 / TICKS
}

fn programs() -> f64 {
    stat("/proc/self/stat").unwrap().ended as f64 * 1000.0 / TICKS
}

struct Stat {
    parent: u64,
    /// Ticks of the process,
    own: u64,
    /// and of its children that ended.
    ended: u64,
}

/// None when the process is gone.
fn stat(path: &str) -> Option<Stat> {
    let text = fs::read_to_string(path).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<u64> =
        fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
    Some(Stat { parent: fields[1], own: fields[11] + fields[12], ended: fields[13] + fields[14] })
}
