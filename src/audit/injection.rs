//! Whether a routine runs text that its caller may give: statements that are put together at run time
//! from a text argument, or a setting, that nothing quotes.
//!
//! Follows values from argument to variable to EXECUTE. Promises not to accuse what is quoted
//! (`quote_literal`, `%L`), cast to a type that is no text, handed over with USING, or compared with
//! a list of values first. Reads words, not grammar: what it does not follow is for the probes.

use std::collections::BTreeSet;

use crate::model::catalog::Function;
use crate::sql::token::{Kind, Token, tokens};

/// What makes a text harmless where it stands in a statement.
const QUOTING: [&str; 6] =
    ["quote_ident", "quote_literal", "quote_nullable", "length", "char_length", "to_regclass"];

/// Types in which no statement fits.
const NO_TEXT: [&str; 23] = [
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "bigint",
    "smallint",
    "numeric",
    "decimal",
    "uuid",
    "boolean",
    "bool",
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "interval",
    "real",
    "float8",
    "oid",
    "regclass",
    "regrole",
    "regnamespace",
];

/// Types in which one does.
const TEXT: [&str; 8] =
    ["text", "varchar", "character", "char", "bpchar", "name", "citext", "json"];

/// Whether a routine runs a text that its caller gave.
pub(super) fn injectable(function: &Function) -> bool {
    let words = words(&function.body);
    if !words.iter().any(|word| word.is("execute")) {
        return false;
    }
    let mut given = given(&function.arguments);
    given.insert("current_setting".to_owned());
    given.retain(|name| !checked(&words, name));
    let statements: Vec<&[Word<'_>]> = words.split(|word| word.text == ";").collect();
    loop {
        let before = given.len();
        for statement in &statements {
            if let Some((name, value)) = assignment(statement)
                && carries(value, &given)
                && !checked(&words, &name)
            {
                given.insert(name);
            }
        }
        if given.len() == before {
            break;
        }
    }
    statements.iter().any(|statement| executed(statement).is_some_and(|run| carries(run, &given)))
}

/// A word of a text, or a sign.
#[derive(Clone, Copy, Debug)]
struct Word<'t> {
    text: &'t str,
    kind: Kind,
}

impl Word<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    fn name(&self) -> String {
        self.text.trim_matches('"').to_lowercase()
    }
}

fn words(text: &str) -> Vec<Word<'_>> {
    let word = |token: Token| Word { text: &text[token.range.clone()], kind: token.kind };
    tokens(text).filter(|token| !token.is_trivia()).map(word).collect()
}

/// The arguments that may hold a statement, by name and by number.
fn given(arguments: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut depth = 0_i32;
    let parts = arguments.split(|sign| {
        depth += i32::from(sign == '(') - i32::from(sign == ')');
        sign == ',' && depth == 0
    });
    for (at, part) in parts.enumerate() {
        let mut words: Vec<&str> = part.split_whitespace().collect();
        if words.first().is_some_and(|mode| ["IN", "INOUT", "VARIADIC"].contains(mode)) {
            words.remove(0);
        }
        let kind = |word: &&str| {
            let base = word.split(['(', '[']).next().unwrap_or_default();
            TEXT.contains(&base.rsplit('.').next().unwrap_or(base))
        };
        match words.as_slice() {
            [only] if kind(only) => {}
            [first, "varying", ..] if kind(first) => {}
            [name, rest @ ..] if rest.first().is_some_and(kind) => {
                found.insert(name.trim_matches('"').to_lowercase());
            }
            _ => continue,
        }
        found.insert(format!("${}", at + 1));
    }
    found
}

/// Whether a value is compared with what it may be: `IF x NOT IN ('a', 'b')`, `x ~ '^[a-z]+$'`.
fn checked(words: &[Word<'_>], name: &str) -> bool {
    words.windows(3).any(|three| {
        let [value, next, after] = three else { return false };
        value.name() == name
            && (next.is("in")
                || next.is("not") && after.is("in")
                || next.text == "~"
                || next.text == "!" && after.text == "~"
                || next.text == "=" && after.is("any"))
    })
}

/// A variable and what is put into it.
fn assignment<'w, 't>(statement: &'w [Word<'t>]) -> Option<(String, &'w [Word<'t>])> {
    let openers = ["begin", "then", "else", "loop", "declare"];
    let from = statement.iter().rposition(|word| word.is_one_of(&openers)).map_or(0, |at| at + 1);
    let statement = &statement[from..];
    let name =
        statement.first().filter(|word| matches!(word.kind, Kind::Word | Kind::QuotedName))?;
    let at = statement.iter().enumerate().position(|(at, word)| {
        word.is("default")
            || word.text == ":" && statement.get(at + 1).is_some_and(|next| next.text == "=")
            || at == 1 && word.text == "="
    })?;
    Some((name.name(), &statement[at + 1..]))
}

/// What a statement runs.
fn executed<'w, 't>(statement: &'w [Word<'t>]) -> Option<&'w [Word<'t>]> {
    let at = statement.iter().enumerate().position(|(at, word)| {
        let privilege = ["on", "function", "procedure"];
        word.is("execute") && statement.get(at + 1).is_some_and(|next| !next.is_one_of(&privilege))
    })?;
    let run = &statement[at + 1..];
    let mut depth = 0_i32;
    let end = run.iter().position(|word| {
        depth += i32::from(word.text == "(") - i32::from(word.text == ")");
        depth == 0 && word.is_one_of(&["using", "into", "loop"])
    });
    Some(&run[..end.unwrap_or(run.len())])
}

