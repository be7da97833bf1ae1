//! Where a history and the files disagree, told so that a person reads it: one fact for each kind
//! of disagreement, and not one for each file.

use crate::error::{Code, Error};
use crate::model::migration::{Difference, History, MigrationSet, Prefix};
use crate::model::{count, some_of};

/// So many files of one kind are named.
const NAMED: usize = 3;

/// What re-records a history whose SQL is the files', and shows every row that differs.
const REPAIR: &str = "tenantctl migrate repair --dry-run --reason TEXT";

/// What is asked where files are missing.
const WRONG_SET: &str = "is --migrations, or [migrations] in tenants.toml, the right one?";

/// What is wrong with a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It was applied, and has no file.
    NoFile,
    /// Its file is not what was applied.
    Differs(Difference),
    /// It was passed over: newer ones were applied.
    Late,
}

/// One version on which the two disagree.
struct Disagreement<'a> {
    kind: Kind,
    version: i64,
    /// The name under which it was applied; of the file, where it never was.
    name: &'a str,
    /// Its file, as it was named to us; nothing where it has none.
    path: &'a str,
}

/// Why a history cannot be continued with the files; `None` where it can.
pub(super) fn refusal(set: &MigrationSet, history: &History) -> Option<Error> {
    let found = disagreements(set, history);
    if found.is_empty() {
        return None;
    }
    let mut kinds = Vec::new();
    for one in &found {
        if !kinds.contains(&one.kind) {
            kinds.push(one.kind);
        }
    }
    let mut facts = Vec::new();
    let mut remedies: Vec<String> = Vec::new();
    let mut unnamed = false;
    for kind in kinds {
        let alike: Vec<_> = found.iter().filter(|one| one.kind == kind).collect();
        unnamed |= alike.len() > NAMED && kind != Kind::Late;
        let (fact, remedy) = match alike.as_slice() {
            [one] => (one.fact(history), one.remedy(set, history)),
            all => {
                (common_fact(kind, all, set, history), common_remedy(kind, all.len(), set, history))
            }
        };
        facts.push(fact);
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    if unnamed && !remedies.iter().any(|remedy| remedy.contains(REPAIR)) {
        remedies.push(format!("see each of them: {REPAIR}"));
    }
    let what = format!("continue the history with {}: {}", set.name(), facts.join("; "));
    Some(remedies.into_iter().fold(Error::new(Code::HistoryDiverged, what), Error::hint))
}

fn disagreements<'a>(set: &'a MigrationSet, history: &'a History) -> Vec<Disagreement<'a>> {
    let mut found = Vec::new();
    for applied in &history.0 {
        let (kind, path) = match set.get(applied.version) {
            None => (Kind::NoFile, ""),
            Some(file) => match file.difference(applied) {
                None => continue,
                Some(difference) => (Kind::Differs(difference), file.path.as_str()),
            },
        };
        found.push(Disagreement { kind, version: applied.version.0, name: &applied.name, path });
    }
    let current = history.version();
    for file in set.migrations() {
        if file.prefix == Prefix::Versioned
            && current.is_some_and(|current| file.version < current)
            && history.get(file.version).is_none()
        {
            let (version, name) = (file.version.0, file.name.as_str());
            found.push(Disagreement { kind: Kind::Late, version, name, path: &file.path });
        }
    }
    found
}

impl Disagreement<'_> {
    fn fact(&self, history: &History) -> String {
        let Self { version, name, path, .. } = self;
        match self.kind {
            Kind::NoFile => format!("version {version} ({name}) was applied and has no file"),
            Kind::Late => {
                format!("{path} was never applied and is older than {}", current(history))
            }
            Kind::Differs(Difference::Renamed) => {
                format!("{path} was applied under the name {name}; its SQL is unchanged")
            }
            Kind::Differs(Difference::LineEndings) => {
                format!("{path} was applied with CRLF line endings and is otherwise unchanged")
            }
            Kind::Differs(Difference::EdgeWhitespace) => {
                format!("{path} changed only in white space at its beginning or end")
            }
            Kind::Differs(Difference::NarrowVersion) => {
                format!("{path} was recorded by a refinery without int8-versions and is unchanged")
            }
            Kind::Differs(Difference::Edited) => {
                format!("{path} was changed after it was applied")
            }
        }
    }

    fn remedy(&self, set: &MigrationSet, history: &History) -> String {
        let Self { version, name, path, .. } = self;
        match self.kind {
            Kind::NoFile => {
                format!("restore V{version}__{name}.sql in {}; {WRONG_SET}", set.name())
            }
            Kind::Late => format!("give {path} a version above {}", newest(set, history)),
            Kind::Differs(Difference::Renamed) => {
                format!("rename it back to V{version}__{name}.sql; or keep the name: {REPAIR}")
            }
            Kind::Differs(Difference::LineEndings | Difference::EdgeWhitespace) => {
                format!("the SQL is the same: {REPAIR}")
            }
            Kind::Differs(Difference::NarrowVersion) => {
                format!("its checksums are of another kind: {REPAIR}")
            }
            Kind::Differs(Difference::Edited) => {
                format!("restore {path} as it was, and put the change into a new migration")
            }
        }
    }

    /// How it is called among others of its kind.
    fn short(&self, set: &MigrationSet) -> String {
        match self.kind {
            Kind::NoFile => format!("{} ({})", self.version, self.name),
            _ => {
                let below = self.path.strip_prefix(set.name()).unwrap_or(self.path);
                below.trim_start_matches('/').to_owned()
            }
        }
    }
}

