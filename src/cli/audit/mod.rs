//! `tenantctl audit`: one file per verb.

use super::app::App;
use crate::report::Report;

/// See who did what, and prove that nobody has changed the record of it
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

commands! {
    log => Log,
    verify => Verify,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        self.command.run(app).await
    }
}
