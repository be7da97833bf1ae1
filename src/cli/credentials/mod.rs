//! `tenantctl credentials`: one file per verb.

mod delivering;

use jiff::SignedDuration;

use super::app::App;
use super::args::{self, Selecting};
use crate::model::tenant::TenantId;
use crate::ops::Selection;
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

/// Reads a time in days, hours, minutes or seconds: `90d`, `12h`, `0s`.
fn time(text: &str) -> Result<SignedDuration, String> {
    args::long_duration(text)
}
