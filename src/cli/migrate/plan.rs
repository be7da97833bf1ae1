//! `tenantctl migrate plan`.

use std::path::PathBuf;

use crate::cli::app::App;
use crate::cli::args::{self, Selecting};
use crate::model::migration::Version;
use crate::ops::{self, PlanOptions};
use crate::report::Report;

/// Show what up would do: who goes from where to where, which statements, which locks
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    selecting: Selecting,
    /// Up to this version, not further
    #[arg(long, value_name = "VERSION", value_parser = args::version)]
    to: Option<Version>,
    /// Write the plan to this file
    #[arg(short = 'O', long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options =
            PlanOptions { selection: self.selecting.into(), to: self.to, file: self.out };
        app.with_fleet(async |cx| ops::plan_migrations(cx, &options).await).await
    }
}
