//! `tenantctl migrate down`.

use super::rewriting::Rewriting;
use crate::cli::app::App;
use crate::cli::args;
use crate::cli::consent::Asked;
use crate::error::{Code, Error};
use crate::model::migration::Version;
use crate::ops::{self, DownTo};
use crate::report::Report;

/// Take migrations back with the files in down/, newest first, one transaction per tenant
///
/// Nothing is begun unless every tenant can be taken back: each version has its file
/// `down/<version>__<name>.sql`, and no newer migration stands on it.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Exactly what this run applied, in the tenants in which it did
    #[arg(long, value_name = "RUN", required_unless_present = "to", conflicts_with = "to")]
    run: Option<String>,
    /// Everything above this version; 0 is everything
    #[arg(long, value_name = "VERSION", value_parser = args::version)]
    to: Option<Version>,
    #[command(flatten)]
    rewriting: Rewriting,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.rewriting.into();
        let to = match (self.run, self.to) {
            (Some(run), _) => DownTo::Run(run),
            (None, Some(to)) => DownTo::Version(to),
            (None, None) => {
                return Err(Error::new(Code::Usage, "say how far back: --run RUN or --to V").into());
            }
        };
        let asked = Asked { app, command: "migrate down", word: "down" };
        app.with_fleet(async |cx| ops::down(cx, &options, &to, &asked).await).await
    }
}
