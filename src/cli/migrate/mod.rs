//! `tenantctl migrate`: one file per verb.

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
    plan => Plan,
    up => Up,
    status => Status,
    verify => Verify,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        self.command.run(app).await
    }
}
