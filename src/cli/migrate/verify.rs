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
/// deviates.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// The tenant whose schema is right; otherwise the one that most have
    #[arg(long, value_name = "ID", value_parser = args::tenant)]
    against: Option<TenantId>,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = SchemasOptions { selection: self.selecting.into(), against: self.against };
        app.with_fleet(async |cx| ops::verify_schemas(cx, &options).await).await
    }
}
