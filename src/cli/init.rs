//! `tenantctl init`.

use super::app::App;
use crate::error::{Code, Error};
use crate::ops;
use crate::report::Report;

/// Write a commented tenants.toml into this directory
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    #[expect(clippy::unused_async, reason = "every command is called alike")]
    pub(super) async fn run(self, _: &App) -> anyhow::Result<Report> {
        let here = std::env::current_dir()
            .map_err(|error| Error::new(Code::Io, "find the working directory").because(error))?;
        ops::init(&here)
    }
}
