//! `tenantctl completions`.

use super::app::App;
use crate::report::Report;

/// Print a completion script for a shell
#[derive(clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl Args {
    #[expect(clippy::unused_async, reason = "every command is called alike")]
    pub(super) async fn run(self, _: &App) -> anyhow::Result<Report> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "tenantctl", &mut script);
        Ok(Report::Text(String::from_utf8_lossy(&script).into_owned()))
    }
}
