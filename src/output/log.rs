//! The log on stderr: silent unless it is asked for.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::progress::Progress;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Starts the log: warnings, with `-v` what happens, with `-vv` every detail. Statements are
/// logged, their parameters never.
pub fn start_log(verbosity: u8, format: LogFormat, progress: Progress) {
    let filter = match verbosity {
        0 => "off",
        1 => "warn,tenantctl=info,refinery_core=info",
        2 => "info,tenantctl=debug,refinery_core=info",
        _ => "debug,tokio_postgres=info",
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(Beside(progress))
        .with_ansi(false)
        .with_target(verbosity > 1);
    let started = match format {
        LogFormat::Human => builder.without_time().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // A second start in one process keeps the first log.
    drop(started);
}

/// Writes to stderr without tearing the progress bars.
struct Beside(Progress);

impl<'a> MakeWriter<'a> for Beside {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { progress: self.0.clone(), text: Vec::new() }
    }
}

/// One line of the log, written when it is complete.
struct Line {
    progress: Progress,
    text: Vec<u8>,
}

impl io::Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        self.progress.suspend(|| super::terminal::story(&text));
    }
}
