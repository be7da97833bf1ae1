//! Migrations as files describe them, and as a schema's history records them.
//!
//! Promises the same version, name and checksum as refinery with `int8-versions`, so that either
//! program can continue what the other began.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use crate::error::{Code, Error};

/// What stands before the word of a directive.
const DIRECTIVE: &str = "tenantctl:";

/// The number of a migration, and the state of a schema that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub i64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a migration has to be applied in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// `V`: applied in the order of versions; one that comes late is refused.
    Versioned,
    /// `U`: applied once as well, but allowed to come late. Not an undo, and not repeatable.
    Unversioned,
}

impl Prefix {
    /// The letter at the head of the file name.
    pub fn letter(self) -> char {
        match self {
            Self::Versioned => 'V',
            Self::Unversioned => 'U',
        }
    }
}

/// One migration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its place in the order.
    pub version: Version,
    /// Whether it may come late.
    pub prefix: Prefix,
    /// What the file name says after the two underscores.
    pub name: String,
    /// The file as a person names it: `migrations/tenant/V3__documents.sql`.
    pub path: String,
    /// The text of the file, byte for byte.
    pub sql: String,
    /// What the head of the file asks of tenantctl.
    pub directives: Vec<Directive>,
    /// refinery's checksum over name, version and text.
    pub checksum: u64,
}

impl Migration {
    /// Makes a migration; the checksum follows from the rest.
    pub fn new(
        prefix: Prefix,
        version: Version,
        name: impl Into<String>,
        sql: impl Into<String>,
        path: impl Into<String>,
        directives: Vec<Directive>,
    ) -> Self {
        let (name, sql) = (name.into(), sql.into());
        let checksum = checksum(&name, version, &sql);
        Self { version, prefix, name, path: path.into(), sql, directives, checksum }
    }

    /// The file name without its extension, in the form that refinery parses: `V3__documents`.
    pub fn stem(&self) -> String {
        format!("{}{}__{}", self.prefix.letter(), self.version, self.name)
    }

    /// Whether the statements are sent one by one, outside of a transaction.
    pub fn runs_outside_a_transaction(&self) -> bool {
        self.directives.contains(&Directive::NoTransaction)
    }

    /// How an applied migration of the same version differs from this file, if it does.
    pub fn difference(&self, applied: &Applied) -> Option<Difference> {
        if applied.checksum == self.checksum && applied.name == self.name {
            return None;
        }
        let was = |name: &str, sql: &str| checksum(name, self.version, sql) == applied.checksum;
        Some(if was(&applied.name, &self.sql) {
            Difference::Renamed
        } else if was(&self.name, &self.sql.replace('\n', "\r\n")) {
            Difference::LineEndings
        } else if self.edge_variants().iter().any(|sql| was(&self.name, sql)) {
            Difference::EdgeWhitespace
        } else if narrow_checksum(&applied.name, self.version, &self.sql) == Some(applied.checksum)
        {
            Difference::NarrowVersion
        } else {
            Difference::Edited
        })
    }

    /// The text with other white space, or a byte order mark, around it.
    fn edge_variants(&self) -> Vec<String> {
        let bare = self.sql.trim();
        let unended = self.sql.trim_end();
        vec![
            format!("\u{feff}{}", self.sql),
            bare.to_owned(),
            format!("{bare}\n"),
            unended.to_owned(),
            format!("{unended}\n"),
            format!("{}\n", self.sql),
        ]
    }
}

/// Why the checksum or the name of an applied migration is not the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Difference {
    /// Only the name changed; the SQL is the same.
    Renamed,
    /// It was applied from a file with CRLF line endings, and is otherwise the same.
    LineEndings,
    /// Only white space, or a byte order mark, at the beginning or end of the file changed.
    EdgeWhitespace,
    /// The same file, recorded by a refinery without `int8-versions`, whose checksums differ.
    NarrowVersion,
    /// The SQL changed after it was applied.
    Edited,
}

impl Difference {
    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Renamed => "renamed",
            Self::LineEndings => "line-endings",
            Self::EdgeWhitespace => "edge-whitespace",
            Self::NarrowVersion => "narrow-version",
            Self::Edited => "edited",
        }
    }

    /// Whether the same SQL was applied, under another name or from other bytes.
    pub fn is_harmless(self) -> bool {
        self != Self::Edited
    }
}

/// What the head of a migration file asks of tenantctl: `-- tenantctl:<word> …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `no-transaction`: send each statement alone, for what PostgreSQL forbids in a transaction.
    NoTransaction,
    /// `allow RULE reason`: a lint rule that this file breaks on purpose.
    Allow {
        /// The rule's id.
        rule: String,
        /// Why it is right to break it here.
        reason: String,
    },
}

