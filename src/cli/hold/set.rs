//! `tenantctl hold set`.

use crate::cli::app::App;
use crate::cli::args;
use crate::cli::living::Living;
use crate::ops::{self, HoldChange};
use crate::report::Report;

/// Hold tenants for a reason: a case, an audit
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    living: Living,
    /// What they are held for
    #[arg(long, value_name = "TEXT", value_parser = args::reason)]
    reason: String,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.living.options(Some(self.reason.clone()));
        let change = HoldChange::Set(self.reason);
        app.with_fleet(async |cx| ops::change_hold(cx, &change, &options).await).await
    }
}