/// Whether an expression holds one of these values as it is.
fn carries(expression: &[Word<'_>], given: &BTreeSet<String>) -> bool {
    let mut at = 0;
    let mut condition = false;
    while let Some(word) = expression.get(at) {
        // What follows a closing parenthesis of a call.
        let after = |from: usize| {
            let mut depth = 0_i32;
            let closes = expression[from..].iter().position(|word| {
                depth += i32::from(word.text == "(") - i32::from(word.text == ")");
                depth == 0
            });
            closes.map_or(expression.len(), |length| from + length + 1)
        };
        let called = expression.get(at + 1).is_some_and(|next| next.text == "(");
        if word.is("when") || word.is("case") {
            condition = true;
        } else if word.is("then") || word.is("else") {
            condition = false;
        } else if called && word.is_one_of(&QUOTING) {
            at = after(at + 1);
            continue;
        } else if called && word.is("format") {
            let end = after(at + 1);
            let pattern = expression.get(at + 2).map_or("", |pattern| pattern.text);
            let raw = pattern.contains("%s") || pattern.contains("$s");
            let inside = &expression[(at + 2).min(end)..end];
            if (raw || !pattern.starts_with('\'')) && carries(inside, given) {
                return true;
            }
            at = end;
            continue;
        }
        let end = if called { after(at + 1) } else { at + 1 };
        let known = matches!(word.kind, Kind::Word | Kind::QuotedName | Kind::Number)
            && given.contains(&word.name())
            && (called == word.is("current_setting"));
        let cast = expression.get(end).is_some_and(|next| next.text == ":")
            && expression.get(end + 2).is_some_and(|kind| kind.is_one_of(&NO_TEXT));
        if known && !cast && !condition {
            return true;
        }
        at = if known { end } else { at + 1 };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::World;

    fn runs(arguments: &str, body: &str) -> bool {
        let mut world = World::new();
        let oid = world.function("app", "f", "admin", body);
        let function = world.catalog.functions.get_mut(&oid).unwrap();
        function.arguments = arguments.to_owned();
        injectable(function)
    }

    #[test]
    fn a_text_that_is_joined_is_run() {
        for body in [
            "BEGIN RETURN QUERY EXECUTE 'SELECT * FROM app.notes WHERE ' || q; END",
            "BEGIN EXECUTE q; END",
            "DECLARE s text := 'SELECT 1 WHERE a = ''' || q || ''''; BEGIN EXECUTE s; END",
            "DECLARE s text; t text; BEGIN t := lower(q); s := 'SELECT ' || t; FOR r IN EXECUTE s LOOP NULL; END LOOP; END",
            "BEGIN IF q IS NOT NULL THEN s = s || ' AND a = ' || q; END IF; EXECUTE s INTO r; END",
            "BEGIN EXECUTE format('SELECT * FROM app.notes ORDER BY %s', q); END",
            "BEGIN EXECUTE format('SELECT * FROM app.notes ORDER BY %1$s', q); END",
            "BEGIN EXECUTE 'SELECT ' || current_setting('app.columns'); END",
            "BEGIN EXECUTE 'SELECT ' || $2; END",
        ] {
            assert!(runs("n integer, q text", body), "{body}");
        }
        assert!(runs("character varying", "BEGIN EXECUTE 'SELECT ' || $1; END"));
    }

    #[test]
    fn what_is_quoted_cast_handed_over_or_chosen_is_not() {
        for body in [
            "BEGIN RETURN QUERY EXECUTE 'SELECT * FROM app.notes WHERE a = $1' USING q; END",
            "BEGIN EXECUTE 'SELECT * FROM app.notes WHERE a = ' || quote_literal(q); END",
            "BEGIN EXECUTE format('SELECT * FROM %I WHERE a = %L', q, q); END",
            "BEGIN EXECUTE 'SELECT ' || n; END",
            "BEGIN EXECUTE 'SELECT ' || q::int; END",
            "BEGIN EXECUTE 'SELECT ' || current_setting('app.limit')::int; END",
            "BEGIN IF q NOT IN ('a', 'b') THEN RAISE EXCEPTION 'no'; END IF; EXECUTE 'SELECT ' || q; END",
            "BEGIN EXECUTE 'SELECT 1' || CASE WHEN q = 'down' THEN ' DESC' ELSE '' END; END",
            "BEGIN FOR r IN SELECT name FROM app.lists LOOP EXECUTE 'ANALYZE ' || r.name; END LOOP; END",
            "BEGIN GRANT EXECUTE ON FUNCTION app.g(q) TO x; END",
            "SELECT q",
        ] {
            assert!(!runs("n integer, q text", body), "{body}");
        }
        assert!(!runs("uuid", "BEGIN EXECUTE 'SELECT ' || $1; END"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_stumble(arguments in ".{0,40}", text in ".{0,120}") {
            runs(&arguments, &format!("EXECUTE {text}"));
        }
    }
}
