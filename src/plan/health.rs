//! Whether a cluster is well enough to go on with the next wave.

use std::time::Duration;

/// What a server says of its load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How far the slowest standby is behind; none without standbys, or where we may not see it.
    pub replication_lag: Option<Duration>,
    /// The age of the oldest transaction of others, with who runs it.
    pub oldest_transaction: Option<(Duration, String)>,
    /// Sessions that are open.
    pub connections: usize,
    /// Sessions that may be open.
    pub max_connections: usize,
}

/// What is still well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// No standby is further behind.
    pub replication_lag: Duration,
    /// No transaction of others is older.
    pub transaction_age: Duration,
    /// Not more of a hundred connections are in use.
    pub connections_percent: usize,
}

impl Default for Gate {
    /// 30 s of lag and 80 % of the connections are where teams sound the alarm; a transaction of
    /// five minutes is no request of an application.
    fn default() -> Self {
        Self {
            replication_lag: Duration::from_secs(30),
            transaction_age: Duration::from_mins(5),
            connections_percent: 80,
        }
    }
}

/// What is not well, in words; nothing when all is.
pub fn complaints(load: &Load, gate: &Gate) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(lag) = load.replication_lag
        && lag > gate.replication_lag
    {
        found.push(format!(
            "a standby is {} s behind, more than {} s",
            lag.as_secs(),
            gate.replication_lag.as_secs()
        ));
    }
    if let Some((age, who)) = &load.oldest_transaction
        && *age > gate.transaction_age
    {
        found.push(format!(
            "a transaction of {who} is {} s old, more than {} s",
            age.as_secs(),
            gate.transaction_age.as_secs()
        ));
    }
    if load.connections * 100 > load.max_connections * gate.connections_percent {
        found.push(format!(
            "{} of {} connections are in use, more than {} %",
            load.connections, load.max_connections, gate.connections_percent
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_watched_and_named() {
        let well = Load { connections: 80, max_connections: 100, ..Load::default() };
        assert!(complaints(&well, &Gate::default()).is_empty());
        let ill = Load {
            replication_lag: Some(Duration::from_secs(31)),
            oldest_transaction: Some((Duration::from_secs(301), "report (pid 7)".to_owned())),
            connections: 81,
            max_connections: 100,
        };
        let found = complaints(&ill, &Gate::default());
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[1].contains("report (pid 7)"));
    }
}
