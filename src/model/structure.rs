//! What stands in a schema, in a form in which two tenants can be compared.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use super::ident::Ident;
use super::migration::History;

/// One thing about a schema that another tenant's schema should have as well, or should not.
///
/// Names of the tenant's own are placeholders in every text: `{schema}`, `{owner}`, `{role}`,
/// `{readonly}`, `{database}` and `{uuid}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// What it is about: `table`, `column`, `index`, `grant`, …
    pub kind: String,
    /// The object that it goes with; empty for what stands on its own.
    pub parent: String,
    /// Its name: unique among the facts of its kind in one schema.
    pub object: String,
    /// The rest of it, as SQL or in words.
    pub definition: String,
}

impl Fact {
    /// The facts that a history adds: which migrations it claims, with which checksums.
    pub fn of_history(history: &History) -> impl Iterator<Item = Self> + '_ {
        history.0.iter().map(|applied| Self {
            kind: "history".to_owned(),
            parent: String::new(),
            object: format!("V{}__{}", applied.version, applied.name),
            definition: format!("checksum {}", applied.checksum),
        })
    }
}

/// A number that two schemas share when all of their facts agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint of the same schema, with what its history claims.
    #[must_use]
    pub fn with(self, history: &History) -> Self {
        let mut sum = self.0;
        for fact in Fact::of_history(history) {
            let mut hasher = SipHasher13::new();
            hasher.write(fact.object.as_bytes());
            hasher.write(fact.definition.as_bytes());
            sum ^= u128::from(hasher.finish()) << 32;
        }
        Self(sum)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What was read of one schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Over all its facts.
    pub fingerprint: Fingerprint,
    /// How many facts there are.
    pub facts: usize,
    /// How many tables there are, without the history.
    pub tables: usize,
    /// What is there and does not do its work.
    pub flaws: Vec<Flaw>,
}

/// Something that is there and does not do its work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// An index that a failed or killed build left behind: it costs every write, and serves no query.
    InvalidIndex {
        /// Its name.
        index: String,
        /// Its table.
        table: String,
    },
    /// A constraint that rows from before it may break.
    NotValidated {
        /// Its name.
        constraint: String,
        /// Its table.
        table: String,
    },
    /// The history is empty, and tables are there.
    NoHistory {
        /// How many.
        tables: usize,
    },
}

impl Flaw {
    /// Whether it is wrong whatever the files say: a constraint may be left unchecked on purpose.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::NotValidated { .. })
    }

    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::InvalidIndex { .. } => "invalid-index",
            Self::NotValidated { .. } => "not-validated",
            Self::NoHistory { .. } => "no-history",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidIndex { index, table } => {
                write!(f, "index {index} on {table} is INVALID: no query uses it")
            }
            Self::NotValidated { constraint, table } => {
                write!(
                    f,
                    "constraint {constraint} on {table} is NOT VALID: older rows may break it"
                )
            }
            Self::NoHistory { tables } => {
                write!(f, "the history is empty, and there are {}", super::count(*tables, "table"))
            }
        }
    }
}

/// The names in a schema that are its tenant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNames {
    /// The schema.
    pub schema: Ident,
    /// The schema that it is compared with, where a word that happens to be its name (`app` in the
    /// setting `app.tenant_id`) must give way as it does there.
    pub stands_for: Option<Ident>,
    /// Whether the database is the tenant's as well; then its grants are compared.
    pub whole_database: bool,
    /// Who owns the objects.
    pub owner: Ident,
    /// What the application becomes, when it is one tenant's.
    pub roles: Vec<Ident>,
    /// Who reads, when it is one tenant's.
    pub readonly: Option<Ident>,
    /// The tenant's uuid, when the schema is one tenant's.
    pub uuid: Option<uuid::Uuid>,
}
