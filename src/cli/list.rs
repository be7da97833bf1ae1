//! `tenantctl list`.

use super::app::App;
use super::args::Selecting;
use crate::ops;
use crate::report::Report;

/// List tenants, where they live, and their versions
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selecting: Selecting,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let selection = self.selecting.into();
        app.with_fleet(async |cx| ops::list(cx, &selection).await).await
    }
}
