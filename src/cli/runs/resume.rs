//! `tenantctl runs resume`.

use crate::cli::app::App;
use crate::cli::args::{self, Waiting};
use crate::model::run::RunReference;
use crate::ops::{self, UpOptions};
use crate::report::Report;

/// Go on with a run that was killed, was stopped or failed: only what is left; as `migrate up --resume`
#[derive(clap::Args)]
pub(super) struct Args {
    /// The run: last, its id, or as much of the id as no other run begins with
    #[arg(value_name = "RUN", value_parser = args::run)]
    run: RunReference,
    /// Apply files also when they break the standards that `migrate lint` judges by
    #[arg(long)]
    allow_lint: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = UpOptions {
            resume: Some(self.run),
            lock_wait: self.waiting.tenant_lock_wait,
            limits: self.waiting.limits(),
            allow_lint: self.allow_lint,
            asked: args::asked(),
            ..UpOptions::default()
        };
        app.with_fleet(async |cx| ops::up(cx, &options).await).await
    }
}
