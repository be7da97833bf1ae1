//! The audit log: what was done, by whom, from where, and what came of it.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use uuid::Uuid;

use super::tenant::TenantId;
use crate::error::{Code, Error};

/// What came of a deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was begun. One that nothing follows was killed, or goes on.
    Begun,
    /// It was done.
    Done,
    /// It was not done, or not wholly.
    Failed,
}

impl Outcome {
    /// The word in the log, in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for Outcome {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        [Self::Begun, Self::Done, Self::Failed]
            .into_iter()
            .find(|outcome| outcome.word() == word)
            .ok_or_else(|| Error::new(Code::RegistryNewer, format!("{word:?} is not an outcome")))
    }
}

/// What a process adds to the log. Number, time, role, application and address are the server's to
/// say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEvent<'a> {
    /// Whom it is about; nobody when it is about several, or the fleet.
    pub tenant: Option<&'a TenantId>,
    /// What was done: the command's words, or a step of one.
    pub event: &'a str,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// What several events of one deed have in common; the run's id, where there is one.
    pub run: Option<Uuid>,
    /// The command line, as it may be typed again. It holds no secret.
    pub asked: &'a str,
    /// How it stood before; null when nobody knows.
    pub before: Value,
    /// How it stands now.
    pub after: Value,
    /// Everything else.
    pub detail: Value,
}

/// The SHA-256 of an event and of all before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventHash(pub [u8; 32]);

impl EventHash {
    /// What the first event follows.
    pub const NONE: Self = Self([0; 32]);
}

/// In hexadecimal digits.
impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for EventHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || {
            Error::new(Code::Usage, format!("{text:?} is not a hash of the audit log"))
                .hint("give the 64 digits that tenantctl audit verify prints")
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(refused)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| refused())?;
        }
        Ok(Self(bytes))
    }
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    /// Its number: the first is 1, and none is left out.
    pub id: i64,
    /// When, in UTC, to the microsecond, as RFC 3339 has it.
    pub at: String,
    /// Whom it is about.
    pub tenant: Option<String>,
    /// What was done.
    pub event: String,
    /// What came of it; an event that is no deed has none.
    pub outcome: Option<Outcome>,
    /// The role that was logged in.
    pub actor: String,
    /// What its session called itself.
    pub application: String,
    /// The address that the server saw; `local` through a socket, unknown of an older registry.
    pub client: Option<String>,
    /// What the process said of itself: user, host, version.
    pub origin: Value,
    /// What several events of one deed have in common.
    pub run: Option<Uuid>,
    /// The command line.
    pub asked: Option<String>,
    /// How it stood before.
    pub before: Value,
    /// How it stood afterwards.
    pub after: Value,
    /// Everything else.
    pub detail: Value,
    /// Its hash.
    pub hash: EventHash,
}

/// A link of the chain, as it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The event's number.
    pub id: i64,
    /// The hash of the event before it, as it stands beside it.
    pub previous: EventHash,
    /// Its hash, as it stands beside it.
    pub hash: EventHash,
    /// Its hash, as it is computed from what it says.
    pub computed: EventHash,
}

/// The newest event, as the server keeps it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 when there is none.
    pub id: i64,
    /// Its hash.
    pub hash: EventHash,
}

/// Something that no tenantctl did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// What the event says is not what was written.
    Edited(i64),
    /// Events are not there, from the first number to the last.
    Missing(i64, i64),
    /// What comes before this event is not what came before it when it was written.
    Replaced(i64),
    /// The events that the server knows as the newest are not there, from the first number to the last.
    CutOff(i64, i64),
    /// These were added behind the server's back.
    Unchained(i64, i64),
    /// The newest event is another than the server knows.
    OtherHead(i64),
    /// No event has the hash that was kept elsewhere.
    HeadUnknown(EventHash),
    /// Nothing chains, or nothing keeps, what is added from now on.
    Unguarded(&'static str),
}

impl Tampering {
    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Edited(_) => "edited",
            Self::Missing(..) => "missing",
            Self::Replaced(_) => "replaced",
            Self::CutOff(..) => "cut-off",
            Self::Unchained(..) => "unchained",
            Self::OtherHead(_) => "other-head",
            Self::HeadUnknown(_) => "head-unknown",
            Self::Unguarded(_) => "unguarded",
        }
    }

    /// The numbers of the first and the last event that it is about.
    pub fn events(&self) -> Option<(i64, i64)> {
        match *self {
            Self::Edited(id) | Self::Replaced(id) | Self::OtherHead(id) => Some((id, id)),
            Self::Missing(from, to) | Self::CutOff(from, to) | Self::Unchained(from, to) => {
                Some((from, to))
            }
            Self::HeadUnknown(_) | Self::Unguarded(_) => None,
        }
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |from: i64, to: i64| {
            if from == to {
                format!("event {from} is")
            } else {
                format!("events {from} to {to} are")
            }
        };
        match self {
            Self::Edited(id) => {
                write!(f, "event {id} was edited: it says something else than its hash")
            }
            Self::Missing(from, to) => write!(f, "{} missing", span(*from, *to)),
            Self::Replaced(id) => {
                write!(
                    f,
                    "what comes before event {id} was replaced: it carries the hash of something else"
                )
            }
            Self::CutOff(from, to) => {
                write!(f, "{} cut off at the end: the server has counted them", span(*from, *to))
            }
            Self::Unchained(from, to) => {
                write!(f, "{} not counted by the server: added behind its back", span(*from, *to))
            }
            Self::OtherHead(id) => {
                write!(f, "event {id} is not the newest one that the server knows")
            }
            Self::HeadUnknown(hash) => {
                write!(
                    f,
                    "no event has the expected hash {hash}: the log was cut off or written anew"
                )
            }
            Self::Unguarded(trigger) => write!(f, "the trigger {trigger} is gone or switched off"),
        }
    }
}

