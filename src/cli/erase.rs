//! `tenantctl erase`.

use std::path::PathBuf;
use std::time::Duration;

use super::app::App;
use super::args;
use super::consent::{AskedAbout, Typed};
use crate::model::tenant::TenantId;
use crate::ops::{self, EraseOptions, LifeOptions, PurgeOptions, Selection};
use crate::report::Report;

/// Erase a tenant at once, or with a file what it knows of a person, and what hangs on that
///
/// Without a file everything goes that the tenant has, as `purge` removes it, without any grace, and a
/// receipt is left. A file maps tables to conditions, and foreign keys to what becomes of rows that
/// refer to erased ones; all of it is one transaction. Nothing goes that is held.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// The file that says which rows; without it, all that the tenant is
    #[arg(long, value_name = "FILE")]
    where_file: Option<PathBuf>,
    /// Where the receipt of a whole tenant is written: a file, or a directory; otherwise here
    #[arg(long, value_name = "PATH", conflicts_with = "where_file")]
    receipt: Option<PathBuf>,
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
        let (id, reason, dry_run) = (self.id, self.reason, self.dry_run);
        let lock_wait = self.tenant_lock_wait;
        if let Some(where_file) = self.where_file {
            let options = EraseOptions { where_file, dry_run, reason, lock_wait };
            let asked = AskedAbout { app, command: "erase", tenant: &id };
            return app.with_fleet(async |cx| ops::erase(cx, &id, &options, &asked).await).await;
        }
        let selection = Selection { tenants: vec![id], exclude: Vec::new(), selector: None };
        let options = PurgeOptions {
            life: LifeOptions { selection, dry_run, reason, lock_wait },
            expired: false,
            at_once: true,
            receipt: self.receipt,
        };
        let asked = Typed { app, verb: "erase" };
        app.with_fleet(async |cx| ops::purge(cx, &options, &asked).await).await
    }
}
