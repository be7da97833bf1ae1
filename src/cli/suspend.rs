//! `tenantctl suspend`.

use super::app::App;
use super::living::Living;
use crate::ops::{self, LifeVerb};
use crate::report::Report;

/// Close tenants to their applications, and end their sessions; everything is kept
///
/// Their roles cannot log in, use their schemas or connect to their databases; rows in shared tables
/// are closed by a policy. Migrations still reach them.
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
        app.with_fleet(async |cx| ops::change_life(cx, LifeVerb::Suspend, &options).await).await
    }
}
