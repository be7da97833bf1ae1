//! What a verb leaves beside its answer.

use std::path::PathBuf;
use std::time::Instant;

use crate::cli::app::App;
use crate::output::{self, Artefacts};
use crate::report::Report;

/// Flags of the files beside the answer.
#[derive(clap::Args)]
pub(super) struct Beside {
    /// Also write a summary in Markdown, for the page of a CI job; also of a run that fails
    #[arg(long, value_name = "FILE")]
    summary_md: Option<PathBuf>,
    /// Also write metrics for the textfile collector of Prometheus; also of a run that fails
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
}

impl Beside {
    /// Runs a verb, and writes the files when its answer is known. That one cannot be written then
    /// is told, and changes nothing of the answer.
    pub(super) async fn run(
        self,
        app: &App,
        command: &'static str,
        verb: impl Future<Output = anyhow::Result<Report>>,
    ) -> anyhow::Result<Report> {
        let artefacts = Artefacts::open(command, self.summary_md, self.metrics_file)?;
        let started = Instant::now();
        let answer = verb.await;
        if let Err(error) = artefacts.write(&answer, started.elapsed()) {
            output::story(&output::failure_human(&error.into(), app.error_style()));
        }
        answer
    }
}
