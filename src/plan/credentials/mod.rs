//! Which of a role's two logins works, which is next, and what it takes to change over.
//!
//! A role that logs in has two logins: itself, and a second one that is a member of it and becomes
//! it as it logs in. At any time one of them is current. A new password goes to the other, and the
//! old one ends after a grace: nobody is locked out in between.

mod steps;

use jiff::{SignedDuration, Timestamp};

use crate::error::{Code, Error};
use crate::model::credential::{Issued, IssuedState, LoginFacts, Validity};
use crate::model::ident::Ident;

pub use steps::{activate, prepare, revoke};

/// One of a role's logins, as the server and the registry know it.
#[derive(Clone, Debug)]
pub struct Login {
    /// Its name.
    pub name: Ident,
    /// The server's facts; without them there is no such role.
    pub facts: Option<LoginFacts>,
    /// What was issued for it.
    pub issued: Option<Issued>,
}

impl Login {
    fn is(&self, state: IssuedState) -> bool {
        self.issued.as_ref().is_some_and(|issued| issued.state == state)
    }

    /// Until when its password works, when there is such a role.
    pub fn validity(&self) -> Option<Validity> {
        self.facts.as_ref().map(|facts| facts.validity)
    }
}

/// The two logins of a role.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The role that the application works as, which is its own first login.
    pub first: Login,
    /// The other one.
    pub second: Login,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The role itself.
    First,
    /// The other login.
    Second,
}

impl Which {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// How a role's credentials stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was issued, and what the role has, if anything, is nobody's we know.
    Unknown,
    /// One is current.
    Current(Which),
    /// A run was cut off after the server had the new password: it is current, and the registry is
    /// to be told.
    Unrecorded(Which),
    /// What there was has been taken away.
    None,
}

impl Pair {
    /// One of the two.
    pub fn get(&self, which: Which) -> &Login {
        match which {
            Which::First => &self.first,
            Which::Second => &self.second,
        }
    }

    /// The role.
    pub fn role(&self) -> &Ident {
        &self.first.name
    }

    /// Whether a password of one of them may work at a moment, as far as the server says. A second
    /// login without an end was made, and never given a password.
    fn works(&self, which: Which, now: Timestamp) -> bool {
        match (which, self.get(which).validity()) {
            (_, None) | (Which::Second, Some(Validity::Unsaid)) => false,
            (_, Some(validity)) => validity.holds(now),
        }
    }

    /// How the credentials stand.
    pub fn standing(&self) -> Standing {
        for which in [Which::First, Which::Second] {
            if self.get(which).is(IssuedState::Issuing) && self.arrived(which) {
                return Standing::Unrecorded(which);
            }
        }
        for which in [Which::First, Which::Second] {
            if self.get(which).is(IssuedState::Current) {
                return Standing::Current(which);
            }
        }
        let known = |login: &Login| login.issued.as_ref().map(|issued| issued.state);
        match (known(&self.first), known(&self.second)) {
            // What was on its way has not arrived: the role is as it was before.
            (None | Some(IssuedState::Issuing), None | Some(IssuedState::Issuing)) => {
                match self.first.validity() {
                    Some(Validity::Ended) => Standing::None,
                    _ => Standing::Unknown,
                }
            }
            _ => Standing::None,
        }
    }

    /// Whether the server has what was on its way to it: what the server says about both logins is
    /// what was to be said in one transaction.
    fn arrived(&self, which: Which) -> bool {
        let login = self.get(which);
        let Some(issued) = &login.issued else { return false };
        // An end that nobody has said is no end that was to be said.
        let said = |login: &Login, wanted: Validity| {
            login.validity().is_some_and(|has| has == wanted && has != Validity::Unsaid)
        };
        said(login, issued.until)
            && issued.replaces_until.is_none_or(|end| said(self.get(which.other()), end))
    }

    /// Since when the current password is; none when nobody knows.
    pub fn since(&self) -> Option<Timestamp> {
        match self.standing() {
            Standing::Current(which) | Standing::Unrecorded(which) => {
                self.get(which).issued.as_ref().and_then(|issued| issued.issued)
            }
            Standing::Unknown | Standing::None => None,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// A first password.
    Issue {
        /// How long it works.
        valid_for: Option<SignedDuration>,
    },
    /// A new password.
    Rotate {
        /// Only where the current one is older.
        max_age: Option<SignedDuration>,
        /// How long the old one goes on working.
        grace: SignedDuration,
        /// Whether it is urgent: the old one ends at once, and so does one that still had its grace.
        now: bool,
        /// How long the new one works.
        valid_for: Option<SignedDuration>,
    },
}

impl Wish {
    fn valid_for(self) -> Option<SignedDuration> {
        match self {
            Self::Issue { valid_for } | Self::Rotate { valid_for, .. } => valid_for,
        }
    }
}

/// What is to be done for one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing, and why.
    Nothing(String),
    /// Telling the registry what the server has done already.
    Record(Changeover),
    /// Changing over to a new password.
    Issue(Changeover),
}

/// From one login to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeover {
    /// The login that gets the new password.
    pub next: Which,
    /// Its name.
    pub login: Ident,
    /// Until when that works.
    pub until: Validity,
    /// The login whose password it replaces, and until when that goes on working.
    pub replaces: Option<(Ident, Validity)>,
}

