//! The rows of a dump, counted in the script that `pg_restore` makes of it.

use std::collections::BTreeMap;

use crate::error::{Code, Error};
use crate::model::ident::{Ident, QualifiedName};

/// How much of a line between tables is kept: the names of a table's columns fit into it.
const LINE: usize = 1 << 20;

const HEAD: &[u8] = b"COPY ";
const FOOT: &[u8] = b" FROM stdin;";
const END: &[u8] = b"\\.";

/// Counts rows as the script passes, in pieces of any size. A row is never held: what is kept of it
/// is enough to tell it from the end of a table.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// The line that has begun, or a statement of several lines.
    line: Vec<u8>,
    /// The table whose rows pass.
    within: Option<QualifiedName>,
    rows: BTreeMap<QualifiedName, u64>,
    damaged: Option<String>,
}

impl Counting {
    /// Takes the next piece.
    pub(super) fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let end = piece.iter().position(|byte| *byte == b'\n');
            let (line, rest) = piece.split_at(end.unwrap_or(piece.len()));
            let most = if self.within.is_some() { END.len() + 1 } else { LINE };
            let room = most.saturating_sub(self.line.len()).min(line.len());
            self.line.extend_from_slice(&line[..room]);
            if end.is_none() {
                return;
            }
            self.end_line();
            piece = &rest[1..];
        }
    }

    fn end_line(&mut self) {
        if let Some(table) = &self.within {
            if self.line == END {
                self.within = None;
            } else if let Some(rows) = self.rows.get_mut(table) {
                *rows += 1;
            }
            self.line.clear();
            return;
        }
        if self.line.starts_with(HEAD) && !self.line.ends_with(FOOT) {
            // A name with a line's end in it.
            self.line.push(b'\n');
            return;
        }
        if self.line.starts_with(HEAD) {
            let text = String::from_utf8_lossy(&self.line[HEAD.len()..]).into_owned();
            match qualified(&text) {
                Some(table) => {
                    self.rows.entry(table.clone()).or_default();
                    self.within = Some(table);
                }
                None => self.damaged = Some(text),
            }
        }
        self.line.clear();
    }

    /// The rows of each table.
    ///
    /// # Errors
    ///
    /// [`Code::Io`] when the script ends within a table, or names one in an unknown way.
    pub(super) fn end(self) -> Result<BTreeMap<QualifiedName, u64>, Error> {
        let what = match (&self.damaged, &self.within) {
            (Some(text), _) => format!("count the rows of a dump: COPY {text}"),
            (None, Some(table)) => format!("count the rows of a dump: it ends within {table}"),
            (None, None) => return Ok(self.rows),
        };
        Err(Error::new(Code::Io, what))
    }
}

/// The schema and the name that a text begins with, as `pg_dump` writes them.
fn qualified(text: &str) -> Option<QualifiedName> {
    let (schema, rest) = name(text)?;
    let (table, _) = name(rest.strip_prefix('.')?)?;
    Some(QualifiedName::new(Ident::new(schema).ok()?, Ident::new(table).ok()?))
}

/// The name that a text begins with, in quotes or without, and what follows it.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', ' ', '(']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    let mut left = quoted;
    loop {
        let (part, rest) = left.split_once('"')?;
        name.push_str(part);
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                left = more;
            }
            None => return Some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "SET row_security = off;\n\
        COPY tenant_acme.users (id, email) FROM stdin;\n1\ta\n2\tb\\\\.\n\\.\n\n\
        --\nCOPY \"ten.ant\".\"we\"\"i\nrd (x)\" (id) FROM stdin;\n\\.\n\
        COPY tenant_acme.users (id, email) FROM stdin;\n\n\\\\.\n\\.x\n\\.\n\
        SELECT pg_catalog.setval('tenant_acme.s', 1, true);\n";

    fn counted(pieces: impl Iterator<Item = Vec<u8>>) -> Counting {
        let mut counting = Counting::default();
        pieces.for_each(|piece| counting.take(&piece));
        counting
    }

    #[test]
    fn rows_are_counted_whatever_the_pieces() {
        for size in [1, 3, 7, 4096] {
            let pieces = SCRIPT.as_bytes().chunks(size).map(<[u8]>::to_vec);
            let rows = counted(pieces).end().unwrap();
            let found: Vec<(String, u64)> =
                rows.iter().map(|(name, rows)| (name.to_string(), *rows)).collect();
            let expected = [
                ("\"ten.ant\".\"we\"\"i\nrd (x)\"".to_owned(), 0),
                ("tenant_acme.users".to_owned(), 5),
            ];
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_script_that_ends_too_early_is_damaged() {
        let cut = SCRIPT.find("2\tb").unwrap();
        let error = counted(std::iter::once(SCRIPT.as_bytes()[..cut].to_vec())).end().unwrap_err();
        assert!(error.message.contains("tenant_acme.users"), "{}", error.message);
        let nameless = counted(std::iter::once(b"COPY  FROM stdin;\n".to_vec()));
        assert!(nameless.end().is_err());
    }
}
