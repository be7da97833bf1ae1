//! How long a tenant with a database of its own takes, copied from a template and replayed:
//! `cargo bench --bench database_template`. Both are measured in one run; the ratio is what counts.
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

use harness::World;

/// Tenants per measurement. The first two are left out: the second builds the template.
const TENANTS: usize = 12;

fn main() {
    println!("{:>10} {:>12} {:>12} {:>8}", "files", "replayed ms", "copied ms", "ratio");
    for files in [0, 10, 20, 60] {
        let (replayed, copied) = (median(files, "never"), median(files, "always"));
        let name = if files == 0 { "embedded".to_owned() } else { files.to_string() };
        println!("{name:>10} {replayed:>12.0} {copied:>12.0} {:>8.2}", copied / replayed);
    }
}

/// The median time of `create`, in milliseconds, the process included.
fn median(files: usize, template: &str) -> f64 {
    // On a disk.
    let world = World::with(|options| options.setting("fsync", "on").place(std::env::temp_dir()));
    let mut config = format!("[isolation.database]\ntemplate = \"{template}\"\n");
    if files > 0 {
        config.push_str("[migrations]\ndatabase = \"migrations\"\n");
    }
    for file in 1..=files {
        let sql = format!(
            "CREATE TABLE t{file} (id uuid PRIMARY KEY, body text NOT NULL, at timestamptz);\n\
             CREATE INDEX t{file}_at ON t{file} (at);\n"
        );
        world.file(&format!("migrations/V{file}__t{file}.sql"), &sql);
    }
    world.config(&config);
    let mut took: Vec<f64> = (0..TENANTS)
        .map(|at| {
            let id = format!("tenant{at}");
            let done = world.run(["create", &id, "--isolation", "database"]).ok();
            done.elapsed().as_secs_f64() * 1000.0
        })
        .skip(2)
        .collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}
