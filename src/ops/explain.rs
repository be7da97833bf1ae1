//! Explains one rule.

use crate::error::{Code, Error};
use crate::report::{Explained, Report};
use crate::{audit, lint};

/// Explains a rule of `verify-rls` or of `migrate lint`.
///
/// # Errors
///
/// [`Code::NotFound`] with every rule there is.
pub fn explain(id: &str) -> anyhow::Result<Report> {
    if let Some(rule) = Explained::find(id) {
        return Ok(Report::Rule(rule));
    }
    let audited = audit::rules::ALL.iter().map(|rule| rule.id);
    let mut ids: Vec<&str> = audited.chain(lint::rules().map(|rule| rule.id)).collect();
    ids.sort_unstable();
    Err(Error::new(Code::NotFound, format!("there is no rule {id:?}"))
        .hint(format!("rules: {}", ids.join(", ")))
        .into())
}
