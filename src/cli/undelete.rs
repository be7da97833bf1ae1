//! `tenantctl undelete`.

use super::app::App;
use super::living::Living;
use crate::ops::{self, LifeVerb};
use crate::report::Report;

/// Bring deleted tenants back as they were, until their grace is over
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    living: Living,
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.living.options(self.reason);
        app.with_fleet(async |cx| ops::change_life(cx, LifeVerb::Undelete, &options).await).await
    }
}
