//! One message of several scripts, which the server takes for one transaction.
//!
//! Without `BEGIN` in it, a message of several statements is a transaction of its own: it is
//! committed at its end, or gone with its first failure, and leaves no transaction open either way
//! (PostgreSQL, "Multiple Statements in a Simple Query"). `SET LOCAL` holds until its end. The server
//! stops at the first statement that it refuses and passes over the rest.

use tokio_postgres::Client;
use tokio_postgres::error::ErrorPosition;

use super::carry::carry;
use crate::sql::scan::{Shape, statements};

/// What stands between two parts: ends a line comment and a statement that has no semicolon.
const BETWEEN: &str = "\n;\n";

/// The scripts, and where each of them stands. `P` says what a part is for.
#[derive(Debug)]
pub(super) struct Message<P> {
    text: String,
    /// Each part with the byte at which it begins.
    parts: Vec<(P, usize)>,
}

/// Whose a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose<P> {
    /// The part that it stands in.
    pub(super) part: P,
    /// How many statements of the part were done before it.
    pub(super) done: usize,
    /// How many characters of the message stand before the part.
    pub(super) before: usize,
}

/// What the server refused.
pub(super) struct Unsent<P> {
    /// Whose the statement is; none when all were done, and what failed is the commit.
    pub(super) whose: Option<Whose<P>>,
    /// The server's words.
    pub(super) error: tokio_postgres::Error,
}

impl<P> Default for Message<P> {
    fn default() -> Self {
        Self { text: String::new(), parts: Vec::new() }
    }
}

impl<P: Copy> Message<P> {
    /// Adds a script, unless it is empty.
    pub(super) fn add(&mut self, part: P, script: &str) {
        if script.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str(BETWEEN);
        }
        self.parts.push((part, self.text.len()));
        self.text.push_str(script);
    }

    /// Sends it.
    ///
    /// # Errors
    ///
    /// The statement that was refused: nothing of its transaction is left.
    pub(super) async fn send(&self, session: &Client) -> Result<(), Unsent<P>> {
        carry(session, &self.text).await.map_err(|(done, error)| {
            let position = error.as_db_error().and_then(|refusal| match refusal.position() {
                Some(ErrorPosition::Original(at)) => Some(*at),
                _ => None,
            });
            Unsent { whose: self.find(done, position), error }
        })
    }

    /// Whose the failed statement is.
    ///
    /// The server counts `done` statements before the failed one, and names a `position` (a
    /// character, from 1) where it can. A syntax error is found before anything is done, so the
    /// position decides where there is one.
    fn find(&self, done: usize, position: Option<u32>) -> Option<Whose<P>> {
        let whose = |part: P, done: usize, start: usize| Whose {
            part,
            done,
            before: self.text[..start].chars().count(),
        };
        if let Some(at) = position.and_then(|at| usize::try_from(at).ok()) {
            let byte = self.text.char_indices().nth(at.saturating_sub(1));
            let byte = byte.map_or(self.text.len(), |(byte, _)| byte);
            if let Some((part, start)) = self.parts.iter().rev().find(|(_, start)| *start <= byte) {
                let script = &self.text[*start..byte];
                let done = statements(script).filter(is_sent).count().saturating_sub(1);
                return Some(whose(*part, done, *start));
            }
        }
        let mut left = done;
        for (at, (part, start)) in self.parts.iter().enumerate() {
            let end = self.parts.get(at + 1).map_or(self.text.len(), |(_, next)| *next);
            let here = statements(&self.text[*start..end]).filter(is_sent).count();
            if left < here {
                return Some(whose(*part, left, *start));
            }
            left -= here;
        }
        None
    }
}

fn is_sent(statement: &crate::sql::scan::Statement<'_>) -> bool {
    statement.shape != Shape::Blank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message<char> {
        let mut message = Message::default();
        message.add('o', "SET LOCAL ROLE o; SET LOCAL search_path = s");
        message.add('l', "SELECT 1");
        message.add('1', "-- ünï\nSELECT 1;\nSELECT 2; -- no end");
        message.add('o', "");
        message.add('h', "INSERT INTO h VALUES (1)");
        message.add('2', "SELECT 3");
        message
    }

    /// The place, counted from 1, of the first character of a text in the message.
    fn place(message: &Message<char>, text: &str) -> u32 {
        let byte = message.text.find(text).unwrap();
        u32::try_from(message.text[..byte].chars().count() + 1).unwrap()
    }

    #[test]
    fn statements_that_were_done_lead_to_the_part() {
        let message = message();
        let part = |done| message.find(done, None).map(|whose| whose.part);
        assert_eq!(part(0), Some('o'));
        assert_eq!(part(2), Some('l'));
        assert_eq!(message.find(3, None), Some(Whose { part: '1', done: 0, before: 57 }));
        assert_eq!(message.find(4, None), Some(Whose { part: '1', done: 1, before: 57 }));
        assert_eq!(part(5), Some('h'));
        assert_eq!(part(6), Some('2'));
        assert_eq!(part(7), None);
    }

    #[test]
    fn a_position_leads_to_the_part_before_anything_is_done() {
        let message = message();
        let at = place(&message, "SELECT 2");
        let whose = Whose { part: '1', done: 1, before: 57 };
        assert_eq!(message.find(0, Some(at + 3)), Some(whose));
        let at = place(&message, "SELECT 3");
        assert_eq!(message.find(0, Some(at + 1)).map(|whose| whose.part), Some('2'));
    }
}
