//! What the verbs that rewrite histories ask for alike.

use crate::cli::args::{Selecting, Waiting};
use crate::ops::RewriteOptions;

#[derive(clap::Args)]
pub(super) struct Rewriting {
    #[command(flatten)]
    selecting: Selecting,
    /// Why; the audit trail keeps it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl From<Rewriting> for RewriteOptions {
    fn from(rewriting: Rewriting) -> Self {
        Self {
            selection: rewriting.selecting.into(),
            reason: rewriting.reason,
            dry_run: rewriting.dry_run,
            lock_wait: rewriting.waiting.tenant_lock_wait,
            limits: rewriting.waiting.limits(),
        }
    }
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("say why".to_owned()) } else { Ok(text.to_owned()) }
}
