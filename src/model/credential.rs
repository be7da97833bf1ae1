//! Logins and how long their passwords work: what a server and the registry know of credentials.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::ident::Ident;
use super::observed::{MembershipFacts, OperatorReach, ServerFacts};
use crate::error::{Code, Error};

/// What the second login of a role is called: `<role>-b`. No tenant's name ends like that, because
/// an id keeps no `-` in names.
pub const SECOND: &str = "-b";

/// The second login of a role, beside the role itself.
///
/// # Errors
///
/// [`Code::NameTaken`] when the name does not fit.
pub fn second_login(role: &Ident) -> Result<Ident, Error> {
    Ident::new(format!("{}{SECOND}", role.as_str())).map_err(|error| {
        Error::new(
            Code::NameTaken,
            format!("role {role} can have no second login: {}", error.message),
        )
        .hint("shorten the role's naming template by two characters")
    })
}

/// Until when a role's password works (`VALID UNTIL`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// Nobody has said: it works until it is taken away.
    #[default]
    Unsaid,
    /// For ever (`infinity`).
    Endless,
    /// Until a moment.
    Until(Timestamp),
    /// Not any more (`-infinity`).
    Ended,
}

impl Validity {
    /// Whether the password works at a moment.
    pub fn holds(self, now: Timestamp) -> bool {
        match self {
            Self::Unsaid | Self::Endless => true,
            Self::Until(end) => end > now,
            Self::Ended => false,
        }
    }

    /// The earlier of this end and another.
    #[must_use]
    pub fn cut_to(self, end: Timestamp) -> Self {
        match self {
            Self::Unsaid | Self::Endless => Self::Until(end),
            Self::Until(own) => Self::Until(own.min(end)),
            Self::Ended => Self::Ended,
        }
    }

    /// The moment, when it is one.
    pub fn end(self) -> Option<Timestamp> {
        match self {
            Self::Until(end) => Some(end),
            Self::Unsaid | Self::Endless | Self::Ended => None,
        }
    }
}

/// As `timestamptz` reads it.
impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsaid | Self::Endless => f.write_str("infinity"),
            Self::Until(end) => write!(f, "{end}"),
            Self::Ended => f.write_str("-infinity"),
        }
    }
}

/// A role as one that sessions begin as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginFacts {
    /// LOGIN.
    pub login: bool,
    /// INHERIT, the role's own default.
    pub inherit: bool,
    /// Attributes that no application role may have.
    pub dangerous: Vec<&'static str>,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i32,
    /// Until when its password works.
    pub validity: Validity,
    /// `ALTER ROLE … SET`, by database; without one, in every database.
    pub settings: BTreeMap<Option<Ident>, BTreeMap<String, String>>,
    /// Sessions that began as it.
    pub sessions: i64,
    /// What the operator may do with it.
    pub operator: OperatorReach,
}

/// The logins of a cluster, as its server knows them.
#[derive(Clone, Debug)]
pub struct Logins {
    /// The server and the operator.
    pub server: ServerFacts,
    /// The server's clock.
    pub now: Timestamp,
    /// Those that exist, among those that were asked for.
    pub facts: BTreeMap<Ident, LoginFacts>,
    /// Memberships among them, by `(role, member)`.
    pub members: BTreeMap<(Ident, Ident), MembershipFacts>,
}

/// How an issued password stands, as far as the registry was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuedState {
    /// It may be on its way to the server.
    Issuing,
    /// It is the one to use.
    Current,
    /// The other login's is the one to use.
    Replaced,
    /// It was taken away.
    Revoked,
}

impl IssuedState {
    const ALL: [Self; 4] = [Self::Issuing, Self::Current, Self::Replaced, Self::Revoked];

    /// The word in the registry and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Current => "current",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
        }
    }
}

impl std::str::FromStr for IssuedState {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|state| state.word() == word).ok_or_else(|| {
            Error::new(Code::RegistryNewer, format!("{word:?} is no state of a credential"))
        })
    }
}

/// What the registry keeps of a password: never the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The role that logs in with it.
    pub login: Ident,
    /// The role that the application works as.
    pub role: Ident,
    /// How it stands.
    pub state: IssuedState,
    /// Since when; unknown where something else has set the password.
    pub issued: Option<Timestamp>,
    /// Until when.
    pub until: Validity,
    /// Until when the one works that it replaces.
    pub replaces_until: Option<Validity>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_validity_is_cut_and_never_stretched() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(Validity::Endless.cut_to(at(5)), Validity::Until(at(5)));
        assert_eq!(Validity::Until(at(3)).cut_to(at(5)), Validity::Until(at(3)));
        assert_eq!(Validity::Ended.cut_to(at(5)), Validity::Ended);
        assert!(Validity::Until(at(6)).holds(at(5)) && !Validity::Until(at(5)).holds(at(5)));
    }

    #[test]
    fn a_second_login_must_fit() {
        let name = |length| Ident::new("r".repeat(length)).unwrap();
        assert_eq!(second_login(&name(61)).unwrap().as_str().len(), 63);
        assert_eq!(second_login(&name(62)).unwrap_err().code, Code::NameTaken);
    }
}
