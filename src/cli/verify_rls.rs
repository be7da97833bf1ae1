//! `tenantctl verify-rls`.

use super::app::App;
use super::args::{self, Selecting};
use crate::audit::Severity;
use crate::model::probe::ProbeOptions;
use crate::ops::{self, VerifyOptions};
use crate::report::Report;

/// Prove that no tenant can see another, or show where one can
///
/// Reads the catalogues of every database that holds a selected tenant, then acts as the
/// application inside a transaction that is rolled back. Needs no registry: a list in tenants.toml
/// is enough. Exits with 2 when something is found.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// Judge the catalogues only
    #[arg(long = "static", conflicts_with = "probe")]
    catalogues: bool,
    /// Act as the application only
    #[arg(long)]
    probe: bool,
    /// Run TRUNCATE as well, which locks tables against everybody for a moment
    #[arg(long, conflicts_with = "catalogues")]
    probe_truncate: bool,
    /// From which severity on a finding fails: critical, high, medium, low or info
    #[arg(long, value_name = "SEVERITY", default_value = "high", value_parser = args::severity)]
    fail_on: Severity,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = VerifyOptions {
            selection: self.selecting.into(),
            catalogues: !self.probe,
            probes: !self.catalogues,
            probing: ProbeOptions { truncate: self.probe_truncate, ..ProbeOptions::default() },
            fail_on: self.fail_on,
        };
        app.with_fleet(async |cx| ops::verify(cx, &options).await).await
    }
}
