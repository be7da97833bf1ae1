//! stdout and stderr.

use std::io::{self, Write as _};

use crate::error::{Code, Error};

/// Writes an answer to stdout. A reader that has gone away, such as `head`, is no failure.
///
/// # Errors
///
/// [`Code::Io`] when the answer could not be written for any other reason: it is lost.
pub fn answer(text: &str) -> Result<(), Error> {
    let written =
        io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(Code::Io, "write the answer to stdout").because(error))
        }
        _ => Ok(()),
    }
}

/// Writes to stderr. Nobody can be told when that fails.
pub fn story(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
