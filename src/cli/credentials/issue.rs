//! `tenantctl credentials issue`.

use std::time::Duration;

use jiff::SignedDuration;

use super::delivering::Delivering;
use super::{Whose, time};
use crate::cli::app::App;
use crate::cli::args;
use crate::cli::consent::Asked;
use crate::ops::{self, ChangeOptions};
use crate::plan::credentials::Wish;
use crate::plan::waves::Share;
use crate::report::Report;

/// Give tenants that have no password their first one
///
/// A role that has sessions already is refused: somebody knows a password of it. `credentials
/// rotate` gives it a new one beside the old.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    delivering: Delivering,
    /// How long the password works; without it, until it is replaced
    #[arg(long, value_name = "DURATION", value_parser = time)]
    valid_for: Option<SignedDuration>,
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
        let options = ChangeOptions {
            selection: self.whose.into(),
            wish: Wish::Issue { valid_for: self.valid_for },
            end_sessions: false,
            delivery: self.delivering.into(),
            dry_run: self.dry_run,
            max_failures: self.max_failures,
            lock_wait: self.tenant_lock_wait,
            run: uuid::Uuid::now_v7(),
        };
        let asked = Asked { app, command: "credentials issue", word: "issue" };
        app.with_fleet(async |cx| ops::change_credentials(cx, &options, &asked).await).await
    }
}
