//! `tenantctl audit verify`.

use crate::cli::app::App;
use crate::cli::args;
use crate::model::trail::EventHash;
use crate::ops;
use crate::report::Report;

/// Check that no event was changed, taken out, put in between or cut off
///
/// Whoever owns the registry can write the whole log anew, hashes and all. That shows only against
/// a head that was kept elsewhere: keep what this command prints, and give it the next time.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A head that was printed before: it must still be in the log
    #[arg(long, value_name = "HASH", value_parser = hash)]
    expect_head: Option<EventHash>,
}

fn hash(text: &str) -> Result<EventHash, String> {
    text.parse().map_err(args::spoken)
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        app.with_fleet(async |cx| ops::audit_verify(cx, self.expect_head).await).await
    }
}
