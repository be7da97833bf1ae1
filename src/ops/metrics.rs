//! How the fleet stands, as numbers for a monitoring system.

use super::{Context, StatusOptions, status};
use crate::report::Report;

/// Reads how all tenants stand. Takes no lock and writes nothing. Tenants that are behind or cannot
/// be read are part of the numbers, and no failure.
///
/// # Errors
///
/// As [`status`].
pub async fn metrics(cx: &Context<'_>) -> anyhow::Result<Report> {
    Ok(match status(cx, &StatusOptions::default()).await? {
        Report::Migration(run) => Report::Metrics(run),
        other => other,
    })
}
