//! `tenantctl credentials rotate`.

use jiff::SignedDuration;

use super::delivering::Delivering;
use super::{Changing, Whose, time};
use crate::cli::app::App;
use crate::cli::consent::Asked;
use crate::ops;
use crate::plan::credentials::Wish;
use crate::report::Report;

/// Give tenants new passwords; the old ones work until their grace is over
///
/// A tenant whose old password still has its grace is left alone, so that a run that was cut off is
/// run again to go on. For a secret that leaked: --now --end-sessions.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    delivering: Delivering,
    /// Only passwords that are older, or of unknown age
    #[arg(long, value_name = "DURATION", value_parser = time)]
    max_age: Option<SignedDuration>,
    /// How long the old password goes on working
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = time)]
    grace: SignedDuration,
    /// How long the new password works; without it, until it is replaced
    #[arg(long, value_name = "DURATION", value_parser = time)]
    valid_for: Option<SignedDuration>,
    /// End the old password at once; wants --yes, or the verb typed
    #[arg(long, conflicts_with = "grace")]
    now: bool,
    /// End the sessions that began with the old password
    #[arg(long, requires = "now")]
    end_sessions: bool,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let wish = Wish::Rotate {
            max_age: self.max_age,
            grace: self.grace,
            now: self.now,
            valid_for: self.valid_for,
        };
        let options = self.changing.options(self.whose, self.delivering, wish, self.end_sessions);
        let asked = Asked { app, command: "credentials rotate", word: "rotate" };
        app.with_fleet(async |cx| ops::change_credentials(cx, &options, &asked).await).await
    }
}
