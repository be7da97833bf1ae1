//! `tenantctl migrate baseline`.

use super::rewriting::Rewriting;
use crate::cli::app::App;
use crate::cli::args;
use crate::cli::consent::Asked;
use crate::model::migration::Version;
use crate::ops;
use crate::report::Report;

/// Record migrations as applied without running them, where something else made the objects
///
/// For schemas that have objects and no history: the rows are refinery's own. Running it again says
/// "nothing to do".
#[derive(clap::Args)]
pub(super) struct Args {
    /// The newest version whose objects are there
    #[arg(long, value_name = "VERSION", value_parser = args::version)]
    to: Version,
    #[command(flatten)]
    rewriting: Rewriting,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.rewriting.into();
        let asked = Asked { app, command: "migrate baseline", word: "baseline" };
        app.with_fleet(async |cx| ops::baseline(cx, &options, self.to, &asked).await).await
    }
}
