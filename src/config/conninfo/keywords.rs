//! Reads `host=db.internal user=app password='it''s no\'t SQL'`: libpq's keyword/value form.
//!
//! A complaint never quotes the text: what could not be read may be part of a password.

use super::{Malformed, Pair};

/// Splits a string into its parameters, in order.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>, Malformed> {
    let mut reader = Reader { rest: text, whole: text };
    let mut pairs = Vec::new();
    loop {
        reader.skip_whitespace();
        if reader.rest.is_empty() {
            return Ok(pairs);
        }
        let at = reader.position();
        let name = reader.name();
        reader.skip_whitespace();
        if !reader.accept('=') {
            return Err(Malformed::new(format!(
                "\"=\" is missing after the word at character {at}"
            ))
            .hint("quote a value that holds spaces: password='two words'"));
        }
        reader.skip_whitespace();
        let value = if reader.accept('\'') { reader.quoted(at)? } else { reader.plain() };
        pairs.push(Pair { name, value });
    }
}

struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
}

impl Reader<'_> {
    /// 1-based, in characters.
    fn position(&self) -> usize {
        let read = self.whole.len() - self.rest.len();
        self.whole.get(..read).map_or(0, |read| read.chars().count()) + 1
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn accept(&mut self, wanted: char) -> bool {
        let Some(rest) = self.rest.strip_prefix(wanted) else { return false };
        self.rest = rest;
        true
    }

    fn skip_whitespace(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    fn name(&mut self) -> String {
        let end = self.rest.find(|c| c == '=' || is_space(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name.to_owned()
    }

    fn plain(&mut self) -> String {
        let mut value = String::new();
        while !self.rest.starts_with(is_space) {
            match self.next() {
                // A backslash at the very end stands for nothing, as in libpq.
                Some('\\') => value.extend(self.next()),
                Some(c) => value.push(c),
                None => break,
            }
        }
        value
    }

    fn quoted(&mut self, at: usize) -> Result<String, Malformed> {
        let mut value = String::new();
        loop {
            match self.next() {
                Some('\'') => return Ok(value),
                Some('\\') => value.extend(self.next()),
                Some(c) => value.push(c),
                None => {
                    return Err(Malformed::new(format!(
                        "the quoted value of the parameter at character {at} does not end"
                    ))
                    .hint(r"write a quote inside a value as \'"));
                }
            }
        }
    }
}

/// C's `isspace`, which is what libpq asks.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|pair| (pair.name, pair.value)).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn values_may_be_plain_escaped_or_quoted() {
        assert_eq!(
            read(r"host=a  port = 5432 user='it\'s me' dbname=with\ space options=''"),
            owned(&[
                ("host", "a"),
                ("port", "5432"),
                ("user", "it's me"),
                ("dbname", "with space"),
                ("options", ""),
            ])
        );
        assert_eq!(read("  \t\n"), []);
        assert_eq!(read("a="), owned(&[("a", "")]));
        assert_eq!(read(r"a=b\"), owned(&[("a", "b")]));
        assert_eq!(read("a='b'c=d"), owned(&[("a", "b"), ("c", "d")]));
    }

    #[test]
    fn a_complaint_gives_the_place_and_not_the_text() {
        let complaint = parse("password=hunter two").err().unwrap();
        assert_eq!(complaint.message, "\"=\" is missing after the word at character 17");
        assert!(parse("password='hunter2").err().unwrap().message.contains("character 1"));
    }

    fn quote(value: &str) -> String {
        format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
    }

    proptest! {
        #[test]
        fn a_quoted_value_comes_back(value in ".*", other in ".*") {
            let text = format!("user={} dbname = {}", quote(&value), quote(&other));
            prop_assert_eq!(read(&text), owned(&[("user", &value), ("dbname", &other)]));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _result = parse(&text);
        }
    }
}
