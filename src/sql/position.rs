//! Where something stands in a text, as a person counts: lines and columns from 1.
//!
//! Columns count characters, not bytes, because that is what editors and PostgreSQL count. An
//! offset past the end means the end, so no caller can be made to panic by a server's answer.

use std::fmt;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// 1-based line.
    pub line: usize,
    /// 1-based column, in characters.
    pub column: usize,
}

impl Position {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place that is reached by reading `text` from here.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        text.chars().fold(self, |at, character| {
            if character == '\n' {
                Self { line: at.line + 1, column: 1 }
            } else {
                Self { line: at.line, column: at.column + 1 }
            }
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The line and column of a byte offset. An offset inside a character means that character.
pub fn line_column(text: &str, offset: usize) -> Position {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    Position::START.after(&text[..offset])
}

/// The line and column of a 1-based character, which is how PostgreSQL reports a syntax error.
pub fn line_column_of_character(text: &str, character: usize) -> Position {
    let offset =
        text.char_indices().nth(character.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
    line_column(text, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        assert_eq!(line_column("é\nüx", 5), Position { line: 2, column: 2 });
        assert_eq!(line_column_of_character("é\nüx", 4), Position { line: 2, column: 2 });
    }

    #[test]
    fn an_offset_past_the_end_is_the_end() {
        assert_eq!(line_column("ab", 99), Position { line: 1, column: 3 });
        assert_eq!(line_column_of_character("ab", 99), Position { line: 1, column: 3 });
        assert_eq!(line_column_of_character("ab", 0), Position::START);
    }

    proptest! {
        #[test]
        fn the_two_ways_to_count_agree(text in "[a-zé\n]{0,40}", pick in 0_usize..50) {
            let characters = text.chars().count();
            let pick = pick.min(characters);
            let offset = text.char_indices().nth(pick).map_or(text.len(), |(at, _)| at);
            prop_assert_eq!(line_column(&text, offset), line_column_of_character(&text, pick + 1));
        }

        #[test]
        fn no_offset_panics(text in ".{0,20}", offset in 0_usize..100) {
            let _ = line_column(&text, offset);
        }
    }
}
