//! `tenantctl verify-rls`.

use super::app::App;
use super::args::{self, Selecting};
use std::path::PathBuf;
use std::time::Duration;

use crate::audit::{Pairs, Severity};
use crate::error::{Code, Error};
use crate::ops::{self, MatrixOptions, VerifyOptions};
use crate::report::Report;

/// Prove that no tenant can see another, or show where one can
///
/// Reads the catalogues of every database that holds a selected tenant, then acts as the
/// application inside a transaction that is rolled back. Needs no registry: a list in tenants.toml
/// is enough. Exits with 2 when something is found.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    selecting: Selecting,
    /// Judge the catalogues only
    #[arg(long = "static", conflicts_with = "probe")]
    catalogues: bool,
    /// Act as the application only
    #[arg(long)]
    probe: bool,
    /// From which severity on a finding fails: critical, high, medium, low or info
    #[arg(long, value_name = "SEVERITY", default_value = "high", value_parser = args::severity)]
    fail_on: Severity,
    /// Findings that were there before: they are shown as known, and fail nothing
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    baseline: Option<PathBuf>,
    /// Write what is found now as a baseline for the next audit; what is not there any more leaves it
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    write_baseline: Option<PathBuf>,
    /// Write the fixes as SQL to review and run: one transaction, which may be run again
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    fix_sql: Option<PathBuf>,
    /// Which tenants act against which: ring (each against one other), all, or sample:N pairs
    #[arg(long, value_name = "PAIRS", default_value = "ring", num_args = 1..=2, help_heading = PROBES)]
    pairs: Vec<String>,
    /// Another sample of pairs
    #[arg(long, value_name = "N", requires = "pairs", help_heading = PROBES)]
    seed: Option<u64>,
    /// How long one probe may take
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = args::duration, help_heading = PROBES)]
    timeout: Duration,
    /// Run TRUNCATE as well, which locks tables against everybody for a moment
    #[arg(long, conflicts_with = "catalogues", help_heading = PROBES)]
    probe_truncate: bool,
    /// How many databases of a cluster are audited at once; 4 without it, within `max_connections`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = MANNER)]
    jobs: Option<u16>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show who can do what: roles of the application, objects and verbs
    ///
    /// Reads privileges and policies, and changes nothing. A verb is own (its tenant's own ground),
    /// bound (rows of the current tenant, by policy), common (belongs to no tenant), closed (granted,
    /// and no policy admits a row) or open (reaches other tenants).
    Matrix(MatrixArgs),
}

#[derive(clap::Args)]
struct MatrixArgs {
    #[command(flatten)]
    selecting: Selecting,
    /// Only what reaches other tenants
    #[arg(long)]
    open: bool,
    /// How many databases of a cluster are read at once; 4 without it, within `max_connections`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

// Headings of the help.
const PROBES: &str = "Probes";
const MANNER: &str = "How";
const FILES: &str = "Files beside the answer";

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        if let Some(Command::Matrix(asked)) = self.command {
            let options = MatrixOptions {
                selection: asked.selecting.into(),
                open: asked.open,
                jobs: asked.jobs.map(usize::from),
            };
            return app.with_fleet(async |cx| ops::matrix(cx, &options).await).await;
        }
        let pairs = self.pairs()?;
        let options = VerifyOptions {
            selection: self.selecting.into(),
            catalogues: !self.probe,
            probes: !self.catalogues,
            fail_on: self.fail_on,
            pairs,
            timeout: self.timeout,
            truncate: self.probe_truncate,
            jobs: self.jobs.map(usize::from),
            baseline: self.baseline,
            write_baseline: self.write_baseline,
            fix_sql: self.fix_sql,
        };
        app.with_fleet(async |cx| ops::verify(cx, &options).await).await
    }

    /// The pairs, `sample 8` written as one word or two.
    fn pairs(&self) -> Result<Pairs, Error> {
        let pairs: Pairs = self.pairs.join(" ").parse()?;
        match (pairs, self.seed) {
            (Pairs::Sample { number, .. }, Some(seed)) => Ok(Pairs::Sample { number, seed }),
            (other, None) => Ok(other),
            (other, Some(_)) => Err(Error::new(Code::Usage, format!("--seed says nothing beside {other}"))
                .hint("a seed chooses a sample: --pairs sample:8 --seed 1")),
        }
    }
}
