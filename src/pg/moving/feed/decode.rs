//! Reads the messages of `pgoutput`, version 1 of its protocol: what changed in the published tables,
//! in the order of commits.

use crate::error::{Code, Error};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A transaction begins.
    Begin,
    /// It ends; the log goes on from here.
    Commit {
        /// The place in the log behind it.
        end: u64,
    },
    /// What a table looks like, before the first change of it.
    Relation(Relation),
    /// A row came.
    Insert {
        /// The table's number.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A row changed.
    Update {
        /// The table's number.
        relation: u32,
        /// What told the row apart before, when that changed.
        old: Option<Tuple>,
        /// The row.
        new: Tuple,
    },
    /// A row went.
    Delete {
        /// The table's number.
        relation: u32,
        /// What told the row apart.
        old: Tuple,
    },
    /// Tables were emptied.
    Truncate {
        /// Their numbers.
        relations: Vec<u32>,
    },
    /// Something that changes no row.
    Other,
}

/// What a table looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    /// Its number.
    pub(super) id: u32,
    /// Its schema.
    pub(super) schema: String,
    /// Its name.
    pub(super) name: String,
    /// Its columns, with whether each tells rows apart.
    pub(super) columns: Vec<(String, bool)>,
}

/// The values of a row, in the order of the columns.
pub(super) type Tuple = Vec<Value>;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// NULL.
    Null,
    /// Large, and as it was before.
    Unchanged,
    /// As the server writes it.
    Text(String),
}

/// Reads one message.
///
/// # Errors
///
/// [`Code::Bug`] for what is none.
pub(super) fn message(bytes: &[u8]) -> Result<Message, Error> {
    let mut rest = Rest(bytes);
    Ok(match rest.byte()? {
        b'B' => Message::Begin,
        b'C' => {
            rest.take(1 + 8)?;
            Message::Commit { end: rest.long()? }
        }
        b'R' => {
            let (id, schema, name) = (rest.int()?, rest.text()?, rest.text()?);
            rest.byte()?;
            let columns = (0..rest.short()?)
                .map(|_| {
                    let key = rest.byte()? & 1 == 1;
                    let name = rest.text()?;
                    rest.take(4 + 4)?;
                    Ok((name, key))
                })
                .collect::<Result<_, Error>>()?;
            Message::Relation(Relation { id, schema, name, columns })
        }
        b'I' => {
            let relation = rest.int()?;
            rest.byte()?;
            Message::Insert { relation, new: rest.tuple()? }
        }
        b'U' => {
            let relation = rest.int()?;
            let old = match rest.byte()? {
                b'K' | b'O' => {
                    let old = rest.tuple()?;
                    rest.byte()?;
                    Some(old)
                }
                _ => None,
            };
            Message::Update { relation, old, new: rest.tuple()? }
        }
        b'D' => {
            let relation = rest.int()?;
            rest.byte()?;
            Message::Delete { relation, old: rest.tuple()? }
        }
        b'T' => {
            let number = rest.int()?;
            rest.byte()?;
            let relations = (0..number).map(|_| rest.int()).collect::<Result<_, Error>>()?;
            Message::Truncate { relations }
        }
        _ => Message::Other,
    })
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.take(N)?.try_into().map_err(|_| broken())
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.number::<1>()?[0])
    }

    fn short(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.number()?))
    }

    fn int(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.number()?))
    }

    fn long(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.number()?))
    }

    fn text(&mut self) -> Result<String, Error> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(broken)?;
        let text = String::from_utf8(self.take(end)?.to_vec()).map_err(|_| broken())?;
        self.byte()?;
        Ok(text)
    }

    fn tuple(&mut self) -> Result<Tuple, Error> {
        (0..self.short()?)
            .map(|_| {
                Ok(match self.byte()? {
                    b'n' => Value::Null,
                    b'u' => Value::Unchanged,
                    b't' => {
                        let length = usize::try_from(self.int()?).map_err(|_| broken())?;
                        let text = self.take(length)?.to_vec();
                        Value::Text(String::from_utf8(text).map_err(|_| broken())?)
                    }
                    _ => return Err(broken()),
                })
            })
            .collect()
    }
}

