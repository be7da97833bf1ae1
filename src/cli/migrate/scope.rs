//! Whom a verb is about, and up to where.

use crate::cli::args::{self, Selecting};
use crate::model::migration::Version;
use crate::ops::StatusOptions;

#[derive(clap::Args)]
pub(super) struct Scope {
    #[command(flatten)]
    selecting: Selecting,
    /// Up to this version, not further
    #[arg(long, value_name = "VERSION", value_parser = args::version)]
    to: Option<Version>,
    /// Change nothing; exit with 2 when migrations are pending
    #[arg(long)]
    check: bool,
}

impl From<Scope> for StatusOptions {
    fn from(scope: Scope) -> Self {
        Self { selection: scope.selecting.into(), to: scope.to, check: scope.check }
    }
}
