//! Migrations outside of a transaction: one statement per message, on a session of the schema's own.

use tokio_postgres::Client;

use super::carry::{CarryError, carry};
use crate::sql::Sql;
use crate::sql::scan::{Shape, statements};

/// Sends the statements of a file, the `at`th of those pending, one by one, after `setup`. The session is as it was afterwards,
/// unless it is gone.
///
/// # Errors
///
/// [`CarryError::File`] with the number of statements that were done before the refused one.
pub(super) async fn run_outside(
    session: &Client,
    setup: &Sql,
    at: usize,
    file: &str,
) -> Result<(), CarryError> {
    let ours = |(_, error)| CarryError::Ours(error);
    carry(session, setup.as_str()).await.map_err(ours)?;
    let mut outcome = Ok(());
    let waiting = statements(file).filter(|statement| statement.shape != Shape::Blank);
    for (done, statement) in waiting.enumerate() {
        if let Err((_, error)) = carry(session, statement.text).await {
            outcome = Err(CarryError::File { at, done, before: 0, error });
            break;
        }
    }
    let reset = carry(session, "RESET ROLE; RESET ALL").await.map_err(ours);
    outcome.and(reset)
}
