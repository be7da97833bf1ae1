//! The only layer that speaks to the terminal: answers on stdout, the story on stderr.

mod adopted;
mod artefact;
mod bars;
mod board;
mod canvas;
mod compared;
mod credentials;
mod demo;
mod drilled;
mod erased;
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
mod lived;
mod log;
mod markdown;
mod matrix;
mod metrics;
mod migration;
mod moved;
mod new_migration;
mod notice;
mod progress;
mod pruned;
mod pulse;
mod rewritten;
mod rollout;
mod runs;
mod sarif;
mod settled;
mod status;
mod stream;
mod style;
mod summary;
mod terminal;
mod trail;
mod transferred;

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
    /// SARIF 2.1.0, for findings.
    Sarif,
    /// `JUnit` XML, for findings.
    Junit,
    /// Annotations of GitHub Actions, for findings.
    Github,
    /// Tables in Markdown, for findings and what is read beside them.
    Markdown,
    /// Values between commas, for tables.
    Csv,
}

impl Format {
    /// The formats that every command answers in.
    pub const EVERYWHERE: [Self; 3] = [Self::Human, Self::Json, Self::Ndjson];

    /// The formats that only answers with findings are written in, besides.
    pub const FOR_FINDINGS: [Self; 4] = [Self::Sarif, Self::Junit, Self::Github, Self::Markdown];

    /// The word of `-o`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Sarif => "sarif",
            Self::Junit => "junit",
            Self::Github => "github",
            Self::Markdown => "markdown",
            Self::Csv => "csv",
        }
    }
}

/// Renders an answer. The verdict is the report's: nothing here can change it.
pub fn render(report: &Report, format: Format, style: &Style) -> String {
    // The command line refuses a format that a command does not answer in.
    let findings = |render: fn(&notice::Notices<'_>) -> String| {
        notice::notices(report).map_or_else(|| json::document(report), |found| render(&found))
    };
    match format {
        Format::Human => human::render(report, style),
        Format::Json => json::document(report),
        Format::Ndjson => json::lines(report),
        Format::Sarif => findings(sarif::render),
        Format::Junit => findings(junit::render),
        Format::Github => findings(github::render),
        Format::Markdown => match report {
            Report::Rule(rule) => explained::markdown(rule),
            Report::Rules(rules) => explained::list_markdown(rules),
            Report::Matrix(answer) => matrix::markdown(answer),
            _ => findings(markdown::render),
        },
        Format::Csv => match report {
            Report::Matrix(answer) => matrix::csv(answer),
            _ => json::document(report),
        },
    }
}
