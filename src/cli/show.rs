//! `tenantctl show`.

use super::app::App;
use super::args;
use crate::model::tenant::TenantId;
use crate::ops;
use crate::report::Report;

/// Show one tenant
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant's id
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::show(cx, &self.id).await).await
    }
}
