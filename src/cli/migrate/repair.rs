//! `tenantctl migrate repair`.

use super::rewriting::Rewriting;
use crate::cli::app::App;
use crate::cli::args;
use crate::cli::consent::Asked;
use crate::model::migration::Version;
use crate::ops;
use crate::report::Report;

/// Make histories say what the files say, where the SQL that was applied is theirs
///
/// Mends what differs by name, line endings, white space at the edges, or the width of refinery's
/// versions. Touches nothing but the history.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Take the file of this version as applied, though it was edited since; or let the row go that
    /// has no file
    #[arg(long = "accept", value_name = "VERSION", value_parser = args::version)]
    accepted: Vec<Version>,
    #[command(flatten)]
    rewriting: Rewriting,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.rewriting.into();
        let accepted = self.accepted.into_iter().collect();
        let asked = Asked { app, command: "migrate repair", word: "repair" };
        app.with_fleet(async |cx| ops::repair(cx, &options, &accepted, &asked).await).await
    }
}
