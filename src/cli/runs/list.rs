//! `tenantctl runs list`.

use crate::cli::app::App;
use crate::ops;
use crate::report::Report;

/// List the newest runs, and how their tenants fared
#[derive(clap::Args)]
pub(super) struct Args {
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::runs(cx, self.limit).await).await
    }
}
