//! `tenantctl backup`.

use std::path::PathBuf;

use super::app::App;
use super::args;
use crate::model::tenant::TenantId;
use crate::ops;
use crate::report::Report;

/// Have PostgreSQL's own program write down a tenant's schema or database, and record what it holds
///
/// The directory holds `tenant.dump`, for `pg_restore`, and a manifest with the row count and
/// the checksum of every table at the same moment.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant's id
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// A directory that does not exist yet
    #[arg(short = 'O', long = "to", value_name = "DIR")]
    to: PathBuf,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::backup(cx, &self.id, &self.to).await).await
    }
}
