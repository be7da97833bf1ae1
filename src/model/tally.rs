//! Counts and sums rows as they pass, whatever their order.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// What some rows amount to: two sets of rows with equal contents are equal, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// How many rows.
    pub rows: u64,
    /// Their length as the server writes them, in bytes.
    pub bytes: u64,
    /// The sum of the rows' digests.
    pub digest: RowSum,
}

/// The sum, modulo 2^128, of the first halves of the SHA-256 of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum(pub u128);

impl fmt::Display for RowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for RowSum {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// Takes rows in COPY's text format, in pieces of any length.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    content: Content,
    /// Which fields of a row count, in which order; all of them without it.
    fields: Option<Vec<usize>>,
    /// The beginning of a row whose end is still to come.
    begun: Vec<u8>,
}

impl Tally {
    /// Counts these fields alone, in this order: two tables may hold the same rows in other columns.
    pub fn of_fields(fields: Vec<usize>) -> Self {
        Self { fields: Some(fields), ..Self::default() }
    }

    /// Takes the next piece.
    pub fn take(&mut self, piece: &[u8]) {
        self.content.bytes += piece.len() as u64;
        let mut rest = piece;
        // COPY writes a line's end inside a value as \n, so this byte ends a row.
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (row, after) = (&rest[..end], &rest[end + 1..]);
            if self.begun.is_empty() {
                self.row(row);
            } else {
                self.begun.extend_from_slice(row);
                let whole = std::mem::take(&mut self.begun);
                self.row(&whole);
            }
            rest = after;
        }
        self.begun.extend_from_slice(rest);
    }

    fn row(&mut self, row: &[u8]) {
        self.content.rows += 1;
        let digest = match &self.fields {
            None => Sha256::digest(row),
            Some(fields) => {
                let values: Vec<&[u8]> = row.split(|byte| *byte == b'\t').collect();
                let mut hasher = Sha256::new();
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        hasher.update(b"\t");
                    }
                    hasher.update(values.get(*field).copied().unwrap_or_default());
                }
                hasher.finalize()
            }
        };
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        self.content.digest.0 = self.content.digest.0.wrapping_add(u128::from_be_bytes(half));
    }

    /// How much has passed until now.
    pub fn so_far(&self) -> Content {
        self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(pieces: &[&[u8]]) -> Content {
        let mut tally = Tally::default();
        for piece in pieces {
            tally.take(piece);
        }
        tally.so_far()
    }

    #[test]
    fn where_the_stream_is_cut_makes_no_difference() {
        let whole = sum(&[b"a\tb\nc\td\n\n"]);
        assert_eq!(whole.rows, 3);
        assert_eq!(whole, sum(&[b"a", b"\tb\nc", b"\td", b"\n", b"\n"]));
    }

    #[test]
    fn the_order_of_rows_makes_no_difference_and_every_byte_does() {
        let one = sum(&[b"a\tb\nc\td\n"]);
        assert_eq!(one, sum(&[b"c\td\na\tb\n"]));
        assert_ne!(one.digest, sum(&[b"a\tb\nc\te\n"]).digest);
        // A row that is there twice is not a row that is there once.
        assert_ne!(sum(&[b"a\na\n"]).digest, sum(&[b"a\n"]).digest);
    }

    #[test]
    fn some_fields_count_as_a_table_that_has_only_them() {
        let mut tally = Tally::of_fields(vec![2, 0]);
        tally.take(b"a\tb\tc\n1\t2\t3\n");
        let narrow = sum(&[b"c\ta\n3\t1\n"]);
        assert_eq!(tally.so_far().digest, narrow.digest);
        assert_eq!(tally.so_far().rows, narrow.rows);
    }
}
