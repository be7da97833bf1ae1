//! Splits a script into statements where `psql` would, and says where each of them stands.
//!
//! Promises that the statements tile the text: joined, they are the text again, whatever it is.
//! A semicolon ends a statement unless it stands in quotes, a comment, parentheses (`CREATE RULE`)
//! or a `BEGIN ATOMIC … END` body. Judges nothing: a statement is reported, not refused.

use std::ops::Range;

use crate::sql::position::Position;
use crate::sql::token::{Kind, Token, Tokens, tokens};

/// How many leading words of a statement are kept: `CREATE UNIQUE INDEX CONCURRENTLY IF NOT`.
const KEYWORDS: usize = 6;

/// What a stretch of a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Something to send to the server.
    Sql,
    /// A command for psql, such as `\i` or `\restrict`, that no server understands.
    Meta,
    /// White space, comments, and lone semicolons: nothing to send.
    Blank,
}

/// A construct that the script opens and never closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Construct {
    /// A string in single quotes.
    Text,
    /// A string in dollar quotes.
    DollarText,
    /// A name in double quotes.
    QuotedName,
    /// A `/* */` comment.
    Comment,
    /// A parenthesis.
    Parenthesis,
    /// A `BEGIN ATOMIC` body.
    AtomicBody,
}

impl Construct {
    /// How the construct is called, and what would close it.
    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("string", "'"),
            Self::DollarText => ("dollar-quoted string", "its $tag$"),
            Self::QuotedName => ("quoted name", "\""),
            Self::Comment => ("comment", "*/"),
            Self::Parenthesis => ("parenthesis", ")"),
            Self::AtomicBody => ("BEGIN ATOMIC body", "END"),
        }
    }
}

/// Where an unclosed construct opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclosed {
    /// What is open.
    pub construct: Construct,
    /// The byte in the whole text at which it opens.
    pub offset: usize,
}

/// One statement, with the white space and comments before it and its semicolon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What it is.
    pub shape: Shape,
    /// Its text, exactly as it stands in the script.
    pub text: &'a str,
    /// Its bytes in the script.
    pub range: Range<usize>,
    /// The byte in the script at which its first word stands.
    pub start: usize,
    /// The line and column of that byte.
    pub position: Position,
    /// Its first bare words in upper case, up to the first thing that is not one.
    pub keywords: Vec<String>,
    /// What it opens and never closes; only the last statement of a script can have one.
    pub unclosed: Option<Unclosed>,
}

/// How statements begin that begin, end or divide a transaction.
const TRANSACTION_CONTROL: [&[&str]; 9] = [
    &["BEGIN"],
    &["START", "TRANSACTION"],
    &["COMMIT"],
    &["END"],
    &["ROLLBACK"],
    &["ABORT"],
    &["SAVEPOINT"],
    &["RELEASE"],
    &["PREPARE", "TRANSACTION"],
];

impl Statement<'_> {
    /// The words that make the statement one that begins, ends or divides a transaction, if it is.
    pub fn transaction_control(&self) -> Option<&'static [&'static str]> {
        TRANSACTION_CONTROL.into_iter().find(|words| self.begins(words))
    }

    /// Whether the statement begins with these words, given in upper case.
    pub fn begins(&self, words: &[&str]) -> bool {
        self.keywords.len() >= words.len()
            && self.keywords.iter().zip(words).all(|(keyword, word)| keyword == word)
    }

    /// The tokens of the statement that are neither white space nor comments, relative to its text.
    pub fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        tokens(self.text).filter(|token| !token.is_trivia())
    }
}

/// The statements of a script.
pub fn statements(text: &str) -> Statements<'_> {
    Statements { text, tokens: tokens(text), held: None, at: 0, position: Position::START }
}

