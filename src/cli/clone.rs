//! `tenantctl clone`.

use super::app::App;
use super::args;
use super::arriving::Arriving;
use crate::model::tenant::TenantId;
use crate::ops::{self, CloneOptions};
use crate::report::Report;

/// Make a tenant like another one, with its rows or without
///
/// The clone has the version, tier, region and labels of the original, and its isolation and cluster
/// unless others are named; its uuid, key and roles are its own.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant whose clone is made
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// The id of the clone
    #[arg(value_name = "NEW", value_parser = args::tenant)]
    new: TenantId,
    /// With every row, as all of them stood at one moment
    #[arg(long)]
    with_data: bool,
    #[command(flatten)]
    arriving: Arriving,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = CloneOptions {
            id: self.id,
            new: self.new,
            with_data: self.with_data,
            fill: self.arriving.into(),
        };
        app.with_fleet(async |cx| ops::clone(cx, &options).await).await
    }
}
