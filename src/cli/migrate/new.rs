//! `tenantctl migrate new`.

use crate::cli::app::App;
use crate::cli::args::Model;
use crate::ops::{self, NewOptions};
use crate::report::Report;

/// Write the next migration file, from a template that keeps to the standards
#[derive(clap::Args)]
pub(super) struct Args {
    /// What it does, in a few words: "add due date"
    #[arg(value_name = "NAME")]
    name: String,
    /// The isolation model whose directory it goes to; needed when there are several
    #[arg(long, value_enum, value_name = "MODEL")]
    isolation: Option<Model>,
    /// Begin it with the directive that sends its statements one by one, outside of a transaction
    #[arg(long)]
    no_transaction: bool,
}

impl Args {
    #[expect(clippy::unused_async, reason = "every command is called alike")]
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let options = NewOptions {
            name: self.name,
            isolation: self.isolation.map(Into::into),
            no_transaction: self.no_transaction,
        };
        ops::new_migration(&app.fleet()?, &options)
    }
}
