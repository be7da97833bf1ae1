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
    let audited: Vec<&str> = audit::rules::ALL.iter().map(|rule| rule.id).collect();
    let mut linted: Vec<&str> = lint::rules().map(|rule| rule.id).collect();
    linted.sort_unstable();
    Err(Error::new(Code::NotFound, format!("there is no rule {id:?}"))
        .hint(format!("rules of verify-rls: {}", audited.join(", ")))
        .hint(format!("rules of migrate lint: {}", linted.join(", ")))
        .into())
}
