//! `tenantctl demo`.

use super::app::App;
use crate::error::{Code, Error};
use crate::ops;
use crate::output::{self, Format};
use crate::report::Report;

/// Show it all on a PostgreSQL of its own: tenants in three models, migrated, kept apart
///
/// Starts a private server from whatever PostgreSQL is installed, without a TCP port, and leaves
/// nothing behind. The variable `TENANTCTL_PG_BIN` names the programs of another installation.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Leave the server running, and say how to use and stop it
    #[arg(long)]
    keep: bool,
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        if app.names_a_fleet() {
            return Err(Error::new(Code::Usage, "the demo brings a fleet of its own")
                .hint("leave out --config, --database-url and --migrations")
                .into());
        }
        let observer = app.observer();
        let tells = app.format() == Format::Human && !app.quiet();
        let tell = |scene: &_| {
            if tells {
                // A scene that nobody can read is no reason to leave the server behind.
                drop(output::answer(&output::scene(scene, app.style())));
            }
        };
        ops::demo(self.keep, observer.as_ref(), app.interrupt(), tell).await
    }
}
