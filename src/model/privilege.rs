//! What may be granted, and sets of it that fit into one number.

use std::fmt;

/// One thing that may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Privilege {
    /// Read rows, or a sequence.
    Select,
    /// Add rows.
    Insert,
    /// Change rows, or set a sequence.
    Update,
    /// Remove rows.
    Delete,
    /// Empty a table, past every policy.
    Truncate,
    /// Point a foreign key at a table.
    References,
    /// Attach code to a table.
    Trigger,
    /// Name what a schema holds, or advance a sequence.
    Usage,
    /// Make objects in a schema, or schemas in a database.
    Create,
    /// Open sessions in a database.
    Connect,
    /// Make temporary tables.
    Temporary,
    /// Call a function.
    Execute,
    /// Vacuum, cluster, reindex, refresh and lock a table (PostgreSQL 17 and newer).
    Maintain,
}

impl Privilege {
    /// Every privilege.
    pub const ALL: [Self; 13] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::References,
        Self::Trigger,
        Self::Usage,
        Self::Create,
        Self::Connect,
        Self::Temporary,
        Self::Execute,
        Self::Maintain,
    ];

    /// The word in `GRANT`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Usage => "USAGE",
            Self::Create => "CREATE",
            Self::Connect => "CONNECT",
            Self::Temporary => "TEMPORARY",
            Self::Execute => "EXECUTE",
            Self::Maintain => "MAINTAIN",
        }
    }

    /// The privilege of that name; `None` for one that isolation does not turn on.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|privilege| privilege.word() == word)
    }
}

/// A set of privileges.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Privileges(u16);

impl Privileges {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// What reads or changes rows under row-level security.
    pub const ROWS: Self = Self(0b1111);

    /// Whether a privilege is in the set.
    pub fn has(self, privilege: Privilege) -> bool {
        self.0 & (1 << privilege as u16) != 0
    }

    /// The set with one more.
    #[must_use]
    pub fn with(self, privilege: Privilege) -> Self {
        Self(self.0 | (1 << privilege as u16))
    }

    /// What is in either set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`Privilege::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Privilege> {
        Privilege::ALL.into_iter().filter(move |privilege| self.has(*privilege))
    }
}

impl FromIterator<Privilege> for Privileges {
    fn from_iter<I: IntoIterator<Item = Privilege>>(from: I) -> Self {
        from.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(Privilege::word).collect();
        f.write_str(&words.join(", "))
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_told_apart() {
        let set: Privileges = [Privilege::Select, Privilege::Truncate].into_iter().collect();
        assert!(set.has(Privilege::Select) && set.has(Privilege::Truncate));
        assert!(!set.has(Privilege::Insert));
        assert_eq!(set.to_string(), "SELECT, TRUNCATE");
        assert_eq!(Privileges::ROWS.to_string(), "SELECT, INSERT, UPDATE, DELETE");
        for privilege in Privilege::ALL {
            assert_eq!(Privilege::named(privilege.word()), Some(privilege));
        }
        assert_eq!(Privilege::named("SET"), None);
    }
}
