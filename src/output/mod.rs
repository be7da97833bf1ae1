//! The only layer that speaks to the terminal: answers on stdout, the story on stderr.

mod artefact;
mod bars;
mod board;
mod canvas;
mod compared;
mod credentials;
mod demo;
mod explained;
mod failure;
mod findings;
mod github;
mod grouped;
mod human;
mod json;
mod junit;
mod layout;
mod linted;
mod log;
mod markdown;
mod metrics;
mod migration;
mod new_migration;
mod notice;
mod progress;
mod pulse;
mod rewritten;
mod rollout;
mod runs;
mod sarif;
mod status;
mod stream;
mod style;
mod summary;
mod terminal;

pub use artefact::Artefacts;
pub use demo::scene;
pub use failure::{failure_human, failure_json};
pub use log::{LogFormat, start_log};
pub use progress::{Progress, observer};
pub use stream::Stream;
pub use style::Style;
pub use terminal::{answer, story};

use crate::report::Report;

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON document.
    Json,
    /// One JSON document per line: one per item, for streams.
    Ndjson,
    /// SARIF 2.1.0; like the formats below, only for answers that are findings.
    Sarif,
    /// `JUnit` XML.
    Junit,
    /// Annotations of GitHub Actions.
    Github,
    /// A table in Markdown.
    Markdown,
}

impl Format {
    /// Whether it can say nothing but findings.
    pub fn is_for_findings(self) -> bool {
        matches!(self, Self::Sarif | Self::Junit | Self::Github | Self::Markdown)
    }
}

/// Renders an answer. The verdict is the report's: nothing here can change it.
pub fn render(report: &Report, format: Format, style: &Style) -> String {
    let findings = |render: fn(&notice::Notices<'_>) -> String| {
        // The command line offers these formats for findings alone.
        notice::notices(report).map_or_else(|| json::document(report), |found| render(&found))
    };
    match format {
        Format::Human => human::render(report, style),
        Format::Json => json::document(report),
        Format::Ndjson => json::lines(report),
        Format::Sarif => findings(sarif::render),
        Format::Junit => findings(junit::render),
        Format::Github => findings(github::render),
        Format::Markdown => findings(markdown::render),
    }
}
