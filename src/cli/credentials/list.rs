//! `tenantctl credentials list`.

use jiff::SignedDuration;

use super::{Whose, time};
use crate::cli::app::App;
use crate::ops;
use crate::report::Report;

/// List logins: which password is current, how old it is, until when it works, and who uses it
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// What is older is old; otherwise as tenants.toml says, otherwise 90d
    #[arg(long, value_name = "DURATION", value_parser = time)]
    max_age: Option<SignedDuration>,
    /// Exit with 2 when a current password is old or has expired
    #[arg(long)]
    check: bool,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let selection = self.whose.into();
        app.with_fleet(async |cx| {
            let max_age = self.max_age.unwrap_or(cx.fleet.password_age);
            ops::list_credentials(cx, &selection, max_age, self.check).await
        })
        .await
    }
}