/// Follows the chain from its first event, and notes where it breaks.
#[derive(Clone, Debug)]
pub struct Follower {
    expected: Option<EventHash>,
    last: Head,
    events: u64,
    tampered: Vec<Tampering>,
}

impl Follower {
    /// Begins before the first event; `expected` is a hash that was kept elsewhere.
    pub fn new(expected: Option<EventHash>) -> Self {
        // Of an empty log the head is known beforehand.
        let expected = expected.filter(|hash| *hash != EventHash::NONE);
        let last = Head { id: 0, hash: EventHash::NONE };
        Self { expected, last, events: 0, tampered: Vec::new() }
    }

    /// Takes the next event, in the order of their numbers.
    pub fn follow(&mut self, link: &Link) {
        let awaited = self.last.id + 1;
        if link.id > awaited {
            self.tampered.push(Tampering::Missing(awaited, link.id - 1));
        } else if link.id < awaited || link.previous != self.last.hash {
            self.tampered.push(Tampering::Replaced(link.id));
        }
        if link.computed != link.hash {
            self.tampered.push(Tampering::Edited(link.id));
        }
        if self.expected == Some(link.hash) {
            self.expected = None;
        }
        self.last = Head { id: link.id, hash: link.hash };
        self.events += 1;
    }

    /// Where the next event is to be looked for.
    pub fn last(&self) -> Head {
        self.last
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Ends with the newest event as the server keeps it apart; none when even that is gone.
    pub fn end(mut self, head: Option<Head>, unguarded: Vec<&'static str>) -> Vec<Tampering> {
        let head = head.unwrap_or(Head { id: 0, hash: EventHash::NONE });
        let last = self.last;
        if head.id > last.id {
            self.tampered.push(Tampering::CutOff(last.id + 1, head.id));
        } else if head.id < last.id {
            self.tampered.push(Tampering::Unchained(head.id + 1, last.id));
        } else if head.hash != last.hash {
            self.tampered.push(Tampering::OtherHead(last.id));
        }
        self.tampered.extend(self.expected.map(Tampering::HeadUnknown));
        self.tampered.extend(unguarded.into_iter().map(Tampering::Unguarded));
        self.tampered
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn hash(id: i64) -> EventHash {
        EventHash([u8::try_from(id).unwrap(); 32])
    }

    fn chain(length: i64) -> Vec<Link> {
        (1..=length)
            .map(|id| Link { id, previous: hash(id - 1), hash: hash(id), computed: hash(id) })
            .collect()
    }

    fn followed(links: &[Link], head: i64, expected: Option<EventHash>) -> Vec<Tampering> {
        let mut follower = Follower::new(expected);
        for link in links {
            follower.follow(link);
        }
        follower.end(Some(Head { id: head, hash: hash(head) }), Vec::new())
    }

    #[test]
    fn a_whole_chain_is_whole_whatever_head_was_kept() {
        assert_eq!(followed(&[], 0, None), []);
        for kept in 0..=4 {
            assert_eq!(followed(&chain(4), 4, Some(hash(kept))), []);
        }
    }

    #[test]
    fn an_edit_a_gap_a_replacement_and_a_cut_are_told_apart() {
        let mut edited = chain(4);
        edited[1].computed = hash(9);
        assert_eq!(followed(&edited, 4, None), [Tampering::Edited(2)]);
        // Whoever also mends the event's hash breaks the next one's.
        let mut mended = chain(4);
        mended[1].computed = hash(9);
        mended[1].hash = hash(9);
        assert_eq!(followed(&mended, 4, None), [Tampering::Replaced(3)]);
        let mut gap = chain(5);
        gap.drain(1..3);
        assert_eq!(followed(&gap, 5, None), [Tampering::Missing(2, 3)]);
        let mut headless = chain(4);
        headless.remove(0);
        assert_eq!(followed(&headless, 4, None), [Tampering::Missing(1, 1)]);
        assert_eq!(followed(&chain(2), 4, None), [Tampering::CutOff(3, 4)]);
        assert_eq!(followed(&chain(4), 2, None), [Tampering::Unchained(3, 4)]);
        let mut last = chain(4);
        last[3].computed = hash(9);
        last[3].hash = hash(9);
        assert_eq!(followed(&last, 4, None), [Tampering::OtherHead(4)]);
    }

    #[test]
    fn a_head_kept_elsewhere_tells_of_a_cut_that_the_server_hides() {
        assert_eq!(followed(&chain(2), 2, None), []);
        assert_eq!(followed(&chain(2), 2, Some(hash(3))), [Tampering::HeadUnknown(hash(3))]);
    }

    #[test]
    fn hashes_are_read_as_they_are_printed() {
        let hash = EventHash([0xab; 32]);
        assert_eq!(hash.to_string().parse::<EventHash>().unwrap(), hash);
        assert!("xyz".parse::<EventHash>().is_err());
        assert!("é".repeat(32).parse::<EventHash>().is_err());
    }
}
