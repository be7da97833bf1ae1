//! `tenantctl import`.

use super::app::App;
use super::args;
use super::arriving::Arriving;
use crate::archive::Source;
use crate::model::tenant::TenantId;
use crate::ops::{self, ImportOptions};
use crate::report::Report;

/// Make a tenant of an archive
///
/// The archive is checked before anything is touched. The tenant gets its schema at the archive's
/// version, then every row in one transaction, and is active when all of them were compared. A run
/// that was interrupted is finished by the next.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The archive that tenantctl export wrote
    #[arg(value_name = "DIR|FILE.tar|URL")]
    archive: String,
    /// The tenant's id; otherwise the one it had
    #[arg(long = "as", value_name = "ID", value_parser = args::tenant)]
    as_id: Option<TenantId>,
    #[command(flatten)]
    arriving: Arriving,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = ImportOptions {
            from: Source::of(&self.archive)?,
            as_id: self.as_id,
            fill: self.arriving.into(),
        };
        app.with_fleet(async |cx| ops::import(cx, &options).await).await
    }
}
