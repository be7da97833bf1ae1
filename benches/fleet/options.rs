//! What is measured, and how much of it.

use std::path::PathBuf;
use std::str::FromStr;

const HELP: &str = "\
cargo bench --bench fleet -- [OPTIONS]

  --full              the sizes that the targets are set for; otherwise a few minutes' worth
  --only NAME,…       only these jobs: new, rtt, nothing, databases, scratch, growth, peers
  --jobs-list N,…     connections at once [default: 1,2,4,8]
  --sizes N,…         schemas, instead of each job's own
  --rounds N          how often each is measured [default: 3]
  --no-fsync          without the disk, whose speed may change by the minute: what is left is CPU
  --binary NAME=PATH  measure this binary too (repeatable), for example one built before a change;
                      NAME tenantctl replaces the one that was built with this benchmark
";

/// The command line.
pub struct Options {
    pub full: bool,
    pub only: Vec<String>,
    pub jobs: Vec<usize>,
    pub sizes: Option<Vec<usize>>,
    pub rounds: usize,
    /// Whether commits wait for the disk.
    pub fsync: bool,
    /// What is measured, by the name that it has in the table.
    pub binaries: Vec<(String, PathBuf)>,
}

impl Options {
    /// None when there is nothing to measure: `--help`, or a run that only wants to list tests.
    pub fn from_command_line() -> Option<Self> {
        let own = PathBuf::from(env!("CARGO_BIN_EXE_tenantctl"));
        let mut options = Self {
            full: false,
            only: Vec::new(),
            jobs: vec![1, 2, 4, 8],
            sizes: None,
            rounds: 3,
            fsync: true,
            binaries: vec![("tenantctl".to_owned(), own)],
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} wants a value"));
            match arg.as_str() {
                "--full" => options.full = true,
                "--only" => options.only = list(&value()),
                "--jobs-list" => options.jobs = list(&value()),
                "--sizes" => options.sizes = Some(list(&value())),
                "--rounds" => options.rounds = value().parse().expect("--rounds wants a number"),
                "--no-fsync" => options.fsync = false,
                "--binary" => {
                    let value = value();
                    let (name, path) = value.split_once('=').expect("--binary wants NAME=PATH");
                    let path = std::fs::canonicalize(path).expect("--binary names a program");
                    options.binaries.retain(|(taken, _)| taken != name);
                    options.binaries.push((name.to_owned(), path));
                }
                // cargo says that it runs a bench.
                "--bench" => {}
                "--help" => {
                    print!("{HELP}");
                    return None;
                }
                "--list" => return None,
                _ => panic!("{arg} is unknown\n{HELP}"),
            }
        }
        Some(options)
    }

    pub fn wants(&self, job: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == job)
    }

    /// The sizes of a job.
    pub fn sizes(&self, quick: &[usize], full: &[usize]) -> Vec<usize> {
        let own = if self.full { full } else { quick };
        self.sizes.clone().unwrap_or_else(|| own.to_vec())
    }
}

fn list<T: FromStr>(text: &str) -> Vec<T> {
    text.split(',')
        .map(|part| part.parse().unwrap_or_else(|_| panic!("{text:?} is not a list")))
        .collect()
}
