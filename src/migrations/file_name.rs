//! The names of migration files: `V<version>__<name>.sql`.
//!
//! Accepts only what refinery accepts, and gives it the same meaning. A name that refinery would
//! pass over with a log line, or stop on, is refused with the reason and a better name.

use crate::model::migration::{Prefix, Version};

/// refinery keeps the name in a `VARCHAR(255)`.
const LONGEST: usize = 255;

/// What the name of a migration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// The letter before the version.
    pub prefix: Prefix,
    /// The version.
    pub version: Version,
    /// The name behind the two underscores.
    pub name: String,
}

/// Why a file cannot be used under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName {
    /// What is wrong with it.
    pub what: String,
    /// A name that would do, or the form to follow.
    pub better: String,
}

/// Reads the name of a file, without its directory. None means a file that is plainly not a
/// migration: hidden, or neither SQL nor one of refinery's compiled migrations.
pub fn parse(file: &str) -> Result<Option<FileName>, BadName> {
    let Some((stem, extension)) = file.rsplit_once('.') else { return Ok(None) };
    if stem.is_empty() || file.starts_with('.') {
        return Ok(None);
    }
    match extension {
        "sql" => parse_stem(stem).map(Some),
        "rs" if parse_stem(stem).is_ok() => Err(BadName {
            what: "migrations in Rust exist only inside the program that compiles them".to_owned(),
            better: format!("{stem}.sql, with the SQL that it produces"),
        }),
        other if other.eq_ignore_ascii_case("sql") => Err(BadName {
            what: format!("the extension .{other} is not .sql: refinery would skip the file"),
            better: suggestion(stem),
        }),
        _ => Ok(None),
    }
}

fn parse_stem(stem: &str) -> Result<FileName, BadName> {
    let bad = |what: String| BadName { what, better: suggestion(stem) };
    let (prefix, rest) = prefix(stem).map_err(bad)?;
    let (version, name) = rest.split_once("__").ok_or_else(|| {
        bad("no two underscores between version and name: refinery would skip the file".to_owned())
    })?;
    Ok(FileName {
        prefix,
        version: parse_version(version).map_err(bad)?,
        name: parse_name(name).map_err(bad)?,
    })
}

fn prefix(stem: &str) -> Result<(Prefix, &str), String> {
    if let Some(rest) = stem.strip_prefix('V') {
        Ok((Prefix::Versioned, rest))
    } else if let Some(rest) = stem.strip_prefix('U') {
        Ok((Prefix::Unversioned, rest))
    } else if stem.starts_with('|') {
        Err("the name begins with |: refinery would crash on it".to_owned())
    } else if stem.starts_with(['v', 'u']) {
        Err("the prefix is in lower case: refinery would skip the file".to_owned())
    } else if stem.starts_with("R__") {
        Err("repeatable migrations do not exist in refinery: it would skip the file".to_owned())
    } else {
        Err("the name does not begin with V and a version: refinery would skip the file".to_owned())
    }
}

fn parse_version(text: &str) -> Result<Version, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let decimal = text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        return Err(if decimal {
            format!("the version {text} is not a whole number: refinery would stop on it")
        } else {
            format!("the version \"{text}\" is not a number: refinery would skip the file")
        });
    }
    match text.parse() {
        Ok(0) => Err("version 0 cannot be told from a schema without migrations".to_owned()),
        Ok(version) => Ok(Version(version)),
        Err(_) => Err(format!("the version {text} is above {}", i64::MAX)),
    }
}

fn parse_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("there is no name behind the version: refinery would skip the file".to_owned());
    }
    if let Some(odd) = name.chars().find(|character| !is_word(*character)) {
        return Err(format!("{odd:?} may not stand in a name: refinery would skip the file"));
    }
    let length = name.chars().count();
    if length > LONGEST {
        return Err(format!("the name has {length} characters, and the history holds {LONGEST}"));
    }
    Ok(name.to_owned())
}

/// A little stricter than refinery's `\w`, so that a name looks the same however it was typed.
fn is_word(character: char) -> bool {
    character.is_alphabetic() || character.is_ascii_digit() || character == '_'
}

/// The nearest name that would do.
fn suggestion(stem: &str) -> String {
    let rest = stem.trim_start_matches(|character: char| "VvUu|".contains(character));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let version = digits.parse::<i64>().ok().filter(|version| *version > 0);
    let tail = if digits.is_empty() {
        stem.split_once("__").map_or(stem, |(_, tail)| tail)
    } else {
        &rest[digits.len()..]
    };
    let tail = tail.trim_start_matches(|character: char| !character.is_alphabetic());
    let name: String = tail
        .chars()
        .take(LONGEST)
        .map(|character| if is_word(character) { character } else { '_' })
        .collect();
    let prefix = if stem.starts_with('U') { 'U' } else { 'V' };
    let version = version.map_or_else(|| "<version>".to_owned(), |version| version.to_string());
    let name = if name.is_empty() { "<name>" } else { &name };
    format!("{prefix}{version}__{name}.sql")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_that_refinery_reads_are_read_alike() {
        for (file, prefix, version, name) in [
            ("V1__init.sql", Prefix::Versioned, 1, "init"),
            ("V01__lead.sql", Prefix::Versioned, 1, "lead"),
            ("U3__seed.sql", Prefix::Unversioned, 3, "seed"),
            ("V1__über_1.sql", Prefix::Versioned, 1, "über_1"),
            ("V20260101120000__ts.sql", Prefix::Versioned, 20_260_101_120_000, "ts"),
            ("V1___x.sql", Prefix::Versioned, 1, "_x"),
        ] {
            let expected = FileName { prefix, version: Version(version), name: name.to_owned() };
            assert_eq!(parse(file).unwrap(), Some(expected));
        }
    }

    #[test]
    fn names_that_refinery_would_skip_or_stop_on_are_refused_with_a_better_one() {
        for (file, part, better) in [
            ("V2__add-index.sql", "'-'", "V2__add_index.sql"),
            ("v4__lower.sql", "lower case", "V4__lower.sql"),
            ("R__views.sql", "repeatable", "V<version>__views.sql"),
            ("V3_one.sql", "two underscores", "V3__one.sql"),
            ("V3__x.SQL", ".SQL", "V3__x.sql"),
            ("V1.2__x.sql", "whole number", "V1__x.sql"),
            ("|3__pipe.sql", "crash", "V3__pipe.sql"),
            ("V0__x.sql", "version 0", "V<version>__x.sql"),
            ("V99999999999999999999__x.sql", "above", "V<version>__x.sql"),
            ("V-1__x.sql", "not a number", "V<version>__x.sql"),
            ("V7__.sql", "no name", "V7__<name>.sql"),
            ("V7__x.down.sql", "'.'", "V7__x_down.sql"),
            ("seed data.sql", "begin with V", "V<version>__seed_data.sql"),
            ("V5__code.rs", "Rust", "V5__code.sql, with the SQL that it produces"),
        ] {
            let bad = parse(file).unwrap_err();
            assert!(bad.what.contains(part), "{file}: {}", bad.what);
            assert_eq!(bad.better, better, "{file}");
        }
        assert!(parse(&format!("V1__{}.sql", "x".repeat(256))).is_err());
    }

    #[test]
    fn files_that_are_plainly_something_else_are_left_alone() {
        for file in ["README.md", ".gitkeep", ".gitattributes", "mod.rs", ".V1__x.sql", "Makefile"]
        {
            assert_eq!(parse(file), Ok(None), "{file}");
        }
    }
}