/// A directive that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDirective {
    /// 1-based line.
    pub line: usize,
    /// What is wrong with it.
    pub complaint: String,
}

impl Directive {
    /// Reads the directives at the head of a file: the comment and empty lines before its first
    /// statement. All that cannot be followed are reported together.
    pub fn read(sql: &str) -> Result<Vec<Self>, Vec<BadDirective>> {
        let mut found = Vec::new();
        let mut bad = Vec::new();
        for (at, line) in sql.lines().map(str::trim).enumerate() {
            let Some(comment) = line.strip_prefix("--") else {
                if line.is_empty() {
                    continue;
                }
                break;
            };
            match Self::of_comment(comment) {
                Some(Ok(directive)) => found.push(directive),
                Some(Err(complaint)) => bad.push(BadDirective { line: at + 1, complaint }),
                None => {}
            }
        }
        if bad.is_empty() { Ok(found) } else { Err(bad) }
    }

    /// What a comment, without its dashes, asks of tenantctl, if it addresses it at all; or why
    /// that cannot be followed.
    pub fn of_comment(comment: &str) -> Option<Result<Self, String>> {
        comment.trim().strip_prefix(DIRECTIVE).map(str::trim).map(Self::parse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match (word, rest.trim()) {
            ("no-transaction", "") => Ok(Self::NoTransaction),
            ("no-transaction", rest) => {
                Err(format!("the directive no-transaction takes nothing, found \"{rest}\""))
            }
            ("allow", rest) => match rest.split_once(char::is_whitespace) {
                Some((rule, reason)) => {
                    Ok(Self::Allow { rule: rule.to_owned(), reason: reason.trim().to_owned() })
                }
                None => Err("the directive allow needs a rule and a reason".to_owned()),
            },
            (other, _) => Err(format!("\"{other}\" is not a directive that tenantctl knows")),
        }
    }
}

/// A file that is applied again whenever its text changes: functions, views, policies, grants.
///
/// refinery knows nothing of the kind and passes over `R__<name>.sql`, so its history cannot hold
/// it: what was applied stands in a table of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeatable {
    /// What the file name says after `R__`; repeatable files are applied in the order of their names.
    pub name: String,
    /// The file as a person names it: `migrations/tenant/R__views.sql`.
    pub path: String,
    /// The text of the file, byte for byte.
    pub sql: String,
    /// Changes with the name and the text, and with nothing else.
    pub checksum: u64,
}

impl Repeatable {
    /// Makes one; the checksum follows from the rest.
    pub fn new(name: impl Into<String>, sql: impl Into<String>, path: impl Into<String>) -> Self {
        let (name, sql) = (name.into(), sql.into());
        let mut hasher = SipHasher13::new();
        name.hash(&mut hasher);
        sql.hash(&mut hasher);
        Self { checksum: hasher.finish(), name, path: path.into(), sql }
    }
}

/// The way back from one migration: `down/<version>__<name>.sql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// The version that it takes back.
    pub version: Version,
    /// The file as a person names it: `migrations/tenant/down/3__documents.sql`.
    pub path: String,
    /// The text of the file, byte for byte.
    pub sql: String,
}

/// The migrations of one kind of tenant, in the order of their versions, each version once; and
/// what stands beside them: repeatable files, and the ways back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationSet {
    name: String,
    migrations: Vec<Migration>,
    repeatables: Vec<Repeatable>,
    undos: BTreeMap<Version, Undo>,
}

impl MigrationSet {
    /// Makes a set. A version that occurs twice is refused.
    pub fn new(name: impl Into<String>, mut migrations: Vec<Migration>) -> Result<Self, Error> {
        migrations.sort_by_key(|migration| migration.version);
        for pair in migrations.windows(2) {
            if let [first, second] = pair
                && first.version == second.version
            {
                return Err(Error::new(
                    Code::Migrations,
                    format!(
                        "order migrations: {} and {} both have version {}",
                        first.path, second.path, first.version
                    ),
                )
                .hint(format!("give {} a version of its own", second.path)));
            }
        }
        Ok(Self { name: name.into(), migrations, repeatables: Vec::new(), undos: BTreeMap::new() })
    }