fn broken() -> Error {
    Error::new(Code::Bug, "read a change from the server's log: it is none that is known")
}

/// Which transactions a snapshot shows: what it shows was copied, and is not applied again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    oldest: u64,
    next: u64,
    running: Vec<u64>,
}

impl Shown {
    /// Reads what `pg_current_snapshot()` prints: `xmin:xmax:xip,…`.
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or_else(broken);
        let (oldest, next) = (number()?, number()?);
        let running = parts
            .next()
            .unwrap_or_default()
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().map_err(|_| broken()))
            .collect::<Result<_, Error>>()?;
        Ok(Self { oldest, next, running })
    }

    /// Whether it shows a transaction; the log knows only the lower half of its number.
    pub(super) fn shows(&self, xid: u32) -> bool {
        const EPOCH: u64 = 1 << 32;
        let mut whole = (self.next & !(EPOCH - 1)) | u64::from(xid);
        if whole > self.next + EPOCH / 2 && whole >= EPOCH {
            whole -= EPOCH;
        } else if whole + EPOCH / 2 < self.next {
            whole += EPOCH;
        }
        whole < self.oldest || (whole < self.next && !self.running.contains(&whole))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(value: &str) -> Vec<u8> {
        let mut bytes = vec![b't'];
        bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value.as_bytes());
        bytes
    }

    #[test]
    fn changes_are_read_with_their_keys() {
        let mut relation = b"R\0\0\0\x07app\0users\0d\0\x02".to_vec();
        relation.extend(b"\x01id\0\0\0\0\x17\xff\xff\xff\xff\x00name\0\0\0\0\x19\xff\xff\xff\xff");
        let Message::Relation(read) = message(&relation).unwrap() else { panic!("no relation") };
        assert_eq!((read.id, read.schema.as_str(), read.name.as_str()), (7, "app", "users"));
        assert_eq!(read.columns, [("id".to_owned(), true), ("name".to_owned(), false)]);

        let mut update = b"U\0\0\0\x07K\0\x02".to_vec();
        update.extend(text("1"));
        update.extend(b"nN\0\x02");
        update.extend(text("2"));
        update.push(b'u');
        assert_eq!(
            message(&update).unwrap(),
            Message::Update {
                relation: 7,
                old: Some(vec![Value::Text("1".to_owned()), Value::Null]),
                new: vec![Value::Text("2".to_owned()), Value::Unchanged],
            }
        );
        let commit = b"C\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03";
        assert_eq!(message(commit).unwrap(), Message::Commit { end: 2 });
        assert_eq!(
            message(b"T\0\0\0\x02\0\0\0\0\x07\0\0\0\x08").unwrap(),
            Message::Truncate { relations: vec![7, 8] }
        );
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        for bytes in [&b""[..], b"I\0\0", b"I\0\0\0\x07N\0\x01t\0\0\0\x09x", b"R\0\0\0\x07app"] {
            assert_eq!(message(bytes).unwrap_err().code, Code::Bug);
        }
    }

    #[test]
    fn a_snapshot_shows_what_was_committed_before_it() {
        let shown = Shown::read("100:105:101,103").unwrap();
        let seen: Vec<u32> = (98..107).filter(|xid| shown.shows(*xid)).collect();
        assert_eq!(seen, [98, 99, 100, 102, 104]);
        let wrapped =
            Shown::read(&format!("{}:{}:", (1_u64 << 32) + 2, (1_u64 << 32) + 3)).unwrap();
        assert!(wrapped.shows(u32::MAX) && wrapped.shows(2) && !wrapped.shows(3));
    }
}