/// An iterator over the statements of a script; see [`statements`].
#[derive(Clone, Debug)]
pub struct Statements<'a> {
    text: &'a str,
    tokens: Tokens<'a>,
    /// A psql command that cut the statement before it short, and is next.
    held: Option<Token>,
    at: usize,
    position: Position,
}

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        if self.at >= self.text.len() {
            return None;
        }
        let mut reading = Reading::new(self.text);
        let mut end = self.text.len();
        while let Some(token) = self.held.take().or_else(|| self.tokens.next()) {
            if token.kind == Kind::Meta {
                if reading.start.is_some() {
                    end = token.range.start;
                    self.held = Some(token);
                } else {
                    end = token.range.end;
                    reading.meta(&token);
                }
                break;
            }
            if reading.take(&token) {
                end = token.range.end;
                break;
            }
        }
        Some(self.cut(end, reading))
    }
}

impl<'a> Statements<'a> {
    /// Makes the statement that ends at `end`, and moves behind it.
    fn cut(&mut self, end: usize, reading: Reading<'_>) -> Statement<'a> {
        let range = self.at..end;
        let start = reading.start.unwrap_or(end);
        let position = self.position.after(&self.text[range.start..start]);
        let unclosed = if end == self.text.len() { reading.unclosed() } else { None };
        self.position = position.after(&self.text[start..end]);
        self.at = end;
        Statement {
            shape: reading.shape,
            text: &self.text[range.clone()],
            range,
            start,
            position,
            keywords: reading.keywords,
            unclosed,
        }
    }
}

/// What is known of a statement while its tokens are read.
struct Reading<'a> {
    text: &'a str,
    shape: Shape,
    start: Option<usize>,
    keywords: Vec<String>,
    keywords_end: bool,
    /// Offsets of the open parentheses.
    parentheses: Vec<usize>,
    /// Offsets of `BEGIN ATOMIC` and of each `CASE` inside it.
    blocks: Vec<usize>,
    last: Last,
    broken: Option<Unclosed>,
}

/// The token before, as far as it changes what a word means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Begin(usize),
    /// `AS` or a dot: the word that follows is a name, even when it reads `end`.
    Naming,
    Other,
}

impl<'a> Reading<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            shape: Shape::Blank,
            start: None,
            keywords: Vec::new(),
            keywords_end: false,
            parentheses: Vec::new(),
            blocks: Vec::new(),
            last: Last::Other,
            broken: None,
        }
    }

    fn meta(&mut self, token: &Token) {
        self.shape = Shape::Meta;
        self.start = Some(token.range.start);
    }

    /// Takes the next token in; true when it ends the statement.
    fn take(&mut self, token: &Token) -> bool {
        if !token.closed {
            self.broken = construct(token.kind)
                .map(|construct| Unclosed { construct, offset: token.range.start });
        }
        if token.is_trivia() {
            return false;
        }
        if token.is_symbol(self.text, b';') && self.parentheses.is_empty() && self.blocks.is_empty()
        {
            return true;
        }
        self.shape = Shape::Sql;
        self.start.get_or_insert(token.range.start);
        if token.kind == Kind::Word {
            self.word(token);
        } else {
            self.other(token);
        }
        false
    }

    fn word(&mut self, token: &Token) {
        let word = self.text[token.range.clone()].to_ascii_uppercase();
        let here = token.range.start;
        let naming = self.last == Last::Naming;
        let begin = match self.last {
            Last::Begin(at) => Some(at),
            _ => None,
        };
        self.last = match word.as_str() {
            "BEGIN" if !naming => Last::Begin(here),
            "AS" => Last::Naming,
            _ => Last::Other,
        };
        if self.parentheses.is_empty() && !naming {
            match (word.as_str(), begin) {
                ("ATOMIC", Some(at)) if self.makes_routine() => self.blocks.push(at),
                ("CASE", _) if !self.blocks.is_empty() => self.blocks.push(here),
                ("END", _) => {
                    self.blocks.pop();
                }
                _ => {}
            }
        }
        if !self.keywords_end && self.keywords.len() < KEYWORDS {
            self.keywords.push(word);
        }
    }

    fn other(&mut self, token: &Token) {
        self.keywords_end = true;
        self.last = if token.is_symbol(self.text, b'.') { Last::Naming } else { Last::Other };
        if token.is_symbol(self.text, b'(') {
            self.parentheses.push(token.range.start);
        } else if token.is_symbol(self.text, b')') {
            self.parentheses.pop();
        }
    }

    /// Only a function or procedure has a `BEGIN ATOMIC` body.
    fn makes_routine(&self) -> bool {
        let words: Vec<_> = self.keywords.iter().map(String::as_str).collect();
        matches!(
            words.as_slice(),
            ["CREATE", "FUNCTION" | "PROCEDURE", ..]
                | ["CREATE", "OR", "REPLACE", "FUNCTION" | "PROCEDURE", ..]
        )
    }

    /// What the statement leaves open if the text ends here.
    fn unclosed(&self) -> Option<Unclosed> {
        let open = |construct, stack: &[usize]| {
            stack.first().map(|offset| Unclosed { construct, offset: *offset })
        };
        self.broken
            .or_else(|| open(Construct::Parenthesis, &self.parentheses))
            .or_else(|| open(Construct::AtomicBody, &self.blocks))
    }
}

