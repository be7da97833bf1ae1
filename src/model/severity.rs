//! How grave a finding is, whoever finds it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

/// How grave a finding is. The order is from the lightest to the gravest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Latent: not a hole today; house style.
    Low,
    /// An oracle, a nuisance, a wait, or a hole that needs a second mistake.
    Medium,
    /// Tenants cross with SQL that the application's role may issue; data is lost, or a release breaks.
    High,
    /// Tenants cross with the SQL that any application issues.
    Critical,
}

impl Severity {
    /// All, from the gravest.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The word in flags and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Severity {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|severity| severity.word() == word).ok_or_else(|| {
            Error::new(Code::Usage, format!("{word:?} is not a severity"))
                .hint("use critical, high, medium, low or info")
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn severities_are_ordered_and_named() {
        assert!(Severity::Critical > Severity::High && Severity::Low > Severity::Info);
        for severity in Severity::ALL {
            assert_eq!(severity.word().parse::<Severity>().unwrap(), severity);
        }
        assert!("grave".parse::<Severity>().is_err());
    }
}
