//! `tenantctl purge`.

use std::path::PathBuf;
use std::time::Duration;

use super::app::App;
use super::args;
use super::consent::Typed;
use crate::model::tenant::TenantId;
use crate::ops::{self, LifeOptions, PurgeOptions, Selection, Selector};
use crate::report::Report;

/// Remove deleted tenants whose grace is over: rows, schemas, databases, roles; with a receipt
///
/// What is removed is found in the catalogues. Nothing goes that another tenant's data hang on, and
/// nothing that is held. Killed anywhere, it is finished by the next run.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenants
    #[arg(value_name = "ID", value_parser = args::tenant, required_unless_present_any = ["selector", "expired"])]
    tenants: Vec<TenantId>,
    /// Everybody whose grace is over and whom nothing holds
    #[arg(long, conflicts_with_all = ["tenants", "selector"])]
    expired: bool,
    /// Those that fit every condition: state=deleting,tier=free,LABEL=VALUE
    #[arg(long, value_name = "EXPR", value_parser = args::selector)]
    selector: Option<Selector>,
    /// Where the receipt is written: a file, or a directory for several; otherwise here
    #[arg(long, value_name = "PATH")]
    receipt: Option<PathBuf>,
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show what would be removed, with its SQL, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    tenant_lock_wait: Duration,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = PurgeOptions {
            life: LifeOptions {
                selection: Selection {
                    tenants: self.tenants,
                    exclude: Vec::new(),
                    selector: self.selector,
                },
                dry_run: self.dry_run,
                reason: self.reason,
                lock_wait: self.tenant_lock_wait,
            },
            expired: self.expired,
            at_once: false,
            receipt: self.receipt,
        };
        let asked = Typed { app, verb: "purge" };
        app.with_fleet(async |cx| ops::purge(cx, &options, &asked).await).await
    }
}
