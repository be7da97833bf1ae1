//! `tenantctl migrate up`.

use super::beside::Beside;
use super::scope::Scope;
use crate::cli::app::App;
use crate::cli::args::Waiting;
use crate::ops::{self, UpOptions};
use crate::report::Report;

/// Apply pending migrations to the selected tenants, all without a selection
#[derive(clap::Args)]
pub(super) struct Args {
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
    #[command(flatten)]
    beside: Beside,
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
            stop_on_error: self.on_error == OnError::Stop,
            lock_wait: self.waiting.tenant_lock_wait,
            limits: self.waiting.limits(),
        };
        app.stream_events()?;
        let up = app.with_fleet(async |cx| ops::up(cx, &options).await);
        self.beside.run(app, "migrate up", up).await
    }
}
