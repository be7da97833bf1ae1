//! What stands between a client and its server, and what passes through it.

use std::fmt;

/// For how long a pooler lets a client keep a session of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// There is no pooler, or one that cannot be told from the server.
    None,
    /// Until the client leaves.
    Session,
    /// Until the transaction ends.
    Transaction,
    /// Until the statement ends.
    Statement,
}

impl Pooling {
    /// The word, as `tenants.toml` spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }

    /// Whether an operation works through it as it does without.
    pub fn passes(self, operation: Operation) -> bool {
        match operation {
            Operation::Read => true,
            Operation::Transaction => self != Self::Statement,
            Operation::Session => matches!(self, Self::None | Self::Session),
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What an operation needs of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Single statements that keep nothing: reading, CREATE DATABASE.
    Read,
    /// Whole transactions, with what is `SET LOCAL` in them and locks that end with them.
    Transaction,
    /// What outlives a transaction: locks that a session holds, settings, statements that run
    /// outside of a transaction.
    Session,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes() {
        for (pooling, passes) in [
            (Pooling::None, [true, true, true]),
            (Pooling::Session, [true, true, true]),
            (Pooling::Transaction, [true, true, false]),
            (Pooling::Statement, [true, false, false]),
        ] {
            let operations = [Operation::Read, Operation::Transaction, Operation::Session];
            assert_eq!(operations.map(|one| pooling.passes(one)), passes, "{pooling}");
        }
    }
}
