//! Turns what the driver reports into the crate's failure, with the server's own words.

use crate::error::{Code, Error, ServerAnswer};

/// What the server said, when it was the server that refused.
pub(super) fn server_answer(error: &tokio_postgres::Error) -> Option<ServerAnswer> {
    error.as_db_error().map(|refusal| ServerAnswer {
        sqlstate: refusal.code().code().to_owned(),
        message: refusal.message().to_owned(),
        detail: refusal.detail().map(str::to_owned),
        hint: refusal.hint().map(str::to_owned),
        context: refusal.where_().map(str::to_owned),
    })
}

/// What kind of failure a SQLSTATE is.
pub(super) fn code_of(sqlstate: &str) -> Code {
    match sqlstate {
        "42501" => Code::Permission,
        "55P03" => Code::LockBusy,
        "3D000" => Code::NotFound,
        // Shut down, crashed, starting up; and no free connection slot.
        "57P01" | "57P02" | "57P03" | "53300" => Code::Unreachable,
        _ if sqlstate.starts_with("08") => Code::Unreachable,
        _ if sqlstate.starts_with("28") => Code::AuthFailed,
        _ => Code::Server,
    }
}

/// Makes the failure of a statement: what was attempted, and how it went.
pub(super) fn failed(error: tokio_postgres::Error, attempted: impl Into<String>) -> Error {
    let failure = match server_answer(&error) {
        Some(answer) => Error::new(code_of(&answer.sqlstate), attempted).answered(answer),
        None if is_lost(&error) => Error::new(Code::Unreachable, attempted)
            .hint("the connection to the server was lost; what was not committed is undone"),
        // What remains is a value that the driver could not write or read: our own statement.
        None => Error::new(Code::Bug, attempted),
    };
    failure.because(error)
}

/// Whether the connection is gone, and no statement will work on it again.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    error.is_closed()
        || error.source().is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_has_one_code() {
        for (sqlstate, code) in [
            ("42501", Code::Permission),
            ("55P03", Code::LockBusy),
            ("3D000", Code::NotFound),
            ("08006", Code::Unreachable),
            ("57P01", Code::Unreachable),
            ("57P03", Code::Unreachable),
            ("57014", Code::Server),
            ("28P01", Code::AuthFailed),
            ("28000", Code::AuthFailed),
            ("23505", Code::Server),
        ] {
            assert_eq!(code_of(sqlstate), code, "{sqlstate}");
        }
    }
}
