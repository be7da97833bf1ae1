//! `tenantctl migrate`: one file per verb.

mod beside;
mod rewriting;
mod scope;

use super::app::App;
use crate::report::Report;

/// Migrate tenants, or see how they stand
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

commands! {
    lint => Lint,
    new => New,
    plan => Plan,
    up => Up,
    status => Status,
    verify => Verify,
    baseline => Baseline,
    repair => Repair,
    down => Down,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        self.command.run(app).await
    }
}
