//! `tenantctl migrate`.

use super::app::App;
use super::args::{self, Selecting, Waiting};
use crate::model::migration::Version;
use crate::ops::{self, StatusOptions, UpOptions};
use crate::report::Report;

/// Migrate tenants, or see how they stand
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Apply pending migrations to the selected tenants, all without a selection
    Up(Up),
    /// Say which version each tenant has and what is pending; changes nothing
    Status(Scope),
}

#[derive(clap::Args)]
struct Scope {
    #[command(flatten)]
    selecting: Selecting,
    /// Up to this version, not further
    #[arg(long, value_name = "VERSION", value_parser = args::version)]
    to: Option<Version>,
    /// Change nothing; exit with 2 when migrations are pending
    #[arg(long)]
    check: bool,
}

impl From<Scope> for StatusOptions {
    fn from(scope: Scope) -> Self {
        Self { selection: scope.selecting.into(), to: scope.to, check: scope.check }
    }
}

#[derive(clap::Args)]
struct Up {
    #[command(flatten)]
    scope: Scope,
    /// How many schemas are migrated at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// What a failure means for the tenants that have not begun
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_error: OnError,
    #[command(flatten)]
    waiting: Waiting,
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
        match self.command {
            Command::Status(scope) => {
                let options = scope.into();
                app.with_fleet(async |cx| ops::status(cx, &options).await).await
            }
            Command::Up(up) => {
                let options = UpOptions {
                    scope: up.scope.into(),
                    jobs: up.jobs.map(usize::from),
                    stop_on_error: up.on_error == OnError::Stop,
                    lock_wait: up.waiting.tenant_lock_wait,
                    limits: up.waiting.limits(),
                };
                app.with_fleet(async |cx| ops::up(cx, &options).await).await
            }
        }
    }
}
