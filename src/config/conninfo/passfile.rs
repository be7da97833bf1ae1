//! Reads a password file (`~/.pgpass`) by libpq's rules.
//!
//! A file that others can read is passed over with a warning, as libpq does: a password in it
//! is no secret. A file that is absent is no failure.

use std::fs;
use std::path::Path;

use crate::model::passfile::{PassFile, PassLine, Pattern};
use crate::model::secret::Secret;

/// What came of looking for a password file.
pub(super) enum Found {
    /// It was read.
    File(PassFile),
    /// There is none.
    Nothing,
    /// There is one that must not be used, and why.
    PassedOver(String),
}

/// Reads a password file.
pub(super) fn read(path: &Path) -> Found {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return passed_over(path, &error.to_string()),
    };
    if !metadata.is_file() {
        return passed_over(path, "it is not a plain file");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if metadata.permissions().mode() & 0o077 != 0 {
            return passed_over(
                path,
                &format!("its group or the world has access; run: chmod 0600 {}", path.display()),
            );
        }
    }
    match fs::read_to_string(path) {
        Ok(text) => Found::File(PassFile {
            path: path.to_owned(),
            lines: text.lines().filter_map(parse_line).collect(),
        }),
        Err(error) => passed_over(path, &error.to_string()),
    }
}

fn passed_over(path: &Path, why: &str) -> Found {
    Found::PassedOver(format!("password file {} was passed over: {why}", path.display()))
}

/// Comments, and lines with fewer than five fields, answer for nothing.
fn parse_line(line: &str) -> Option<PassLine> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = fields(line).into_iter();
    let mut pattern = || {
        fields.next().map(|(raw, text)| {
            // An escaped star is a star.
            if raw == "*" { Pattern::Any } else { Pattern::Exactly(text) }
        })
    };
    let (host, port, database, user) = (pattern()?, pattern()?, pattern()?, pattern()?);
    let (_, password) = fields.next()?;
    Some(PassLine { host, port, database, user, password: Secret::new(password) })
}

/// Splits at colons that no backslash escapes, into what is written and what is meant.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let (mut raw, mut meant) = (String::new(), String::new());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == ':' {
            fields.push((std::mem::take(&mut raw), std::mem::take(&mut meant)));
            continue;
        }
        raw.push(c);
        if c != '\\' {
            meant.push(c);
        } else if let Some(escaped) = chars.next() {
            raw.push(escaped);
            meant.push(escaped);
        } else {
            meant.push('\\');
        }
    }
    fields.push((raw, meant));
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> PassFile {
        PassFile { path: "pgpass".into(), lines: text.lines().filter_map(parse_line).collect() }
    }

    fn found(text: &str, host: &str, database: &str) -> Option<String> {
        file(text).find(host, 5432, database, "app").map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_answers() {
        let text = "# a comment\n\
                    db:5432:one:app:first\n\
                    db:*:*:app:any\n\
                    *:*:*:*:last\n";
        assert_eq!(found(text, "db", "one").unwrap(), "first");
        assert_eq!(found(text, "db", "two").unwrap(), "any");
        assert_eq!(found(text, "other", "one").unwrap(), "last");
        assert_eq!(found("db:5432:one:other:x", "db", "one"), None);
        assert_eq!(found("db:5432:one:app", "db", "one"), None);
    }

    #[test]
    fn escapes_are_undone_in_every_field() {
        let text = r"\:\:1:5432:a\\b:app:p\:a\\s:rest";
        assert_eq!(found(text, "::1", r"a\b").unwrap(), r"p:a\s");
        assert_eq!(found(r"\*:*:*:*:x", "db", "one"), None);
        assert_eq!(found(r"\*:*:*:*:x", "*", "one").unwrap(), "x");
        assert_eq!(found(r"*:*:*:*:x\", "db", "one").unwrap(), r"x\");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_passed_over() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        assert!(matches!(read(&path), Found::Nothing));
        fs::write(&path, "*:*:*:*:hunter2\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let Found::PassedOver(why) = read(&path) else { panic!("it was used") };
        assert!(why.contains("chmod 0600") && !why.contains("hunter2"), "{why}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(read(&path), Found::File(file) if file.lines.len() == 1));
        assert!(matches!(read(directory.path()), Found::PassedOver(_)));
    }

    proptest! {
        #[test]
        fn an_escaped_line_comes_back(host in "[^\n\r\0]{1,10}", password in "[^\n\r\0]{0,10}") {
            let escape = |text: &str| {
                text.replace('\\', r"\\").replace(':', r"\:").replace('*', r"\*").replace('#', r"\#")
            };
            let text = format!("{}:*:*:*:{}", escape(&host), escape(&password));
            prop_assert_eq!(found(&text, &host, "x"), Some(password));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            drop(file(&text));
        }
    }
}
