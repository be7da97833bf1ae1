//! `tenantctl migrate status`.

use super::beside::Beside;
use super::scope::Scope;
use crate::cli::app::App;
use crate::ops;
use crate::report::Report;

/// Say which version each tenant has and what is pending; changes nothing
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    beside: Beside,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = self.scope.into();
        let status = app.with_fleet(async |cx| ops::status(cx, &options).await);
        self.beside.run(app, "migrate status", status).await
    }
}
