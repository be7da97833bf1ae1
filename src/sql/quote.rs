//! Quoting: what may stand inside a statement, and how it is spelled there.

use std::fmt;

use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::Setting;

/// A statement, or a part of one, in which every outside name and value is quoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sql(String);

impl Sql {
    /// Takes text that this crate wrote. Called by [`sql!`](crate::sql!) only.
    #[doc(hidden)]
    pub fn trusted(text: String) -> Self {
        Self(text)
    }

    /// Puts statements, or parts of one, behind each other with a text of this crate between them.
    pub fn joined(parts: &[Self], between: &'static str) -> Self {
        let parts: Vec<&str> = parts.iter().map(Self::as_str).collect();
        Self(parts.join(between))
    }

    /// Takes an expression that the server itself printed (`pg_get_expr`, `format_type`, …).
    pub fn from_catalog(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that may stand in a statement because it quotes itself.
pub trait Fragment {
    /// The text as SQL reads it.
    fn fragment(&self) -> String;
}

impl<T: Fragment + ?Sized> Fragment for &T {
    fn fragment(&self) -> String {
        (**self).fragment()
    }
}

impl Fragment for Ident {
    fn fragment(&self) -> String {
        self.to_string()
    }
}

impl Fragment for QualifiedName {
    fn fragment(&self) -> String {
        self.to_string()
    }
}

impl Fragment for Setting {
    /// Part by part: one may be a word of SQL, as in `app.user`.
    fn fragment(&self) -> String {
        let parts = self
            .as_str()
            .split('.')
            .map(|part| Ident::new(part).map_or_else(|_| part.to_owned(), |part| part.to_string()));
        parts.collect::<Vec<_>>().join(".")
    }
}

impl Fragment for Sql {
    fn fragment(&self) -> String {
        self.0.clone()
    }
}

impl Fragment for i32 {
    fn fragment(&self) -> String {
        self.to_string()
    }
}

impl Fragment for i64 {
    fn fragment(&self) -> String {
        self.to_string()
    }
}

/// A string constant, for the places where PostgreSQL takes no parameter (DDL, `SET`).
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a>(pub &'a str);

impl Fragment for Literal<'_> {
    fn fragment(&self) -> String {
        // The driver's own escape puts a blank before E'…', which is noise in a printed plan.
        postgres_protocol::escape::escape_literal(self.0).trim_start().to_owned()
    }
}

/// Fragments with commas between them.
#[derive(Clone, Copy, Debug)]
pub struct List<'a, T>(pub &'a [T]);

impl<T: Fragment> Fragment for List<'_, T> {
    fn fragment(&self) -> String {
        self.0.iter().map(Fragment::fragment).collect::<Vec<_>>().join(", ")
    }
}

/// Makes a [`Sql`] from a literal and arguments that quote themselves.
///
/// ```
/// use tenantctl::{model::ident::Ident, sql, sql::Literal};
/// let schema = Ident::new("Acme \"x\"").unwrap();
/// assert_eq!(sql!("DROP SCHEMA {}", schema).as_str(), r#"DROP SCHEMA "Acme ""x""""#);
/// assert_eq!(sql!("SELECT {}", Literal("it's")).as_str(), "SELECT 'it''s'");
/// ```
///
/// Text from outside does not compile:
///
/// ```compile_fail
/// let name = String::from("acme");
/// tenantctl::sql!("DROP SCHEMA {}", name);
/// ```
#[macro_export]
macro_rules! sql {
    ($text:literal $(, $argument:expr)* $(,)?) => {
        $crate::sql::Sql::trusted(format!($text $(, $crate::sql::Fragment::fragment(&$argument))*))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_cannot_end_early() {
        assert_eq!(sql!("{}", Literal("a'; DROP ROLE b; --")).as_str(), "'a''; DROP ROLE b; --'");
        assert_eq!(sql!("{}", Literal("a\\'b")).as_str(), r"E'a\\''b'");
    }

    #[test]
    fn settings_may_hold_words_of_sql() {
        let name = |text| sql!("SET LOCAL {}", Setting::new(text).unwrap()).as_str().to_owned();
        assert_eq!(name("app.tenant_id"), "SET LOCAL app.tenant_id");
        assert_eq!(name("app.user"), "SET LOCAL app.\"user\"");
    }

    #[test]
    fn lists_quote_each_item() {
        let names = [Ident::new("a").unwrap(), Ident::new("B").unwrap()];
        assert_eq!(sql!("GRANT x TO {}", List(&names)).as_str(), "GRANT x TO a, \"B\"");
    }
}
