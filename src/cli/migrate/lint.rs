//! `tenantctl migrate lint`.

use std::path::PathBuf;

use crate::cli::app::App;
use crate::cli::args::{self, Model};
use crate::model::migration::Version;
use crate::model::severity::Severity;
use crate::ops::{self, LintOptions};
use crate::report::Report;

/// Judge migration files before they are applied; needs no server
///
/// Without FILES every directory that tenants.toml names is judged, or that of --migrations. With FILES only
/// those are: the other files of their directory say what is there already. Exits with 2 when
/// something is found. `-- tenantctl:allow RULE reason` in the head of a file, or above a statement,
/// allows to break a rule there.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Files, or directories of files
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The isolation model they are for; otherwise as tenants.toml says, or as the tables look
    #[arg(long, value_enum, value_name = "MODEL")]
    isolation: Option<Model>,
    /// Files up to this version were applied: they are not judged
    #[arg(long, value_name = "VERSION", value_parser = args::version)]
    since: Option<Version>,
    /// From which severity on a finding fails: critical, high, medium, low or info
    #[arg(long, value_name = "SEVERITY", default_value = "high", value_parser = args::severity)]
    fail_on: Severity,
}

impl Args {
    #[expect(clippy::unused_async, reason = "every command is called alike")]
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = LintOptions {
            files: self.files,
            isolation: self.isolation.map(Into::into),
            since: self.since,
            fail_on: self.fail_on,
        };
        ops::lint(&app.fleet()?, &options)
    }
}
