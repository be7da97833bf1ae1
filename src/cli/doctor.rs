//! `tenantctl doctor`.

use super::app::App;
use crate::ops;
use crate::report::Report;

/// Check configuration, migrations, clusters, privileges and registry
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::doctor(cx).await).await
    }
}
