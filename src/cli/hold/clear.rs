//! `tenantctl hold clear`.

use crate::cli::app::App;
use crate::cli::args;
use crate::cli::living::Living;
use crate::ops::{self, HoldChange};
use crate::report::Report;

/// Hold tenants no more
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    living: Living,
    /// Which hold: what it was set for; not needed when there is only one
    #[arg(long, value_name = "TEXT", value_parser = args::reason)]
    reason: Option<String>,
    /// All holds
    #[arg(long, conflicts_with = "reason")]
    all: bool,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.living.options(self.reason.clone());
        let change = if self.all { HoldChange::ClearAll } else { HoldChange::Clear(self.reason) };
        app.with_fleet(async |cx| ops::change_hold(cx, &change, &options).await).await
    }
}