/// What is to be said of several disagreements of one kind.
fn common_fact(
    kind: Kind,
    all: &[&Disagreement<'_>],
    set: &MigrationSet,
    history: &History,
) -> String {
    let number = all.len();
    let files = count(number, "file");
    let said = match kind {
        Kind::NoFile => format!("{number} applied versions have no file"),
        Kind::Late => {
            format!("{files} were never applied and are older than {}", current(history))
        }
        Kind::Differs(Difference::Renamed) => {
            format!("{files} were applied under other names, with the same SQL")
        }
        Kind::Differs(Difference::LineEndings) => {
            format!("{files} were applied with CRLF line endings and are otherwise unchanged")
        }
        Kind::Differs(Difference::EdgeWhitespace) => {
            format!("{files} changed only in white space at their beginning or end")
        }
        Kind::Differs(Difference::NarrowVersion) => {
            format!("{files} were recorded by a refinery without int8-versions and are unchanged")
        }
        Kind::Differs(Difference::Edited) => {
            format!("{files} were changed after they were applied")
        }
    };
    let names: Vec<String> = all.iter().map(|one| one.short(set)).collect();
    format!("{said}: {}", some_of(&names, NAMED))
}

/// What is to be done about several disagreements of one kind.
fn common_remedy(kind: Kind, number: usize, set: &MigrationSet, history: &History) -> String {
    match kind {
        Kind::NoFile => {
            format!("restore the {number} files in {}; {WRONG_SET}", set.name())
        }
        Kind::Late => {
            format!("give files that come late versions above {}", newest(set, history))
        }
        Kind::Differs(Difference::Renamed) => {
            format!("rename the files back; or keep their names: {REPAIR}")
        }
        Kind::Differs(Difference::LineEndings | Difference::EdgeWhitespace) => {
            format!("the SQL is the same: {REPAIR}")
        }
        Kind::Differs(Difference::NarrowVersion) => {
            format!("their checksums are of another kind: {REPAIR}")
        }
        Kind::Differs(Difference::Edited) => {
            "restore changed files as they were, and put the changes into new migrations".to_owned()
        }
    }
}

fn current(history: &History) -> String {
    match history.version() {
        Some(current) => format!("the current version {current}"),
        None => "the current version".to_owned(),
    }
}

fn newest(set: &MigrationSet, history: &History) -> String {
    set.head().max(history.version()).map(|head| head.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::migration::{Applied, Migration, Version};

    fn file(version: i64, name: &str, sql: &str) -> Migration {
        let path = format!("migrations/V{version}__{name}.sql");
        Migration::new(Prefix::Versioned, Version(version), name, sql, path, vec![])
    }

    fn set(files: impl IntoIterator<Item = Migration>) -> MigrationSet {
        MigrationSet::new("migrations", files.into_iter().collect()).unwrap()
    }

    fn history(files: impl IntoIterator<Item = Migration>) -> History {
        let row = |file: Migration| Applied {
            version: file.version,
            name: file.name.clone(),
            applied_on: "2026-01-01T00:00:00Z".to_owned(),
            checksum: file.checksum,
        };
        History(files.into_iter().map(row).collect())
    }

    fn told(set: &MigrationSet, history: &History) -> String {
        let error = refusal(set, history).unwrap();
        format!("{}\n{}", error.message, error.hints.join("\n"))
    }

    #[test]
    fn many_of_a_kind_are_one_fact_and_one_hint() {
        let text = told(
            &set([file(90, "new", "SELECT 1")]),
            &history((1..=45).map(|version| file(version, "step", "SELECT 1"))),
        );
        insta::assert_snapshot!(text, @r"
        continue the history with migrations: 45 applied versions have no file: 1 (step), 2 (step), 3 (step) and 42 more
        restore the 45 files in migrations; is --migrations, or [migrations] in tenants.toml, the right one?
        see each of them: tenantctl migrate repair --dry-run --reason TEXT
        ");
    }

    #[test]
    fn every_kind_is_told_with_its_first_files() {
        let same = "SELECT 1;\n";
        let mut files = Vec::new();
        let mut rows = Vec::new();
        let mut version = 0;
        let mut add = |now: (&str, &str), was: (&str, &str)| {
            for _ in 0..5 {
                version += 1;
                files.push(file(version, now.0, now.1));
                rows.push(file(version, was.0, was.1));
            }
        };
        add(("edited", "SELECT 2;\n"), ("edited", same));
        add(("named", same), ("called", same));
        add(("ends", same), ("ends", "SELECT 1;\r\n"));
        add(("edges", same), ("edges", "SELECT 1;"));
        rows.push(file(99, "last", same));
        files.push(file(99, "last", same));
        files.extend((60..64).map(|version| file(version, "late", same)));
        insta::assert_snapshot!(told(&set(files), &history(rows)), @r"
        continue the history with migrations: 5 files were changed after they were applied: V1__edited.sql, V2__edited.sql, V3__edited.sql and 2 more; 5 files were applied under other names, with the same SQL: V6__named.sql, V7__named.sql, V8__named.sql and 2 more; 5 files were applied with CRLF line endings and are otherwise unchanged: V11__ends.sql, V12__ends.sql, V13__ends.sql and 2 more; 5 files changed only in white space at their beginning or end: V16__edges.sql, V17__edges.sql, V18__edges.sql and 2 more; 4 files were never applied and are older than the current version 99: V60__late.sql, V61__late.sql, V62__late.sql and 1 more
        restore changed files as they were, and put the changes into new migrations
        rename the files back; or keep their names: tenantctl migrate repair --dry-run --reason TEXT
        the SQL is the same: tenantctl migrate repair --dry-run --reason TEXT
        give files that come late versions above 99
        ");
    }

    #[test]
    fn tenants_that_went_astray_alike_are_told_alike_whenever_they_were_migrated() {
        let set = set([file(2, "new", "SELECT 1")]);
        let one = history([file(1, "old", "SELECT 1")]);
        let mut other = one.clone();
        other.0[0].applied_on = "2026-02-02T00:00:00Z".to_owned();
        assert_eq!(told(&set, &one), told(&set, &other));
    }
}
