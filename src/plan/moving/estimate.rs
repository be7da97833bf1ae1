//! How long a tenant would not be able to write, before it cannot.

use std::time::Duration;

use crate::model::moving::Method;

/// What is to be moved, as measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// How many rows.
    pub rows: u64,
    /// Their length as the server writes them, in bytes.
    pub bytes: u64,
    /// How many tables.
    pub tables: u64,
    /// How fast a sample of them was read, in bytes a second; none where there was nothing to read.
    pub read_rate: Option<f64>,
}

/// Loading takes so many times as long as reading: indexes, foreign keys and the log.
const LOADING: f64 = 6.0;

/// Reading and hashing a row in both places at once, in seconds.
const COMPARED_ROW: f64 = 4e-6;

/// Locking, closing and opening a table, in seconds.
const TABLE: f64 = 0.03;

/// Where nothing could be measured, in bytes a second.
const RATE: f64 = 20e6;

/// How long the tenant cannot write, on the safe side rather than exactly.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub fn frozen(method: Method, load: &Load) -> Duration {
    let compare = load.rows as f64 * COMPARED_ROW;
    let overhead = 0.3 + load.tables as f64 * TABLE;
    let copy = match method {
        Method::Replication => 0.0,
        Method::Freeze => load.bytes as f64 / load.read_rate.unwrap_or(RATE).max(1.0) * LOADING,
    };
    Duration::from_secs_f64((overhead + compare + copy).min(1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_grows_with_what_is_copied_and_replication_with_what_is_compared() {
        let small = Load { rows: 1000, bytes: 100_000, tables: 9, read_rate: Some(50e6) };
        let large = Load { rows: 1_000_000, bytes: 200_000_000, ..small };
        assert!(frozen(Method::Freeze, &small) < Duration::from_secs(1));
        assert!(frozen(Method::Freeze, &large) > Duration::from_secs(20));
        assert!(frozen(Method::Replication, &large) < frozen(Method::Freeze, &large) / 3);
    }
}
