//! Reads the file that says what is to be erased.
//!
//! ```toml
//! [where]
//! users = "email = 'ann@example.org'"
//! audit_log = "actor = 'ann@example.org'"
//!
//! [keys]
//! "documents.author_id" = "set null"
//! "api_keys.user_id" = "delete"
//! ```

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use toml::Spanned;

use crate::error::{Code, Error, Location};
use crate::model::erasure::{Erasure, Fate, KeyChoice, Wanted};
use crate::model::ident::Ident;
use crate::sql::position::line_column;
use crate::sql::predicate::Predicate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placed {
    #[serde(rename = "where")]
    wanted: std::collections::BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    keys: std::collections::BTreeMap<String, Spanned<String>>,
}

/// Reads such a file.
///
/// # Errors
///
/// [`Code::Io`] when it cannot be read, [`Code::Config`] with the line that is wrong.
pub fn read_erasure(path: &Path) -> Result<Erasure, Error> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::new(Code::Io, format!("read {file}")).because(error))?;
    parse(&file, &text)
}

fn parse(file: &str, text: &str) -> Result<Erasure, Error> {
    let at = |offset: usize| {
        let position = line_column(text, offset);
        Location { file: file.to_owned(), line: position.line, column: position.column }
    };
    let wrong = |error: &toml::de::Error| {
        let refused = Error::new(Code::Config, format!("read {file}: {}", error.message()));
        match error.span() {
            Some(span) => refused.at(at(span.start)),
            None => refused,
        }
    };
    let placed: Placed = toml::from_str(text).map_err(|error| wrong(&error))?;
    let mut erasure = Erasure {
        file: file.to_owned(),
        digest: Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect(),
        ..Erasure::default()
    };
    for (table, condition) in placed.wanted {
        let place = at(condition.span().start);
        Predicate::new(condition.get_ref()).map_err(|why| {
            Error::new(Code::Config, format!("the condition of {table} is no expression: {why}"))
                .at(place.clone())
        })?;
        erasure.wanted.push(Wanted {
            table: Ident::new(table).map_err(|error| error.at(place.clone()))?,
            condition: condition.into_inner(),
            line: place.line,
        });
    }
    for (key, fate) in placed.keys {
        let place = at(fate.span().start);
        let refused = |why: String| Error::new(Code::Config, why).at(place.clone());
        let Some((table, name)) = key.split_once('.') else {
            return Err(refused(format!("{key:?} names no foreign key"))
                .hint("write \"table.column\" or \"table.constraint\""));
        };
        let fate = match fate.get_ref().as_str() {
            "delete" => Fate::Delete,
            "set null" => Fate::SetNull,
            other => {
                return Err(refused(format!("{other:?} is not what becomes of a row"))
                    .hint("write \"delete\" or \"set null\""));
            }
        };
        erasure.keys.push(KeyChoice {
            table: Ident::new(table).map_err(|error| error.at(place.clone()))?,
            key: Ident::new(name).map_err(|error| error.at(place.clone()))?,
            fate,
            line: place.line,
        });
    }
    if erasure.wanted.is_empty() {
        return Err(Error::new(Code::Config, format!("{file} names no rows"))
            .hint("[where] says which: users = \"email = 'ann@example.org'\""));
    }
    Ok(erasure)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rows_and_keys_are_read_with_their_lines() {
        let erasure = parse(
            "ann.toml",
            "[where]\nusers = \"email = 'ann@example.org'\"\n\n[keys]\n\"documents.author_id\" = \"set null\"\n",
        )
        .unwrap();
        assert_eq!(erasure.wanted[0].line, 2);
        assert_eq!(erasure.keys[0].fate, Fate::SetNull);
        assert_eq!((erasure.keys[0].key.as_str(), erasure.keys[0].line), ("author_id", 5));
        assert_eq!(erasure.digest.len(), 64);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, words) in [
            ("[where]\nusers = \"true; DROP TABLE x\"", 2, "semicolon"),
            ("[where]\nusers = \"true\"\n[keys]\n\"a.b\" = \"keep\"", 4, "what becomes of a row"),
            ("[where]\nusers = \"true\"\n[keys]\nb = \"delete\"", 4, "names no foreign key"),
            ("[when]\nusers = \"true\"", 1, "unknown field"),
            ("[where]\nusers = 1", 2, "invalid type"),
        ] {
            let error = parse("f.toml", text).unwrap_err();
            assert_eq!(error.code, Code::Config, "{text}");
            assert!(error.message.contains(words), "{}", error.message);
            assert_eq!(error.location.unwrap().line, line, "{text}");
        }
        assert!(parse("f.toml", "[where]\n").is_err());
    }
}
