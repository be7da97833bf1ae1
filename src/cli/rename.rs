//! `tenantctl rename`.

use std::time::Duration;

use super::app::App;
use super::args;
use crate::model::tenant::TenantId;
use crate::ops::{self, RenameOptions};
use crate::report::Report;

/// Give a tenant another id, with its schema, database, roles and settings
///
/// All of it or nothing, where one transaction reaches it; otherwise a run that was killed is finished
/// by the next. The old id stays the tenant's: nobody else gets it.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// What it is to be called
    #[arg(value_name = "NEW", value_parser = args::tenant)]
    to: TenantId,
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show what would be done, with its SQL, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    tenant_lock_wait: Duration,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = RenameOptions {
            id: self.id,
            to: self.to,
            dry_run: self.dry_run,
            reason: self.reason,
            lock_wait: self.tenant_lock_wait,
        };
        app.with_fleet(async |cx| ops::rename(cx, &options).await).await
    }
}
