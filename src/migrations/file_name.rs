//! The names of migration files: `V<version>__<name>.sql`, `R__<name>.sql`, `down/<version>*.sql`.
//!
//! Of migrations, accepts only what refinery accepts, and gives it the same meaning. A name that
//! refinery would pass over with a log line, or stop on, is refused with the reason and a better
//! name. What refinery does not know, it must pass over: it walks every folder, and would apply
//! `down/V3__x.sql` as a migration.

use crate::model::migration::{Prefix, Version};

/// refinery keeps the name in a `VARCHAR(255)`.
const LONGEST: usize = 255;

/// Where the ways back stand.
const DOWN: &str = "down";

/// What a file is, by its name and the folders that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A migration.
    Migration(FileName),
    /// A repeatable file of this name.
    Repeatable(String),
    /// The way back from this version.
    Undo(Version),
}

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

/// Reads a path below the directory of a set, with `/` between its parts. None means a file that
/// nothing is done with: hidden, or not SQL.
pub fn role(path: &str) -> Result<Option<Role>, BadName> {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    if folders.split('/').any(|folder| folder == DOWN) {
        return Ok(undo(file)?.map(Role::Undo));
    }
    match sql_stem(file).and_then(|stem| stem.strip_prefix("R__")) {
        Some(name) => match fits(name).and_then(parse_name) {
            Ok(name) => Ok(Some(Role::Repeatable(name))),
            Err(what) => Err(BadName { what, better: format!("R__{}.sql", words(name)) }),
        },
        None => Ok(parse(file)?.map(Role::Migration)),
    }
}

/// Reads the name of a way back: it begins with its version, and refinery does not know it.
fn undo(file: &str) -> Result<Option<Version>, BadName> {
    let Some(stem) = sql_stem(file) else { return Ok(None) };
    let digits: String = stem.chars().take_while(char::is_ascii_digit).collect();
    let rest = &stem[digits.len()..];
    if stem.starts_with(['V', 'U']) && parse_stem(stem).is_ok() {
        return Err(BadName {
            what: "refinery walks down/ as well, and would apply the file as a migration"
                .to_owned(),
            better: format!("{}.sql", &stem[1..]),
        });
    }
    if digits.is_empty() || rest.starts_with(|next: char| next.is_alphanumeric()) {
        return Err(BadName {
            what: "the name does not begin with the version that the file takes back".to_owned(),
            better: format!("<version>__{}.sql", words(stem)),
        });
    }
    parse_version(&digits)
        .map(Some)
        .map_err(|what| BadName { what, better: "<version>__<name>.sql".to_owned() })
}

/// The name of a visible SQL file without its extension.
fn sql_stem(file: &str) -> Option<&str> {
    file.strip_suffix(".sql").filter(|stem| !stem.is_empty() && !file.starts_with('.'))
}

/// Reads the name of a file, without its directory, as refinery would. None means a file that is
/// plainly not a migration: hidden, or neither SQL nor one of refinery's compiled migrations.
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
        name: parse_name(fits(name).map_err(bad)?)
            .map_err(|what| bad(format!("{what}: refinery would skip the file")))?,
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
    } else if stem.starts_with("r__") {
        Err("the prefix of a repeatable file is R, in upper case".to_owned())
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

fn fits(name: &str) -> Result<&str, String> {
    let length = name.chars().count();
    if length > LONGEST {
        return Err(format!("the name has {length} characters, and the history holds {LONGEST}"));
    }
    Ok(name)
}

fn parse_name(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("there is no name behind the underscores".to_owned());
    }
    if let Some(odd) = name.chars().find(|character| !is_word(*character)) {
        return Err(format!("{odd:?} may not stand in a name"));
    }
    Ok(name.to_owned())
}

/// A little stricter than refinery's `\w`, so that a name looks the same however it was typed.
fn is_word(character: char) -> bool {
    character.is_alphabetic() || character.is_ascii_digit() || character == '_'
}

/// The nearest text that may stand in a name.
fn words(text: &str) -> String {
    let text = text.trim_start_matches(|character: char| !character.is_alphabetic());
    let name: String = text
        .chars()
        .take(LONGEST)
        .map(|character| if is_word(character) { character } else { '_' })
        .collect();
    if name.is_empty() { "<name>".to_owned() } else { name }
}

/// The nearest name that would do.
fn suggestion(stem: &str) -> String {
    if let Some(name) = stem.strip_prefix("r__") {
        return format!("R__{}.sql", words(name));
    }
    let rest = stem.trim_start_matches(|character: char| "VvUu|".contains(character));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let version = digits.parse::<i64>().ok().filter(|version| *version > 0);
    let tail = if digits.is_empty() {
        stem.split_once("__").map_or(stem, |(_, tail)| tail)
    } else {
        &rest[digits.len()..]
    };
    let name = words(tail);
    let prefix = if stem.starts_with('U') { 'U' } else { 'V' };
    let version = version.map_or_else(|| "<version>".to_owned(), |version| version.to_string());
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
            ("r__views.sql", "upper case", "R__views.sql"),
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
    fn a_folder_and_a_prefix_make_files_something_else_than_migrations() {
        let repeatable = |name: &str| Some(Role::Repeatable(name.to_owned()));
        assert_eq!(role("R__views.sql").unwrap(), repeatable("views"));
        assert_eq!(role("later/R__views.sql").unwrap(), repeatable("views"));
        for file in
            ["down/3.sql", "down/3__tags.sql", "later/down/3-tags.down.sql", "down/old/03_x.sql"]
        {
            assert_eq!(role(file).unwrap(), Some(Role::Undo(Version(3))), "{file}");
        }
        assert!(matches!(role("downs/V3__x.sql"), Ok(Some(Role::Migration(_)))));
        for file in ["down/README.md", "down/.3__x.sql", "R__notes.md"] {
            assert_eq!(role(file), Ok(None), "{file}");
        }
        for (file, part, better) in [
            ("down/V3__tags.sql", "as a migration", "3__tags.sql"),
            ("down/tags.sql", "begin with the version", "<version>__tags.sql"),
            ("down/3tags.sql", "begin with the version", "<version>__tags.sql"),
            ("down/R__views.sql", "begin with the version", "<version>__R__views.sql"),
            ("down/0__x.sql", "version 0", "<version>__<name>.sql"),
            ("R__.sql", "no name", "R__<name>.sql"),
            ("R__a-b.sql", "'-'", "R__a_b.sql"),
        ] {
            let bad = role(file).unwrap_err();
            assert!(bad.what.contains(part), "{file}: {}", bad.what);
            assert_eq!(bad.better, better, "{file}");
        }
    }

    #[test]
    fn files_that_are_plainly_something_else_are_left_alone() {
        for file in ["README.md", ".gitkeep", ".gitattributes", "mod.rs", ".V1__x.sql", "Makefile"]
        {
            assert_eq!(parse(file), Ok(None), "{file}");
        }
    }
}
