//! `tenantctl erase`.

use std::path::PathBuf;
use std::time::Duration;

use super::app::App;
use super::args;
use super::consent::AskedAbout;
use crate::model::tenant::TenantId;
use crate::ops::{self, EraseOptions};
use crate::report::Report;

/// Erase what a tenant knows of a person: the rows that a file means, and what hangs on them
///
/// The file maps tables to conditions, and foreign keys to what becomes of rows that refer to erased
/// ones. All of it is one transaction. What is kept is how many rows of which tables.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// The file that says which rows
    #[arg(long, value_name = "FILE")]
    where_file: PathBuf,
    /// Why, for the audit log; no place for what is erased
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Count the rows, and erase nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    tenant_lock_wait: Duration,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = EraseOptions {
            where_file: self.where_file,
            dry_run: self.dry_run,
            reason: self.reason,
            lock_wait: self.tenant_lock_wait,
        };
        let asked = AskedAbout { app, command: "erase", tenant: &self.id };
        app.with_fleet(async |cx| ops::erase(cx, &self.id, &options, &asked).await).await
    }
}
