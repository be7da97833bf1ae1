//! `tenantctl backup`.

use super::app::App;
use super::args;
use crate::archive::Destination;
use crate::model::tenant::TenantId;
use crate::ops::{self, BackupOptions};
use crate::report::Report;

/// Have PostgreSQL's own program write down a tenant's schema or database
///
/// The directory holds what `pg_dump` wrote, for `pg_restore`, and a manifest with the row count and
/// the checksum of every table at the same moment. The dump is read again, and must have as many rows.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant's id
    #[arg(value_name = "ID", value_parser = args::tenant)]
    id: TenantId,
    /// A directory that does not exist yet, or `s3://bucket/key`
    #[arg(short = 'O', long = "to", value_name = "DIR|URL")]
    to: String,
    /// Go on where large objects would stay behind
    #[arg(long)]
    leave_large_objects: bool,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        // What ends in .tar is a directory here: a dump is written by another program.
        let to = match Destination::of(&self.to)? {
            Destination::Tar(path) => Destination::Directory(path),
            other => other,
        };
        let options = BackupOptions { to, leave_large_objects: self.leave_large_objects };
        app.with_fleet(async |cx| ops::backup(cx, &self.id, &options).await).await
    }
}
