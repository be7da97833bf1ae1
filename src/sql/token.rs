//! PostgreSQL's lexical rules, as far as they decide where a token ends.
//!
//! Promises that the tokens tile the text: every byte belongs to exactly one token, in order, for
//! any input, and nothing panics. Numbers and operators are split more finely than PostgreSQL does,
//! because no caller looks inside them. Reads strings with `standard_conforming_strings` on, the
//! default of every supported server: a backslash escapes only inside `E'…'`.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// White space.
    Space,
    /// A comment: `--` to the end of the line, or a nested `/* */`.
    Comment,
    /// A bare word: a keyword or an unquoted name.
    Word,
    /// A name in double quotes, with its `U&` when it has one.
    QuotedName,
    /// A string in single quotes, with its `E`, `B`, `X`, `N` or `U&` when it has one.
    Text,
    /// A string between `$tag$` and `$tag$`.
    DollarText,
    /// Digits: (a part of) a number, or a parameter such as `$1`.
    Number,
    /// A psql command: a backslash outside of any quotes, up to the end of the line.
    Meta,
    /// Any other single character.
    Symbol,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// Whether its closing quote or `*/` is there.
    pub closed: bool,
}

impl Token {
    /// Whether the token is white space or a comment.
    pub fn is_trivia(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::Comment)
    }

    /// Whether the token is this one character.
    pub fn is_symbol(&self, text: &str, symbol: u8) -> bool {
        self.kind == Kind::Symbol && text.as_bytes().get(self.range.start) == Some(&symbol)
    }

    /// Whether the token is this bare word, in any letter case.
    pub fn is_word(&self, text: &str, word: &str) -> bool {
        self.kind == Kind::Word && text[self.range.clone()].eq_ignore_ascii_case(word)
    }
}

/// The tokens of a text.
pub fn tokens(text: &str) -> Tokens<'_> {
    Tokens { text, at: 0 }
}

/// An iterator over the tokens of a text; see [`tokens`].
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let (kind, length, closed) = lex(self.text.get(start..)?)?;
        self.at = start + length;
        Some(Token { kind, range: start..self.at, closed })
    }
}

/// The kind of the first token of `rest`, its length in bytes, and whether it is closed.
fn lex(rest: &str) -> Option<(Kind, usize, bool)> {
    let bytes = rest.as_bytes();
    let second = bytes.get(1).copied();
    let third = bytes.get(2).copied();
    let quoted = |kind, prefix: usize, end: Option<usize>| {
        (kind, end.map_or(rest.len(), |end| prefix + end), end.is_some())
    };
    Some(match *bytes.first()? {
        first if is_space(first) => {
            (Kind::Space, length_while(bytes, |byte, _| is_space(byte)), true)
        }
        b'-' if second == Some(b'-') => {
            (Kind::Comment, length_while(bytes, |byte, _| !is_newline(byte)), true)
        }
        b'/' if second == Some(b'*') => quoted(Kind::Comment, 0, block_comment(bytes)),
        b'\'' => quoted(Kind::Text, 0, doubled(bytes, b'\'')),
        b'"' => quoted(Kind::QuotedName, 0, doubled(bytes, b'"')),
        b'E' | b'e' if second == Some(b'\'') => quoted(Kind::Text, 1, escaped(&bytes[1..])),
        b'B' | b'b' | b'X' | b'x' | b'N' | b'n' if second == Some(b'\'') => {
            quoted(Kind::Text, 1, doubled(&bytes[1..], b'\''))
        }
        b'U' | b'u' if second == Some(b'&') && third == Some(b'\'') => {
            quoted(Kind::Text, 2, doubled(&bytes[2..], b'\''))
        }
        b'U' | b'u' if second == Some(b'&') && third == Some(b'"') => {
            quoted(Kind::QuotedName, 2, doubled(&bytes[2..], b'"'))
        }
        b'$' if second.is_some_and(|byte| byte.is_ascii_digit()) => {
            (Kind::Number, length_while(bytes, |byte, at| at == 0 || byte.is_ascii_digit()), true)
        }
        b'$' => match dollar_tag(rest) {
            Some(tag) => quoted(
                Kind::DollarText,
                2 * tag.len(),
                rest.get(tag.len()..).and_then(|body| body.find(tag)),
            ),
            None => (Kind::Symbol, 1, true),
        },
        b'\\' => (Kind::Meta, length_while(bytes, |byte, _| !is_newline(byte)), true),
        first if first.is_ascii_digit() => {
            (Kind::Number, length_while(bytes, |byte, _| byte.is_ascii_digit()), true)
        }
        first if starts_word(first) => {
            // A `$` inside a word belongs to it: `a$b$c` is one name and opens no string.
            let length = length_while(bytes, |byte, _| continues_tag(byte) || byte == b'$');
            (Kind::Word, length, true)
        }
        _ => (Kind::Symbol, 1, true),
    })
}

