//! `tenantctl audit log`.

use std::time::Duration;

use crate::cli::app::App;
use crate::cli::args;
use crate::model::tenant::TenantId;
use crate::ops;
use crate::report::Report;

/// Show what was done: by whom, from where, to which tenant, and what came of it
#[derive(clap::Args)]
pub(super) struct Args {
    /// Only what was done to this tenant
    #[arg(long, value_name = "ID", value_parser = args::tenant)]
    tenant: Option<TenantId>,
    /// Only what is not older than this
    #[arg(long, value_name = "DURATION", value_parser = args::duration)]
    since: Option<Duration>,
    /// So many of the newest at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::audit_log(cx, self.tenant, self.since, self.limit).await).await
    }
}
