//! `tenantctl restore`.

use super::app::App;
use super::args;
use super::arriving::Arriving;
use crate::archive::Source;
use crate::model::tenant::TenantId;
use crate::ops::{self, RestoreOptions};
use crate::report::Report;

/// Make a tenant of a backup, or try whether that would work
///
/// The backup is restored into a database of its own and compared, table by table, with what was
/// recorded when it was made; then the tenant is made and filled as import does, and the database is
/// dropped. A run that was interrupted is finished by the next.
#[derive(clap::Args)]
pub(super) struct Args {
    /// What tenantctl backup wrote
    #[arg(value_name = "DIR|URL")]
    from: String,
    /// The tenant's id; otherwise the one it had
    #[arg(long = "as", value_name = "ID", value_parser = args::tenant)]
    as_id: Option<TenantId>,
    /// Restore beside, compare, drop: make no tenant
    #[arg(long, conflicts_with = "as_id")]
    verify: bool,
    /// Go on where large objects would stay behind
    #[arg(long)]
    leave_large_objects: bool,
    #[command(flatten)]
    arriving: Arriving,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = RestoreOptions {
            from: Source::of(&self.from)?,
            as_id: self.as_id,
            verify: self.verify,
            leave_large_objects: self.leave_large_objects,
            fill: self.arriving.into(),
        };
        app.with_fleet(async |cx| ops::restore(cx, &options).await).await
    }
}
