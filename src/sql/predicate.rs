//! A condition that somebody wrote: one expression, and nothing behind it.

use super::quote::Fragment;
use super::token::{Kind, tokens};

/// A boolean expression in somebody's own words. It stands in parentheses wherever it stands, and it
/// cannot end them: it holds no semicolon, no comment, no parameter, and closes what it opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Predicate(String);

impl Predicate {
    /// Checks an expression. What it means, and whether it is boolean, the server says.
    ///
    /// # Errors
    ///
    /// Why it is no expression, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut open: Vec<u8> = Vec::new();
        let mut empty = true;
        for token in tokens(text) {
            if !token.closed {
                return Err("a quote is opened and never closed".to_owned());
            }
            let word = &text[token.range.clone()];
            match token.kind {
                Kind::Space => continue,
                Kind::Comment => return Err("it holds a comment".to_owned()),
                Kind::Meta => return Err("it holds a command for psql".to_owned()),
                Kind::Number if word.starts_with('$') => {
                    return Err(format!("it holds the parameter {word}"));
                }
                Kind::Symbol => match word.as_bytes() {
                    [b';'] => {
                        return Err("it holds a semicolon: one expression is wanted".to_owned());
                    }
                    [b'$'] => return Err("it holds a lone $".to_owned()),
                    [b'('] => open.push(b')'),
                    [b'['] => open.push(b']'),
                    [close @ (b')' | b']')] if open.pop() != Some(*close) => {
                        return Err(format!("it closes a {word} that it never opened"));
                    }
                    _ => {}
                },
                _ => {}
            }
            empty = false;
        }
        if empty {
            return Err("it is empty".to_owned());
        }
        if !open.is_empty() {
            return Err("it opens a parenthesis and never closes it".to_owned());
        }
        Ok(Self(text.trim().to_owned()))
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Fragment for Predicate {
    fn fragment(&self) -> String {
        format!("({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_passes_in_its_own_words() {
        for text in [
            "email = 'ann@example.org'",
            "id IN (SELECT user_id FROM members WHERE name = 'a;b -- c')",
            r"data->>'email' ~ E'^a\'b' AND tags[1] = 'x'",
            "note = $$a;b)$$",
        ] {
            let predicate = Predicate::new(text).unwrap();
            assert_eq!(predicate.fragment(), format!("({text})"));
        }
    }

    #[test]
    fn what_would_end_it_is_refused() {
        for text in [
            "",
            "  ",
            "true; DROP TABLE users",
            "true) OR (true",
            "(true",
            "a[1",
            "a[1)",
            "x = 'open",
            "true -- and nothing else",
            "true /* and nothing else */",
            "id = $1",
            "\\! rm",
        ] {
            assert!(Predicate::new(text).is_err(), "{text}");
        }
    }
}