/// Decides for one role.
///
/// # Errors
///
/// [`Code::Refused`] when a password that somebody may use would be lost.
pub fn decide(pair: &Pair, wish: Wish, now: Timestamp) -> Result<Turn, Error> {
    let standing = pair.standing();
    if let Standing::Unrecorded(next) = standing {
        return Ok(Turn::Record(as_announced(pair, next)));
    }
    let until = match wish.valid_for() {
        None => Validity::Endless,
        Some(time) => Validity::Until(later(now, time)),
    };
    let begin = |next: Which, replaces: Option<(Ident, Validity)>| {
        let login = pair.get(next).name.clone();
        Ok(Turn::Issue(Changeover { next, login, until, replaces }))
    };
    match (wish, standing) {
        (Wish::Issue { .. }, Standing::Current(which)) => Ok(Turn::Nothing(format!(
            "{} has a password already{}",
            pair.get(which).name,
            pair.since().map_or_else(String::new, |at| format!(", issued {}", moment(at)))
        ))),
        (Wish::Issue { .. }, Standing::Unknown) => {
            let sessions = pair.first.facts.as_ref().map_or(0, |facts| facts.sessions);
            if sessions > 0 {
                return Err(Error::new(
                    Code::Refused,
                    format!(
                        "role {} has {}, so somebody knows a password of it that tenantctl did not issue",
                        pair.role(),
                        crate::model::count(usize::try_from(sessions).unwrap_or(0), "session")
                    ),
                )
                .hint("give it a new one beside the old: tenantctl credentials rotate"));
            }
            begin(Which::First, None)
        }
        (Wish::Issue { .. }, Standing::None) => begin(pair.idle(now), None),
        (Wish::Rotate { .. }, Standing::None) => Ok(Turn::Nothing(format!(
            "{} has no password to be replaced: credentials issue gives it one",
            pair.role()
        ))),
        (Wish::Rotate { max_age, grace, now: at_once, .. }, _) => {
            let current = match standing {
                Standing::Current(which) => which,
                _ => Which::First,
            };
            if let (Some(most), Some(since)) = (max_age, pair.since())
                && now.duration_since(since) < most
            {
                return Ok(Turn::Nothing(format!(
                    "issued {}, younger than asked for",
                    moment(since)
                )));
            }
            let next = current.other();
            if !at_once && pair.works(next, now) {
                return in_grace(pair, current, max_age);
            }
            let old = pair.get(current);
            let held = old.validity().unwrap_or_default();
            let end = if at_once { Validity::Ended } else { held.cut_to(later(now, grace)) };
            begin(next, Some((old.name.clone(), end)))
        }
        (_, Standing::Unrecorded(_)) => {
            Err(Error::new(Code::Bug, "decide about a password that is not recorded"))
        }
    }
}

/// The password before the current one still works: another one would end it before its time.
fn in_grace(pair: &Pair, current: Which, max_age: Option<SignedDuration>) -> Result<Turn, Error> {
    let old = pair.get(current.other());
    let until = match old.validity() {
        Some(Validity::Until(end)) => format!("until {}", moment(end)),
        _ => "for good".to_owned(),
    };
    let since = pair.since().map_or_else(String::new, |at| format!(" {}", moment(at)));
    if max_age.is_none() {
        return Ok(Turn::Nothing(format!(
            "was replaced{since}; the old one, {}, works {until}",
            old.name
        )));
    }
    Err(Error::new(
        Code::Refused,
        format!("replace the password of {}: the one before it works {until}", pair.role()),
    )
    .hint("end that one first: tenantctl credentials revoke --old, or rotate with --now"))
}

/// What a run that was cut off had announced to the registry.
fn as_announced(pair: &Pair, next: Which) -> Changeover {
    let login = pair.get(next);
    let issued = login.issued.as_ref();
    let replaces = issued
        .and_then(|issued| issued.replaces_until)
        .map(|end| (pair.get(next.other()).name.clone(), end));
    Changeover {
        next,
        login: login.name.clone(),
        until: issued.map(|issued| issued.until).unwrap_or_default(),
        replaces,
    }
}

impl Pair {
    /// The login that nobody uses.
    fn idle(&self, now: Timestamp) -> Which {
        if self.works(Which::First, now) && self.first.is(IssuedState::Replaced) {
            Which::Second
        } else {
            Which::First
        }
    }
}

/// A moment for people.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A moment so much later; the last that there is when it would be beyond.
fn later(now: Timestamp, time: SignedDuration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
