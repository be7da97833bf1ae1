//! Names of PostgreSQL objects, which quote themselves.
//!
//! Promises that every [`Ident`] fits into a server's name unchanged: PostgreSQL silently cuts
//! names after 63 bytes, and two tenants' names cut to one would be one tenant.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::{Code, Error};

/// The longest name a server keeps, in bytes (`NAMEDATALEN` - 1).
pub const MAX_BYTES: usize = 63;

/// The name of a role, schema, database, table, column or function, as the server stores it.
///
/// `Display` is the name as SQL reads it: quoted when it must be, and then only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Ident(String);

impl Ident {
    /// Takes a name as it is stored, not as SQL would spell it: `Acme` keeps its capital.
    ///
    /// # Errors
    ///
    /// [`Code::NameTaken`] when the name is empty, holds a NUL, or is longer than 63 bytes.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if name.is_empty() {
            return Err(Error::new(Code::NameTaken, "a PostgreSQL name cannot be empty"));
        }
        if name.contains('\0') {
            return Err(Error::new(
                Code::NameTaken,
                format!("the name {name:?} holds a NUL character, which PostgreSQL cannot store"),
            ));
        }
        if name.len() > MAX_BYTES {
            return Err(Error::new(
                Code::NameTaken,
                format!(
                    "the name {name:?} is {} bytes long: PostgreSQL would cut it to {MAX_BYTES}",
                    name.len()
                ),
            )
            .hint("choose a shorter tenant id, or shorten the naming template in tenants.toml"));
        }
        Ok(Self(name))
    }

    /// The name as the server stores it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether SQL reads a text as this name, quoted though it need not be, or bare.
    pub fn is_spelled(&self, text: &str) -> bool {
        let bare = self
            .0
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        (bare && text == self.0) || text == format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// The name as SQL reads it.
    pub fn quoted(&self) -> Cow<'_, str> {
        let plain = self.0.bytes().enumerate().all(|(at, byte)| {
            byte.is_ascii_lowercase() || byte == b'_' || (at > 0 && byte.is_ascii_digit())
        });
        if plain && RESERVED.binary_search(&self.0.as_str()).is_err() {
            Cow::Borrowed(&self.0)
        } else {
            Cow::Owned(format!("\"{}\"", self.0.replace('"', "\"\"")))
        }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.quoted())
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> serde::Deserialize<'de> for Ident {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl FromStr for Ident {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

/// A name inside a schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// The schema.
    pub schema: Ident,
    /// The object.
    pub name: Ident,
}

impl QualifiedName {
    /// Puts a name into a schema.
    pub fn new(schema: Ident, name: Ident) -> Self {
        Self { schema, name }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.schema, self.name))
    }
}

/// Words that PostgreSQL 14 to 18 does not take as a bare name everywhere, sorted.
///
/// Source: `src/include/parser/kwlist.h`, every category but `UNRESERVED_KEYWORD`.
const RESERVED: [&str; 164] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "json",
    "json_array",
    "json_arrayagg",
    "json_exists",
    "json_object",
    "json_objectagg",
    "json_query",
    "json_scalar",
    "json_serialize",
    "json_table",
    "json_value",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "merge_action",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "system_user",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(name: &str) -> String {
        Ident::new(name).unwrap().to_string()
    }

    #[test]
    fn the_keyword_list_can_be_searched() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn plain_names_stay_bare_and_others_are_quoted() {
        assert_eq!(quoted("tenant_acme"), "tenant_acme");
        assert_eq!(quoted("Acme"), "\"Acme\"");
        assert_eq!(quoted("user"), "\"user\"");
        assert_eq!(quoted("1st"), "\"1st\"");
        assert_eq!(quoted("a\"; DROP SCHEMA b; --"), "\"a\"\"; DROP SCHEMA b; --\"");
        assert_eq!(quoted("ünï"), "\"ünï\"");
    }

    #[test]
    fn a_name_that_the_server_would_cut_is_refused() {
        assert!(Ident::new("x".repeat(63)).is_ok());
        assert!(Ident::new("x".repeat(64)).is_err());
        assert!(Ident::new("ü".repeat(32)).is_err(), "bytes count, not characters");
        assert!(Ident::new("").is_err());
        assert!(Ident::new("a\0b").is_err());
    }
}