    /// The set with repeatable files. A name that occurs twice is refused.
    ///
    /// # Errors
    ///
    /// [`Code::Migrations`] with both files.
    pub fn with_repeatables(mut self, mut repeatables: Vec<Repeatable>) -> Result<Self, Error> {
        repeatables.sort_by(|a, b| a.name.cmp(&b.name));
        for pair in repeatables.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                let what = format!("{} and {} have one name", first.path, second.path);
                return Err(Error::new(
                    Code::Migrations,
                    format!("order repeatable files: {what}"),
                )
                .hint(format!("give {} a name of its own", second.path)));
            }
        }
        self.repeatables = repeatables;
        Ok(self)
    }

    /// The set with ways back. One that leads back from nothing, or a second one from the same
    /// version, is refused.
    ///
    /// # Errors
    ///
    /// [`Code::Migrations`] with the file.
    pub fn with_undos(mut self, undos: Vec<Undo>) -> Result<Self, Error> {
        for undo in undos {
            if self.get(undo.version).is_none() {
                return Err(Error::new(
                    Code::Migrations,
                    format!("use {}: there is no version {}", undo.path, undo.version),
                )
                .hint(format!(
                    "name it after the migration that it takes back, or remove {}",
                    undo.path
                )));
            }
            if let Some(other) = self.undos.insert(undo.version, undo.clone()) {
                return Err(Error::new(
                    Code::Migrations,
                    format!(
                        "take version {} back: {} and {} both do",
                        undo.version, other.path, undo.path
                    ),
                )
                .hint(format!("remove {} or {}", other.path, undo.path)));
            }
        }
        Ok(self)
    }

    /// How a person calls the set: its directory, or the name of an embedded one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The migrations, by ascending version.
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// The files that are applied again whenever they change, by name: the order in which they are
    /// applied.
    pub fn repeatables(&self) -> &[Repeatable] {
        &self.repeatables
    }

    /// The way back from a version, when there is one.
    pub fn undo(&self, version: Version) -> Option<&Undo> {
        self.undos.get(&version)
    }

    /// The newest version, unless the set is empty.
    pub fn head(&self) -> Option<Version> {
        self.migrations.last().map(|migration| migration.version)
    }

    /// The migration with this version.
    pub fn get(&self, version: Version) -> Option<&Migration> {
        self.migrations
            .binary_search_by_key(&version, |migration| migration.version)
            .ok()
            .and_then(|at| self.migrations.get(at))
    }

    /// A number that changes with any version, name or text that is applied, and with nothing else:
    /// the same on every machine and in every release.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        for migration in &self.migrations {
            hasher.write(&migration.version.0.to_le_bytes());
            hasher.write(&migration.checksum.to_le_bytes());
        }
        for repeatable in &self.repeatables {
            hasher.write(&repeatable.checksum.to_le_bytes());
        }
        hasher.finish()
    }
}

/// One row of `refinery_schema_history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The version that was applied.
    pub version: Version,
    /// Its name when it was applied.
    pub name: String,
    /// When it was applied, as RFC 3339 text.
    pub applied_on: String,
    /// Its checksum when it was applied.
    pub checksum: u64,
}

/// What was applied to one schema, as its `refinery_schema_history` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(pub Vec<Applied>);

impl History {
    /// It, summed up.
    pub fn digest(&self) -> Digest {
        Digest {
            rows: self.0.len(),
            newest: self.version(),
            checksums: self.0.iter().map(|applied| u128::from(applied.checksum)).sum(),
        }
    }

    /// The newest version that was applied.
    pub fn version(&self) -> Option<Version> {
        self.0.iter().map(|applied| applied.version).max()
    }

    /// The row of this version.
    pub fn get(&self, version: Version) -> Option<&Applied> {
        self.0.iter().find(|applied| applied.version == version)
    }
}

impl History {
    /// The history of a schema to which the first `count` migrations of a set were applied. Nobody
    /// asks for the times of it.
    pub fn of_first(set: &MigrationSet, count: usize) -> Self {
        let applied = |migration: &Migration| Applied {
            version: migration.version,
            name: migration.name.clone(),
            applied_on: "1970-01-01T00:00:00Z".to_owned(),
            checksum: migration.checksum,
        };
        Self(set.migrations().iter().take(count).map(applied).collect())
    }
}

/// A history summed up: what it takes to see whether it is the beginning of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many migrations were applied.
    pub rows: usize,
    /// The newest version that was applied.
    pub newest: Option<Version>,
    /// The sum of their checksums.
    pub checksums: u128,
}

/// refinery's checksum, as it is with the feature `int8-versions`.
fn checksum(name: &str, version: Version, sql: &str) -> u64 {
    hash(name, version.0, sql)
}

/// refinery's checksum without that feature, for a version that it can express.
fn narrow_checksum(name: &str, version: Version, sql: &str) -> Option<u64> {
    i32::try_from(version.0).ok().map(|version| hash(name, version, sql))
}

