//! Reads from the tokens of a statement how it is carried out, and what it is about.

use std::ops::Range;

use super::{BuildIndex, CONCURRENTLY, Detach, Way};
use crate::model::ident::MAX_BYTES;
use crate::sql::scan::Statement;
use crate::sql::token::{Kind, Token};

/// How a statement is carried out.
pub(super) fn way(statement: &Statement<'_>) -> Way {
    let words: Vec<&str> = statement.keywords.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["SET" | "RESET" | "PREPARE" | "DEALLOCATE" | "DISCARD" | "LOAD" | "LISTEN", ..]
        | ["CREATE", "TEMP" | "TEMPORARY", ..]
        | ["CREATE", "LOCAL" | "GLOBAL", "TEMP" | "TEMPORARY", ..] => Way::Session,
        ["VACUUM" | "ANALYZE" | "ANALYSE" | "CHECKPOINT" | "CLUSTER", ..] => {
            Way::Alone { repeatable: true }
        }
        ["REINDEX", ..] => match Cursor::new(statement).find(CONCURRENTLY) {
            Some(_) => Way::RebuildIndexes,
            None => Way::Alone { repeatable: true },
        },
        ["CALL", ..] => Way::Alone { repeatable: false },
        ["DO", ..] if commits(statement.text) => Way::Alone { repeatable: false },
        ["CREATE", "INDEX", "CONCURRENTLY", ..]
        | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", ..] => {
            build_index(statement).map_or(Way::Alone { repeatable: false }, Way::BuildIndex)
        }
        ["DROP", "INDEX", "CONCURRENTLY", ..] => {
            drop_index(statement).map_or(Way::Alone { repeatable: false }, Way::DropIndex)
        }
        ["ALTER", "TABLE", ..] => alter_table(statement),
        _ => Way::Together,
    }
}

/// Whether a block may end transactions on its own, as a data change in batches does.
fn commits(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    ["COMMIT", "ROLLBACK", "CALL"].iter().any(|word| text.contains(word))
}

fn build_index(statement: &Statement<'_>) -> Option<BuildIndex> {
    let mut cursor = Cursor::new(statement);
    let concurrently = cursor.past(CONCURRENTLY)?;
    let conditional = cursor.words(&["IF", "NOT", "EXISTS"]);
    let name =
        if conditional || !cursor.is_word("ON") { Some(cursor.name()?.stored) } else { None };
    let on = cursor.past("ON")?;
    cursor.words(&["ONLY"]);
    let table = cursor.name()?;
    let text = statement.text;
    Some(BuildIndex {
        name,
        plain: blanked(text, &concurrently, ""),
        around_table: (
            format!("{} {} ", &text[..concurrently.start], &text[on]),
            text[table.end..].to_owned(),
        ),
        table: table.spelled,
    })
}

fn drop_index(statement: &Statement<'_>) -> Option<String> {
    let mut cursor = Cursor::new(statement);
    cursor.past(CONCURRENTLY)?;
    cursor.words(&["IF", "EXISTS"]);
    Some(cursor.name()?.spelled)
}

fn alter_table(statement: &Statement<'_>) -> Way {
    let mut cursor = Cursor::new(statement);
    cursor.past("TABLE");
    cursor.words(&["IF", "EXISTS"]);
    cursor.words(&["ONLY"]);
    let Some(parent) = cursor.name() else { return Way::Together };
    if cursor.words(&["VALIDATE", "CONSTRAINT"]) {
        return Way::Alone { repeatable: true };
    }
    if !cursor.words(&["DETACH", "PARTITION"]) {
        return Way::Together;
    }
    let detach = cursor.name().and_then(|partition| {
        let concurrently = cursor.past(CONCURRENTLY)?;
        Some(Detach {
            parent: parent.spelled,
            partition: partition.spelled,
            finish: blanked(statement.text, &concurrently, "FINALIZE"),
        })
    });
    detach.map_or(Way::Together, Way::Detach)
}

/// The statement without the word, every other character in its place.
pub(super) fn without_concurrently(statement: &Statement<'_>) -> String {
    match Cursor::new(statement).past(CONCURRENTLY) {
        Some(word) => blanked(statement.text, &word, ""),
        None => statement.text.to_owned(),
    }
}

/// The text with another word, or none, where one stands; nothing behind it moves.
fn blanked(text: &str, word: &Range<usize>, instead: &str) -> String {
    let width = word.len();
    format!("{}{instead:width$}{}", &text[..word.start], &text[word.end..])
}

/// Reads a statement token by token.
struct Cursor<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

/// A name that a statement spells, with its schema when it has one.
struct Name {
    /// As SQL reads it, without comments in between.
    spelled: String,
    /// Its last part, as the server stores it.
    stored: String,
    /// Where it ends.
    end: usize,
}

impl<'a> Cursor<'a> {
    fn new(statement: &'a Statement<'a>) -> Self {
        Self { text: statement.text, tokens: statement.tokens().collect(), at: 0 }
    }

    fn is_word(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is_word(self.text, word))
    }

    /// Moves behind these words if they are next.
    fn words(&mut self, words: &[&str]) -> bool {
        let next = self.tokens.get(self.at..).unwrap_or_default();
        let are = next.len() >= words.len()
            && next.iter().zip(words).all(|(token, word)| token.is_word(self.text, word));
        if are {
            self.at += words.len();
        }
        are
    }

    /// Where the next such word stands.
    fn find(&self, word: &str) -> Option<usize> {
        (self.at..self.tokens.len()).find(|at| self.tokens[*at].is_word(self.text, word))
    }

    /// Moves behind the next such word.
    fn past(&mut self, word: &str) -> Option<Range<usize>> {
        let at = self.find(word)?;
        self.at = at + 1;
        Some(self.tokens[at].range.clone())
    }

    /// Reads a name, and moves behind it. `U&"…"` is left to the server.
    fn name(&mut self) -> Option<Name> {
        let mut spelled = String::new();
        loop {
            let token = self.tokens.get(self.at)?;
            let part = &self.text[token.range.clone()];
            let stored = match token.kind {
                Kind::Word => part.to_ascii_lowercase(),
                Kind::QuotedName => {
                    part.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\"")
                }
                _ => return None,
            };
            spelled.push_str(part);
            let end = token.range.end;
            self.at += 1;
            match self.tokens.get(self.at) {
                Some(token) if token.is_symbol(self.text, b'.') => {
                    spelled.push('.');
                    self.at += 1;
                }
                _ => return Some(Name { spelled, stored: cut(stored), end }),
            }
        }
    }
}

/// A name as long as the server keeps it.
fn cut(mut name: String) -> String {
    let mut end = name.len().min(MAX_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}
