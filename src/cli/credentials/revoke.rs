//! `tenantctl credentials revoke`.

use std::time::Duration;

use super::Whose;
use crate::cli::app::App;
use crate::cli::args;
use crate::cli::consent::Asked;
use crate::error::{Code, Error};
use crate::ops::{self, RevokeOptions, Selection};
use crate::report::Report;

/// Take passwords away: all of a tenant's, or those that a rotation has replaced
///
/// Wants --yes, or the verb typed, unless only --old ones go.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// Only what a rotation has replaced and still has its grace
    #[arg(long)]
    old: bool,
    /// End the sessions that began with what is taken away
    #[arg(long)]
    end_sessions: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    tenant_lock_wait: Duration,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let selection: Selection = self.whose.into();
        if !self.old && selection.tenants.is_empty() && selection.selector.is_none() {
            return Err(Error::new(
                Code::Usage,
                "say whose passwords are taken away: name tenants, or select them",
            )
            .into());
        }
        let options = RevokeOptions {
            selection,
            old: self.old,
            end_sessions: self.end_sessions,
            dry_run: self.dry_run,
            lock_wait: self.tenant_lock_wait,
            run: uuid::Uuid::now_v7(),
        };
        let asked = Asked { app, command: "credentials revoke", word: "revoke" };
        app.with_fleet(async |cx| ops::revoke_credentials(cx, &options, &asked).await).await
    }
}
