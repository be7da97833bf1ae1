//! `tenantctl delete`.

use std::time::Duration;

use super::app::App;
use super::args;
use super::living::Living;
use crate::ops::{self, LifeVerb};
use crate::report::Report;

/// Close tenants, and keep them until a grace is over: undelete brings them back, purge ends it
///
/// Nothing is removed, and the id stays its own. Of a tenant that is deleted already, the grace is
/// set anew.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    living: Living,
    /// How long they are kept: 30d, 12h
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = args::days)]
    grace: Duration,
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.living.options(self.reason);
        let verb = LifeVerb::Delete(self.grace);
        app.with_fleet(async |cx| ops::change_life(cx, verb, &options).await).await
    }
}