fn length_while(bytes: &[u8], keep: impl Fn(u8, usize) -> bool) -> usize {
    bytes.iter().enumerate().take_while(|(at, byte)| keep(**byte, *at)).count()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Every byte of a character beyond ASCII counts as a letter, exactly as in PostgreSQL.
fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_tag(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit()
}

/// The length of a `/* */` comment, which nests.
fn block_comment(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// The length of a string whose closing quote is escaped by doubling it.
fn doubled(bytes: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        if *bytes.get(at)? != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

/// The length of an `E'…'` string, seen from its first quote, with everything that continues it.
fn escaped(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => match continuation(&bytes[at + 1..]) {
                Some(gap) => at += 1 + gap + 1,
                None => return Some(at + 1),
            },
            _ => at += 1,
        }
    }
}

/// The bytes between a closing quote and one that continues the string on a later line.
///
/// Only `E'…'` needs this: the next part keeps its backslash escapes although no `E` is written.
fn continuation(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut newline = false;
    loop {
        match *bytes.get(at)? {
            b'\'' if newline => return Some(at),
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at += length_while(&bytes[at..], |byte, _| !is_newline(byte));
            }
            byte if is_space(byte) => {
                newline |= is_newline(byte);
                at += 1;
            }
            _ => return None,
        }
    }
}

/// The opening `$tag$` at the start of `rest`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let bytes = rest.as_bytes();
    let name = length_while(bytes.get(1..)?, |byte, _| continues_tag(byte));
    let end = name + 1;
    let opens = bytes.get(end) == Some(&b'$')
        && (name == 0 || bytes.get(1).is_some_and(|byte| starts_word(*byte)));
    if opens { rest.get(..=end) } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text)
            .filter(|token| token.kind != Kind::Space)
            .map(|token| (token.kind, &text[token.range]))
            .collect()
    }

    #[test]
    fn every_quoting_style_is_one_token() {
        for (text, kind) in [
            ("'it''s; fine\\'", Kind::Text),
            (r"E'it\'s; fine'", Kind::Text),
            ("e'a''b\\\\'", Kind::Text),
            ("U&'d\\0061t;'", Kind::Text),
            ("B'01;'", Kind::Text),
            ("$$ a; 'b $x$ $$", Kind::DollarText),
            ("$tag$ $$;$$ $ta$ $tag$", Kind::DollarText),
            ("$ü$ ; $ü$", Kind::DollarText),
            ("\"odd;\"\"name\"", Kind::QuotedName),
            ("U&\"odd;\"", Kind::QuotedName),
            ("/* a /* ; */ ' */", Kind::Comment),
            ("-- it's; a comment", Kind::Comment),
            ("\\i other.sql", Kind::Meta),
            ("naïve$1$", Kind::Word),
        ] {
            assert_eq!(kinds(text), [(kind, text)], "{text}");
        }
    }

    #[test]
    fn a_string_continued_on_the_next_line_keeps_its_escapes() {
        let text = "E'a' -- note\n  'b\\'; c'";
        assert_eq!(kinds(text), [(Kind::Text, text)]);
        assert_eq!(kinds("E'a' 'b'").len(), 2);
    }

    #[test]
    fn a_comment_begins_inside_an_operator() {
        assert_eq!(kinds("1*/* ; */2")[2], (Kind::Comment, "/* ; */"));
        assert_eq!(kinds("@-- ;")[1], (Kind::Comment, "-- ;"));
    }

    #[test]
    fn a_parameter_is_not_a_dollar_quote() {
        assert_eq!(kinds("$1$2")[0], (Kind::Number, "$1"));
        assert_eq!(kinds("$1a$ ; $1a$")[0], (Kind::Number, "$1"));
    }

    #[test]
    fn what_is_never_closed_says_so() {
        for text in ["'a", "E'a\\'", "E'a\\", "\"a", "$$a", "$x$ $y$", "/* /* */", "E'a'\n'b"] {
            let token = tokens(text).next().unwrap();
            assert!(!token.closed, "{text}");
            assert_eq!(token.range, 0..text.len());
        }
    }

    proptest! {
        #[test]
        fn tokens_tile_any_text(
            text in prop_oneof![".{0,60}", r#"([-'"$\\/*;()eEuU&aé\n 1]|\$a\$){0,60}"#]
        ) {
            let mut at = 0;
            for token in tokens(&text) {
                prop_assert_eq!(token.range.start, at);
                prop_assert!(token.range.end > at);
                prop_assert!(text.is_char_boundary(token.range.end));
                at = token.range.end;
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
