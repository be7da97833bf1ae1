//! One message of several scripts, which the server takes for one transaction.
//!
//! Without `BEGIN` in it, a message of several statements is a transaction of its own: it is
//! committed at its end, or gone with its first failure, and leaves no transaction open either way
//! (PostgreSQL, "Multiple Statements in a Simple Query"). `SET LOCAL` holds until its end.

use crate::sql::scan::{Shape, statements};

/// What a stretch of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Statements of our own.
    Ours,
    /// Takes the schema's lock.
    Lock,
    /// Checks that the history has not moved.
    Unmoved,
    /// A file, by its place among those pending.
    File(usize),
    /// A repeatable file, by its place among those pending.
    Repeatable(usize),
}

/// What stands between two parts: ends a line comment and a statement that has no semicolon.
const BETWEEN: &str = "\n;\n";

/// The scripts, and where each of them stands.
#[derive(Debug, Default)]
pub(super) struct Message {
    text: String,
    /// Each part with the byte at which it begins.
    parts: Vec<(Part, usize)>,
}

impl Message {
    /// Adds a script, unless it is empty.
    pub(super) fn add(&mut self, part: Part, script: &str) {
        if script.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str(BETWEEN);
        }
        self.parts.push((part, self.text.len()));
        self.text.push_str(script);
    }

    /// The whole text, as it is sent.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whose the failed statement is: the part, how many statements of it were done, and how many
    /// characters of the message stand before it.
    ///
    /// The server counts `done` statements before the failed one, and names a `position` (a
    /// character, from 1) where it can. A syntax error is found before anything is done, so the
    /// position decides where there is one.
    pub(super) fn find(&self, done: usize, position: Option<u32>) -> (Part, usize, usize) {
        let characters = |bytes: usize| self.text[..bytes].chars().count();
        if let Some(at) = position.and_then(|at| usize::try_from(at).ok()) {
            let byte = self.text.char_indices().nth(at.saturating_sub(1));
            let byte = byte.map_or(self.text.len(), |(byte, _)| byte);
            let found = self.parts.iter().rev().find(|(_, start)| *start <= byte);
            if let Some((part, start)) = found {
                let script = &self.text[*start..byte];
                let before = statements(script).filter(is_sent).count().saturating_sub(1);
                return (*part, before, characters(*start));
            }
        }
        let mut left = done;
        for (at, (part, start)) in self.parts.iter().enumerate() {
            let end = self.parts.get(at + 1).map_or(self.text.len(), |(_, next)| *next);
            let here = statements(&self.text[*start..end]).filter(is_sent).count();
            if left < here {
                return (*part, left, characters(*start));
            }
            left -= here;
        }
        // All were done: what failed is the commit.
        (Part::Ours, 0, 0)
    }
}

fn is_sent(statement: &crate::sql::scan::Statement<'_>) -> bool {
    statement.shape != Shape::Blank
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let mut message = Message::default();
        message.add(Part::Ours, "SET LOCAL ROLE o; SET LOCAL search_path = s");
        message.add(Part::Lock, "SELECT 1");
        message.add(Part::File(0), "-- ünï\nSELECT 1;\nSELECT 2; -- no end");
        message.add(Part::Ours, "");
        message.add(Part::Ours, "INSERT INTO h VALUES (1)");
        message.add(Part::File(1), "SELECT 3");
        message
    }

    #[test]
    fn statements_that_were_done_lead_to_the_part() {
        let message = message();
        assert_eq!(message.find(0, None).0, Part::Ours);
        assert_eq!(message.find(2, None).0, Part::Lock);
        assert_eq!(message.find(3, None), (Part::File(0), 0, 57));
        assert_eq!(message.find(4, None), (Part::File(0), 1, 57));
        assert_eq!(message.find(5, None).0, Part::Ours);
        assert_eq!(message.find(6, None).0, Part::File(1));
        assert_eq!(message.find(7, None).0, Part::Ours);
    }

    #[test]
    fn a_position_leads_to_the_part_before_anything_is_done() {
        let message = message();
        let byte = message.text().find("SELECT 2").unwrap();
        let at = u32::try_from(message.text()[..byte].chars().count() + 1).unwrap();
        assert_eq!(message.find(0, Some(at + 3)), (Part::File(0), 1, 57));
        let byte = message.text().find("SELECT 3").unwrap();
        let at = u32::try_from(message.text()[..byte].chars().count() + 1).unwrap();
        assert_eq!(message.find(0, Some(at + 1)).0, Part::File(1));
    }
}
