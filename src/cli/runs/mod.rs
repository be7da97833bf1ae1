//! `tenantctl runs`: one file per verb.

use super::app::App;
use crate::report::Report;

/// See what runs did to which tenants
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

commands! {
    list => List,
    show => Show,
    resume => Resume,
    prune => Prune,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        self.command.run(app).await
    }
}
