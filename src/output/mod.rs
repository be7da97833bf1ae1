//! The only layer that speaks to the terminal: answers on stdout, the story on stderr.

mod compared;
mod demo;
mod failure;
mod findings;
mod human;
mod json;
mod layout;
mod log;
mod migration;
mod progress;
mod rollout;
mod style;
mod terminal;

pub use demo::scene;
pub use failure::{failure_human, failure_json};
pub use log::{LogFormat, start_log};
pub use progress::{Progress, observer};
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
}

/// Renders an answer. The verdict is the report's: nothing here can change it.
pub fn render(report: &Report, format: Format, style: &Style) -> String {
    match format {
        Format::Human => human::render(report, style),
        Format::Json => json::document(report),
        Format::Ndjson => json::lines(report),
    }
}
