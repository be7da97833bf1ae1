//! `tenantctl migrate up`.

use std::path::PathBuf;
use std::time::Duration;

use super::beside::Beside;
use super::scope::Scope;
use crate::cli::app::App;
use crate::cli::args::{self, Waiting};
use crate::model::run::RunReference;
use crate::ops::{self, UpOptions};
use crate::plan::health::Gate;
use crate::plan::waves::{Share, Wave};
use crate::report::Report;

// Headings of the help: so many flags are read in groups.
const SCOPE: &str = "Whom, and how far";
const MANNER: &str = "How";
const WAVES: &str = "Waves";
const FAILURES: &str = "When to end early";

/// Apply pending migrations to the selected tenants, all without a selection
#[derive(clap::Args)]
pub(super) struct Args {
    /// A plan that `migrate plan -O FILE` wrote; refused when anything has moved since
    #[arg(value_name = "FILE", conflicts_with_all = ["tenants", "exclude", "selector", "to", "resume"])]
    plan: Option<PathBuf>,
    #[command(flatten, next_help_heading = SCOPE)]
    scope: Scope,
    /// Apply files also when they break the standards that `migrate lint` judges by
    #[arg(long, help_heading = MANNER)]
    allow_lint: bool,
    /// How many schemas of a cluster are migrated at once; otherwise twice the cores of a server on
    /// this machine, 8 elsewhere, within `max_connections`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = MANNER)]
    jobs: Option<u16>,
    /// Each file in a transaction of its own, instead of all that a tenant lacks in one
    #[arg(long, help_heading = MANNER)]
    per_file: bool,
    /// Who goes first, one flag per wave: a selector (wave=canary), 10, 25%, sample:10, sample:5%,
    /// rest. Whoever no wave takes comes last
    #[arg(long = "wave", value_name = "SPEC", value_parser = args::wave, help_heading = WAVES)]
    waves: Vec<Wave>,
    /// How long to watch each wave before the next begins
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = args::duration, help_heading = WAVES)]
    soak: Duration,
    #[command(flatten, next_help_heading = WAVES)]
    health: Health,
    /// End the run when more targets failed: a number, or a percentage of the run's targets
    #[arg(long, value_name = "N|P%", value_parser = args::share, help_heading = FAILURES)]
    max_failures: Option<Share>,
    /// What a failure means for the tenants that have not begun
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", help_heading = FAILURES)]
    on_error: OnError,
    /// Begin nothing more after so long; what was begun is finished
    #[arg(long, value_name = "DURATION", value_parser = args::duration, help_heading = FAILURES)]
    max_duration: Option<Duration>,
    /// Go on with a run that ended before its time: last, its id, or the beginning of its id
    #[arg(long, value_name = "RUN", value_parser = args::run, conflicts_with_all = ["tenants", "exclude", "selector", "check"], help_heading = SCOPE)]
    resume: Option<RunReference>,
    #[command(flatten, next_help_heading = "Locks and limits")]
    waiting: Waiting,
    #[command(flatten, next_help_heading = "Files beside the answer")]
    beside: Beside,
}

/// What must be well before a wave begins that is not the first.
#[derive(clap::Args)]
struct Health {
    /// Between waves: no standby further behind than this
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    max_replication_lag: Duration,
    /// Between waves: no transaction of others older than this
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = args::duration)]
    max_transaction_age: Duration,
    /// Between waves: not more of a hundred connections in use
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=100))]
    max_connections_used: u8,
    /// Between waves: how long to wait until all that is so
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = args::duration)]
    gate_wait: Duration,
}

/// `--on-error`.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    /// They go on
    #[default]
    Continue,
    /// They are left as they are
    Stop,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = UpOptions {
            scope: self.scope.into(),
            jobs: self.jobs.map(usize::from),
            per_file: self.per_file,
            waves: self.waves,
            soak: self.soak,
            gate: Gate {
                replication_lag: self.health.max_replication_lag,
                transaction_age: self.health.max_transaction_age,
                connections_percent: self.health.max_connections_used.into(),
            },
            gate_wait: self.health.gate_wait,
            max_failures: self.max_failures,
            stop_on_error: self.on_error == OnError::Stop,
            max_duration: self.max_duration,
            lock_wait: self.waiting.tenant_lock_wait,
            limits: self.waiting.limits(),
            allow_lint: self.allow_lint,
            plan: self.plan,
            resume: self.resume,
            asked: args::asked(),
        };
        app.stream_events()?;
        let up = app.with_fleet(async |cx| ops::up(cx, &options).await);
        Box::pin(self.beside.run(app, "migrate up", up)).await
    }
}
