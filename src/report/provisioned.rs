//! What `create` did.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::ident::Ident;
use crate::model::migration::Version;
use crate::model::secret::Secret;
use crate::model::tenant::Tenant;

/// A tenant that is as it was asked for.
#[derive(Debug)]
pub struct Provisioned {
    /// The tenant.
    pub tenant: Tenant,
    /// What it took.
    pub outcome: Outcome,
    /// The steps that were carried out, in words.
    pub steps: Vec<String>,
    /// What was not done, and why.
    pub notes: Vec<String>,
    /// Passwords that were issued: shown once, stored nowhere.
    pub credentials: Vec<Credential>,
    /// Where they were written instead.
    pub credentials_file: Option<PathBuf>,
    /// The version of its schema.
    pub version: Option<Version>,
    /// How long it took.
    pub took: Duration,
}

/// What it took to have the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Created,
    /// It had been begun, and was finished.
    Finished,
    /// It was there, and something was put right.
    Repaired,
    /// It was there, and as it should be.
    Unchanged,
}

impl Outcome {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Finished => "finished",
            Self::Repaired => "repaired",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A role and its new password.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The role.
    pub role: Ident,
    /// The password.
    pub password: Secret,
}