fn hash(name: &str, version: impl Hash, sql: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    name.hash(&mut hasher);
    version.hash(&mut hasher);
    sql.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn migration(name: &str, sql: &str) -> Migration {
        Migration::new(Prefix::Versioned, Version(1), name, sql, "V1.sql", Vec::new())
    }

    fn applied(of: &Migration) -> Applied {
        Applied {
            version: of.version,
            name: of.name.clone(),
            applied_on: "2026-01-01T00:00:00Z".to_owned(),
            checksum: of.checksum,
        }
    }

    #[test]
    fn the_checksum_is_the_one_that_refinery_stores() {
        assert_eq!(migration("init", "SELECT 1;\n").checksum, 3_299_123_524_457_102_491);
        assert_eq!(
            narrow_checksum("init", Version(1), "SELECT 1;\n"),
            Some(7_056_326_092_187_138_967)
        );
    }

    #[test]
    fn a_difference_is_explained_by_the_least_that_explains_it() {
        let file = migration("init", "SELECT 1;\nSELECT 2;\n");
        assert_eq!(file.difference(&applied(&file)), None);
        for (name, sql, expected) in [
            ("start", "SELECT 1;\nSELECT 2;\n", Difference::Renamed),
            ("init", "SELECT 1;\r\nSELECT 2;\r\n", Difference::LineEndings),
            ("init", "SELECT 1;\nSELECT 2;", Difference::EdgeWhitespace),
            ("init", "\u{feff}SELECT 1;\nSELECT 2;\n", Difference::EdgeWhitespace),
            ("init", "SELECT 1;\nSELECT 3;\n", Difference::Edited),
        ] {
            let row = applied(&migration(name, sql));
            assert_eq!(file.difference(&row), Some(expected), "{sql:?}");
        }
        let mut narrow = applied(&file);
        narrow.checksum = narrow_checksum("init", Version(1), &file.sql).unwrap();
        assert_eq!(file.difference(&narrow), Some(Difference::NarrowVersion));
    }

    #[test]
    fn directives_are_read_from_the_head_alone() {
        let sql = "-- Why.\n\n-- tenantctl:no-transaction\n--tenantctl:allow drop-column  unused \
                   since March\nSELECT 1;\n-- tenantctl:nonsense\n";
        assert_eq!(
            Directive::read(sql).unwrap(),
            [
                Directive::NoTransaction,
                Directive::Allow {
                    rule: "drop-column".to_owned(),
                    reason: "unused since March".to_owned()
                },
            ]
        );
    }

    #[test]
    fn a_directive_that_cannot_be_followed_is_an_error() {
        let bad = Directive::read(
            "-- tenantctl:no-transactions\n-- tenantctl:allow rule\n-- tenantctl:no-transaction x",
        )
        .unwrap_err();
        assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_set_is_sorted_and_holds_each_version_once() {
        let with = |version| {
            Migration::new(Prefix::Versioned, Version(version), "x", "SELECT 1", "f", vec![])
        };
        let set = MigrationSet::new("set", vec![with(10), with(2)]).unwrap();
        assert_eq!(set.head(), Some(Version(10)));
        assert_eq!(set.get(Version(2)).unwrap().version, Version(2));
        assert!(set.get(Version(3)).is_none());
        assert!(MigrationSet::new("set", vec![with(2), with(2)]).is_err());
    }

    #[test]
    fn the_fingerprint_follows_the_text() {
        let one = |sql| MigrationSet::new("set", vec![migration("init", sql)]).unwrap();
        assert_eq!(one("SELECT 1").fingerprint(), one("SELECT 1").fingerprint());
        assert_ne!(one("SELECT 1").fingerprint(), one("SELECT 2").fingerprint());
        let with = |sql| {
            let views = Repeatable::new("views", sql, "R__views.sql");
            one("SELECT 1").with_repeatables(vec![views]).unwrap().fingerprint()
        };
        assert_ne!(one("SELECT 1").fingerprint(), with("SELECT 1"));
        assert_ne!(with("SELECT 2"), with("SELECT 1"));
        // The way back is no part of what is applied.
        let undo = Undo { version: Version(1), path: "down/1.sql".into(), sql: "SELECT 1".into() };
        let both = one("SELECT 1").with_undos(vec![undo]).unwrap();
        assert_eq!(both.fingerprint(), one("SELECT 1").fingerprint());
    }

    #[test]
    fn what_stands_beside_migrations_is_named_once_and_leads_somewhere() {
        let set = || MigrationSet::new("set", vec![migration("init", "SELECT 1")]).unwrap();
        let named = |name: &str| Repeatable::new(name, "SELECT 1", format!("R__{name}.sql"));
        let sorted = set().with_repeatables(vec![named("b"), named("a")]).unwrap();
        let names: Vec<&str> = sorted.repeatables().iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(set().with_repeatables(vec![named("a"), named("a")]).is_err());
        let undo = |version| Undo { version: Version(version), path: "d".into(), sql: "s".into() };
        assert!(set().with_undos(vec![undo(1)]).unwrap().undo(Version(1)).is_some());
        assert!(set().with_undos(vec![undo(2)]).is_err());
        assert!(set().with_undos(vec![undo(1), undo(1)]).is_err());
    }
}