fn construct(kind: Kind) -> Option<Construct> {
    match kind {
        Kind::Text => Some(Construct::Text),
        Kind::DollarText => Some(Construct::DollarText),
        Kind::QuotedName => Some(Construct::QuotedName),
        Kind::Comment => Some(Construct::Comment),
        Kind::Space | Kind::Word | Kind::Number | Kind::Meta | Kind::Symbol => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sql::position::line_column;
    use proptest::prelude::*;

    /// Statements whose semicolons are not what they seem.
    const ODD: [&str; 10] = [
        "SELECT 'it''s; \\'",
        "SELECT E'it\\'s; \\\\' -- it's;\n'c\\';'",
        "SELECT U&'d\\0061t;a' AS U&\"odd;\"",
        "SELECT $$;$$, $a$ $$;$$ $b$ ; $a$, a$b$, $1, $2",
        "SELECT 1 /* ; /* ; */ ' */ AS \"a\"\";\"",
        "SELECT 2*/* ; */3 --;'$$\"\n+ 2",
        "SELECT CASE WHEN true THEN begin END AS end FROM atomic",
        "CREATE FUNCTION f() BEGIN /* ; */ ATOMIC SELECT CASE a WHEN 1 THEN 2 END; SELECT a.end; END",
        "CREATE RULE r AS ON UPDATE TO t DO INSTEAD (DELETE FROM t; SELECT ';')",
        "DO $do$ BEGIN EXECUTE $$SELECT ';'$$; END $do$",
    ];

    fn split(text: &str) -> Vec<&str> {
        statements(text)
            .filter(|statement| statement.shape != Shape::Blank)
            .map(|statement| statement.text.trim())
            .collect()
    }

    #[test]
    fn a_semicolon_in_quotes_ends_nothing() {
        let text = "SELECT ';', \";\", $$;$$, E'\\';'; -- ;\nSELECT /* ; */ 2";
        assert_eq!(split(text).len(), 2);
    }

    #[test]
    fn an_atomic_body_is_one_statement() {
        let body = "CREATE OR REPLACE FUNCTION f(x int) RETURNS int LANGUAGE sql\nBEGIN ATOMIC\n  \
                    SELECT CASE WHEN x > 0 THEN CASE x WHEN 1 THEN 2 END ELSE 0 END AS end;\n  \
                    SELECT (CASE WHEN true THEN 1 END), t.end FROM t;\nEND;";
        assert_eq!(split(&format!("{body}\nSELECT 1;")), [body, "SELECT 1;"]);
    }

    #[test]
    fn begin_elsewhere_opens_no_body() {
        assert_eq!(split("BEGIN; SELECT 1; END;"), ["BEGIN;", "SELECT 1;", "END;"]);
        assert_eq!(split("BEGIN ATOMIC; SELECT 1;").len(), 2);
        assert_eq!(split("CREATE FUNCTION f() RETURNS int AS 'x'; SELECT 1").len(), 2);
    }

    #[test]
    fn a_rule_keeps_its_actions_together() {
        let rule = "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; DELETE FROM b);";
        assert_eq!(split(&format!("{rule} SELECT 1")), [rule, "SELECT 1"]);
    }

    #[test]
    fn a_psql_command_stands_alone_and_cuts_a_statement_short() {
        let shapes: Vec<_> = statements("\\restrict abc\nSELECT 1 \\gset\nSELECT 2;")
            .map(|statement| (statement.shape, statement.text.trim()))
            .collect();
        assert_eq!(
            shapes,
            [
                (Shape::Meta, "\\restrict abc"),
                (Shape::Sql, "SELECT 1"),
                (Shape::Meta, "\\gset"),
                (Shape::Sql, "SELECT 2;"),
            ]
        );
    }

    #[test]
    fn keywords_are_the_leading_words_and_positions_are_theirs() {
        let text = "-- note\n\n  create /* x */ index concurrently on t (a);";
        let first = statements(text).next().unwrap();
        assert_eq!(first.keywords, ["CREATE", "INDEX", "CONCURRENTLY", "ON", "T"]);
        assert!(first.begins(&["CREATE", "INDEX"]));
        assert!(!first.begins(&["CREATE", "TABLE"]));
        assert_eq!(first.position, Position { line: 3, column: 3 });
    }

    #[test]
    fn what_is_left_open_is_named_with_its_place() {
        for (text, construct, offset) in [
            ("SELECT 1; SELECT 'a", Construct::Text, 17),
            ("SELECT $x$ a", Construct::DollarText, 7),
            ("SELECT \"a", Construct::QuotedName, 7),
            ("SELECT 1; /* a", Construct::Comment, 10),
            ("CREATE TABLE t (a int;", Construct::Parenthesis, 15),
            ("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", Construct::AtomicBody, 20),
        ] {
            let last = statements(text).last().unwrap();
            assert_eq!(last.unclosed, Some(Unclosed { construct, offset }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn statements_tile_any_text(
            text in prop_oneof![
                ".{0,80}",
                r#"([-'"$\\/*;()\n .]|begin |atomic |case |end |create function |as |é){0,60}"#,
            ]
        ) {
            let mut joined = String::new();
            let mut at = 0;
            for statement in statements(&text) {
                prop_assert_eq!(statement.range.start, at);
                prop_assert!(statement.range.end > at);
                prop_assert!(statement.start >= at && statement.start <= statement.range.end);
                prop_assert_eq!(statement.position, line_column(&text, statement.start));
                at = statement.range.end;
                joined.push_str(statement.text);
            }
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn complete_statements_are_found_again(count in 0_usize..8) {
            let one = "INSERT INTO t VALUES ('a;''b', E'\\';', $$;$$);\n";
            prop_assert_eq!(split(&one.repeat(count)).len(), count);
        }

        #[test]
        fn odd_statements_are_found_in_any_order(
            picked in proptest::collection::vec(0_usize..ODD.len(), 0..8),
            between in proptest::collection::vec("( |\n|/\\* ; /\\*'\\*/ \\*/|-- ;'\n)", 8),
        ) {
            let script: String = picked
                .iter()
                .zip(&between)
                .map(|(at, between)| format!("{between}{}\n;", ODD[*at]))
                .collect();
            let found: Vec<String> = statements(&script)
                .map(|statement| {
                    let ends = |token: &Token| token.is_symbol(statement.text, b';');
                    let tokens: Vec<Token> = statement.tokens().collect();
                    let end = tokens.iter().rfind(|token| ends(token)).unwrap().range.start;
                    script[statement.start..statement.range.start + end].trim_end().to_owned()
                })
                .collect();
            let wanted: Vec<&str> = picked.iter().map(|at| ODD[*at]).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
