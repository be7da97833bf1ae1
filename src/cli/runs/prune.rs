//! `tenantctl runs prune`.

use jiff::SignedDuration;

use crate::cli::app::App;
use crate::cli::args;
use crate::cli::consent::Asked;
use crate::ops::{self, PruneOptions};
use crate::plan::retention::Retention;
use crate::report::Report;

/// Forget old runs, and what they noted of their tenants
///
/// A run that goes on stays, and so does the last one that tried a tenant of the fleet: why that
/// tenant failed is known from nowhere else. A run that is forgotten can be neither resumed nor
/// taken back.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Those that ended longer ago than this: 90d, 12h
    #[arg(long, value_name = "DURATION", value_parser = args::long_duration, required_unless_present = "keep")]
    older_than: Option<SignedDuration>,
    /// All but the newest N; with --older-than, the newest N stay however old they are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Show what would be removed, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let retention = Retention {
            older_than: self.older_than.map(SignedDuration::unsigned_abs),
            keep: self.keep.map(|keep| usize::try_from(keep).unwrap_or(usize::MAX)),
        };
        let options = PruneOptions { retention, dry_run: self.dry_run };
        let asked = Asked { app, command: "runs prune", word: "prune" };
        app.with_fleet(async |cx| ops::prune_runs(cx, &options, &asked).await).await
    }
}
