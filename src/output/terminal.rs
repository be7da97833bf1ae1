//! stdout and stderr. A reader that goes away ends the output, not the verdict.

use std::io::{self, Write as _};

/// Writes an answer to stdout.
pub fn answer(text: &str) {
    quietly(io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()));
}

/// Writes to stderr.
pub fn story(text: &str) {
    quietly(io::stderr().lock().write_all(text.as_bytes()));
}

fn quietly(written: io::Result<()>) {
    if let Err(error) = written {
        // The pipe is closed: there is nobody left to tell.
        log::debug!("output ended: {error}");
    }
}
