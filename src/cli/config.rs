//! `tenantctl config`.

use super::app::App;
use crate::ops;
use crate::report::Report;

/// Look at the configuration
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show every value in force and where it came from, secrets hidden
    Show,
}

impl Args {
    #[expect(clippy::unused_async, reason = "every command is called alike")]
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        match self.command {
            Command::Show => Ok(ops::configuration(&app.fleet()?)),
        }
    }
}
