//! `tenantctl metrics`.

use super::app::App;
use crate::ops;
use crate::report::Report;

/// Print how the fleet stands as metrics for Prometheus
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::metrics(cx).await).await
    }
}
