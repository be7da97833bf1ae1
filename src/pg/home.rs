//! What work in a tenant's schema begins with: its owner's role, its search path, its limits.

use std::time::Duration;

use crate::model::ident::Ident;
use crate::sql;
use crate::sql::{Literal, Sql};

/// How long a migration may wait and work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `lock_timeout` of every statement.
    pub lock: Duration,
    /// `statement_timeout`; none leaves the server's own.
    pub statement: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lock: Duration::from_secs(5), statement: None }
    }
}

/// What all work in a schema begins with; `scope` is LOCAL or SESSION.
pub(super) fn setup(role: Option<&Ident>, schema: &Ident, limits: Limits, scope: &Sql) -> Sql {
    let statement = limits.statement.map_or_else(
        || sql!(""),
        |limit| sql!("; SET {} statement_timeout = {}", scope, Literal(&milliseconds(limit))),
    );
    sql!(
        "{}; SET {} lock_timeout = {}{}",
        at_home(role, schema, scope),
        scope,
        Literal(&milliseconds(limits.lock)),
        statement
    )
}

/// What every file begins with: the one before it may have gone elsewhere.
pub(super) fn at_home(role: Option<&Ident>, schema: &Ident, scope: &Sql) -> Sql {
    let path = sql!("SET {} search_path = {}", scope, schema);
    role.map_or_else(|| path.clone(), |_| sql!("{}; {}", become_owner(role, scope), path))
}

/// Becomes the owner again; nothing without one.
pub(super) fn become_owner(role: Option<&Ident>, scope: &Sql) -> Sql {
    role.map_or_else(|| sql!(""), |role| sql!("SET {} ROLE {}", scope, role))
}

/// A limit as a setting has it.
pub(super) fn milliseconds(limit: Duration) -> String {
    // 0 would mean "no limit".
    format!("{}ms", limit.as_millis().max(1))
}
