//! `tenantctl credentials`: one file per verb.

mod delivering;

use std::time::Duration;

use jiff::SignedDuration;

use self::delivering::Delivering;
use super::app::App;
use super::args::{self, Selecting};
use crate::model::tenant::TenantId;
use crate::ops::{ChangeOptions, Selection};
use crate::plan::credentials::Wish;
use crate::plan::waves::Share;
use crate::report::Report;

/// Give the roles that log in passwords, and new ones before the old ones end
///
/// Each role has two logins: itself and `<role>-b`, which becomes it. A rotation gives the one that
/// is idle a new password and the other its grace, so both work for a while. Only verifiers reach
/// the server; the registry keeps dates.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

commands! {
    issue => Issue,
    rotate => Rotate,
    list => List,
    revoke => Revoke,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        self.command.run(app).await
    }
}

/// Whose credentials.
#[derive(clap::Args, Clone)]
struct Whose {
    /// Tenants; all without one, and without a selection
    #[arg(value_name = "ID", value_parser = args::tenant)]
    ids: Vec<TenantId>,
    #[command(flatten)]
    selecting: Selecting,
}

impl From<Whose> for Selection {
    fn from(whose: Whose) -> Self {
        let mut selection: Self = whose.selecting.into();
        selection.tenants.extend(whose.ids);
        selection
    }
}

/// What `issue` and `rotate` ask for alike.
#[derive(clap::Args)]
struct Changing {
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

impl Changing {
    fn options(
        self,
        whose: Whose,
        delivering: Delivering,
        wish: Wish,
        end_sessions: bool,
    ) -> ChangeOptions {
        ChangeOptions {
            selection: whose.into(),
            wish,
            end_sessions,
            delivery: delivering.into(),
            dry_run: self.dry_run,
            max_failures: self.max_failures,
            lock_wait: self.tenant_lock_wait,
            run: uuid::Uuid::now_v7(),
        }
    }
}

/// Reads a time in days, hours, minutes or seconds: `90d`, `12h`, `0s`.
fn time(text: &str) -> Result<SignedDuration, String> {
    args::long_duration(text)
}
