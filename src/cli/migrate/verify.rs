//! `tenantctl migrate verify`.

use crate::cli::app::App;
use crate::cli::args::{self, Selecting};
use crate::model::tenant::TenantId;
use crate::ops::{self, SchemasOptions};
use crate::report::Report;

/// Find schemas that are not what their history claims; changes nothing
///
/// Compares tables, columns, indexes, constraints, triggers, functions, views, types, policies, owners
/// and grants of every schema with the fleet's schemas of the same version. Exits with 2 when one
/// deviates. What all of them have alike is only found with --against-files.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// The tenant whose schema is right; otherwise the one that most have
    #[arg(long, value_name = "ID", value_parser = args::tenant)]
    against: Option<TenantId>,
    /// Compare with what the migration files make as well
    ///
    /// The files of each version are applied to a schema that nobody sees, in one transaction that is
    /// rolled back: nothing stays, and no tenant is touched. That needs CREATE on the database
    /// (tenants with a database of their own: on the cluster's), and CREATEROLE where tenants have
    /// roles of their own. Where it cannot be done, that is said, and the exit status is 3. Owners,
    /// grants to roles and versions of extensions are not the files': the fleet says what is right.
    #[arg(long, conflicts_with = "against")]
    against_files: bool,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = SchemasOptions {
            selection: self.selecting.into(),
            against: self.against,
            files: self.against_files,
        };
        app.with_fleet(async |cx| ops::verify_schemas(cx, &options).await).await
    }
}
