//! `tenantctl credentials issue`.

use jiff::SignedDuration;

use super::delivering::Delivering;
use super::{Changing, Whose, time};
use crate::cli::app::App;
use crate::cli::consent::Asked;
use crate::ops;
use crate::plan::credentials::Wish;
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
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let wish = Wish::Issue { valid_for: self.valid_for };
        let options = self.changing.options(self.whose, self.delivering, wish, false);
        let asked = Asked { app, command: "credentials issue", word: "issue" };
        app.with_fleet(async |cx| ops::change_credentials(cx, &options, &asked).await).await
    }
}
