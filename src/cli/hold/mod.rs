//! `tenantctl hold`: one file per verb.

use super::app::App;
use crate::report::Report;

/// Keep tenants from being purged, whatever their grace
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

commands! {
    set => Set,
    clear => Clear,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        self.command.run(app).await
    }
}
