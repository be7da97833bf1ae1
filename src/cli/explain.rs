//! `tenantctl explain`.

use super::app::App;
use crate::ops;
use crate::report::Report;

/// Explain a rule of verify-rls or migrate lint, or list all
#[derive(clap::Args)]
pub(super) struct Args {
    /// The rule's id, as findings name it; every rule is listed without
    #[arg(value_name = "RULE")]
    rule: Option<String>,
}

impl Args {
    #[expect(clippy::unused_async, reason = "every command is called alike")]
    pub(super) async fn run(self, _: &App) -> anyhow::Result<Report> {
        ops::explain(self.rule.as_deref())
    }
}
