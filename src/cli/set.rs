//! `tenantctl set`.

use std::time::Duration;

use super::app::App;
use super::args::{self, Selecting};
use crate::error::{Code, Error};
use crate::model::tenant::TenantId;
use crate::ops::{self, Selection, SetOptions};
use crate::plan::waves::Share;
use crate::report::Report;

/// Give tenants another tier, region or labels, and make the servers enforce their tiers
///
/// Connection limits and settings of tenants' own roles and databases become what their tier says;
/// what a tier no longer says is reset. Without anything to change, the tiers are enforced as they
/// are; --check says who differs.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Tenants
    #[arg(value_name = "ID", value_parser = args::tenant)]
    ids: Vec<TenantId>,
    #[command(flatten)]
    selecting: Selecting,
    /// Their tier
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// No tier
    #[arg(long, conflicts_with = "tier")]
    no_tier: bool,
    /// The region they must stay in; refused unless their cluster is there
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// A label to give or to change; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = args::label)]
    labels: Vec<(String, String)>,
    /// A label to take away; may be repeated
    #[arg(long = "remove-label", value_name = "NAME")]
    without: Vec<String>,
    /// Change nothing, and exit with 2 when somebody differs
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Begin nothing more when more tenants than this have failed: 5 or 2%
    #[arg(long, value_name = "N|P%", value_parser = args::share)]
    max_failures: Option<Share>,
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    tenant_lock_wait: Duration,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let changes = self.tier.is_some()
            || self.no_tier
            || self.region.is_some()
            || !self.labels.is_empty()
            || !self.without.is_empty();
        let mut selection: Selection = self.selecting.into();
        selection.tenants.extend(self.ids);
        if changes && selection.tenants.is_empty() && selection.selector.is_none() {
            return Err(Error::new(
                Code::Usage,
                "say whom to change: name tenants, or select them",
            )
            .hint("the whole fleet is --selector state=active")
            .into());
        }
        let options = SetOptions {
            selection,
            tier: if self.no_tier { Some(None) } else { self.tier.map(Some) },
            region: self.region,
            labels: self.labels.into_iter().collect(),
            without: self.without,
            dry_run: self.dry_run,
            check: self.check,
            max_failures: self.max_failures,
            lock_wait: self.tenant_lock_wait,
        };
        app.with_fleet(async |cx| ops::set(cx, &options).await).await
    }
}
