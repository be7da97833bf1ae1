//! Mending a history that says something else than the files.

use std::collections::BTreeSet;

use super::{RowChange, Why};
use crate::error::{Code, Error};
use crate::model::migration::{Difference, History, MigrationSet, Version};
use crate::model::some_of;

/// So many rows of one kind are named.
const NAMED: usize = 3;

/// What can be done about a history that the files do not continue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mending {
    /// The rows that change.
    pub changes: Vec<RowChange>,
    /// The rows that would change if somebody accepted it.
    pub refused: Vec<RowChange>,
    /// The history afterwards. It may still say something else than the files.
    pub after: History,
}

impl Mending {
    /// Whether the table must be made to hold versions of 64 bits: a refinery without
    /// `int8-versions` wrote it.
    pub fn widens(&self) -> bool {
        let narrow = Why::Differs(Difference::NarrowVersion);
        self.changes.iter().any(|change| change.why == narrow)
    }

    /// Why the history cannot be continued, though it was mended: rows that nobody accepted; `None`
    /// where there are none.
    pub fn unaccepted(&self) -> Option<Error> {
        if self.refused.is_empty() {
            return None;
        }
        let name = |change: &RowChange| match &change.file {
            Some(file) => file.clone(),
            None => format!("V{}", change.version),
        };
        let (gone, edited): (Vec<&RowChange>, Vec<&RowChange>) =
            self.refused.iter().partition(|change| change.file.is_none());
        let mut facts = Vec::new();
        for (rows, one, several) in [
            (
                edited,
                "was changed after it was applied",
                "files were changed after they were applied",
            ),
            (gone, "has no file", "applied versions have no file"),
        ] {
            let names: Vec<String> = rows.into_iter().map(name).collect();
            match names.as_slice() {
                [] => {}
                [only] => facts.push(format!("{only} {one}")),
                all => facts.push(format!("{} {several}: {}", all.len(), some_of(all, NAMED))),
            }
        }
        let accept: Vec<String> = self
            .refused
            .iter()
            .take(NAMED)
            .map(|row| format!("--accept {}", row.version))
            .collect();
        let mut accept = accept.join(" ");
        if self.refused.len() > NAMED {
            accept.push_str(&format!(" and so on, for each of the {}", self.refused.len()));
        }
        Some(
            Error::new(Code::HistoryDiverged, format!("mend the history: {}", facts.join("; ")))
                .hint("restore the files as they were, and put changes into new migrations")
                .hint(format!("or, if the schema is right as it is: {accept}")),
        )
    }
}

/// Makes a history say what the files say, where the SQL that was applied is the file's; and for
/// the versions of `accepted`, whatever was applied.
///
/// A row without a file goes, when it is accepted. Nothing that was never applied is recorded.
pub fn repair(set: &MigrationSet, history: &History, accepted: &BTreeSet<Version>) -> Mending {
    let mut mending = Mending::default();
    for applied in &history.0 {
        let file = set.get(applied.version);
        let why = match file {
            None => Why::NoFile,
            Some(file) => match file.difference(applied) {
                None => {
                    mending.after.0.push(applied.clone());
                    continue;
                }
                Some(difference) => Why::Differs(difference),
            },
        };
        let change = RowChange {
            version: applied.version,
            was: Some(applied.into()),
            now: file.map(Into::into),
            why,
            file: file.map(|file| file.path.clone()),
        };
        let harmless = matches!(why, Why::Differs(difference) if difference.is_harmless());
        if !harmless && !accepted.contains(&applied.version) {
            mending.after.0.push(applied.clone());
            mending.refused.push(change);
            continue;
        }
        if let Some(now) = &change.now {
            let mut row = applied.clone();
            row.name.clone_from(&now.name);
            row.checksum = now.checksum;
            mending.after.0.push(row);
        }
        mending.changes.push(change);
    }
    mending
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::migration::{Applied, Migration, Prefix};
    use crate::plan::pending::decide;
    use proptest::prelude::*;

    fn file(version: i64, name: &str, sql: &str) -> Migration {
        let path = format!("V{version}__{name}.sql");
        Migration::new(Prefix::Versioned, Version(version), name, sql, path, vec![])
    }

    /// How the row of a version came to differ.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fate {
        Same,
        Renamed,
        Crlf,
        Edited,
        Gone,
    }

    fn fates() -> impl Strategy<Value = Vec<Fate>> {
        let one = prop_oneof![
            3 => Just(Fate::Same),
            1 => Just(Fate::Renamed),
            1 => Just(Fate::Crlf),
            1 => Just(Fate::Edited),
            1 => Just(Fate::Gone),
        ];
        proptest::collection::vec(one, 0..12)
    }

    /// Files and a history in which each version met its fate.
    fn world(fates: &[Fate]) -> (MigrationSet, History) {
        let mut files = Vec::new();
        let mut rows = Vec::new();
        for (version, fate) in (1_i64..).zip(fates) {
            let sql = format!("SELECT {version};\nSELECT 2;\n");
            let was = match fate {
                Fate::Renamed => file(version, "before", &sql),
                Fate::Crlf => file(version, "x", &sql.replace('\n', "\r\n")),
                Fate::Edited => file(version, "x", "SELECT 0;\n"),
                Fate::Same | Fate::Gone => file(version, "x", &sql),
            };
            if *fate != Fate::Gone {
                files.push(file(version, "x", &sql));
            }
            rows.push(Applied {
                version: was.version,
                name: was.name,
                applied_on: "2026-01-01T00:00:00Z".to_owned(),
                checksum: was.checksum,
            });
        }
        (MigrationSet::new("set", files).unwrap(), History(rows))
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_mended_and_mending_again_is_nothing(fates in fates()) {
            let (set, history) = world(&fates);
            let every: BTreeSet<Version> = history.0.iter().map(|row| row.version).collect();
            let mended = repair(&set, &history, &every);
            prop_assert!(mended.refused.is_empty());
            prop_assert!(decide(&set, &mended.after, None).unwrap().is_empty());
            prop_assert!(repair(&set, &mended.after, &every).changes.is_empty());
            let changed = fates.iter().filter(|fate| **fate != Fate::Same).count();
            prop_assert_eq!(mended.changes.len(), changed);
        }

        #[test]
        fn nothing_but_the_same_sql_is_mended_unasked(fates in fates()) {
            let (set, history) = world(&fates);
            let mended = repair(&set, &history, &BTreeSet::new());
            let serious = |fate: &&Fate| matches!(fate, Fate::Edited | Fate::Gone);
            prop_assert_eq!(mended.refused.len(), fates.iter().filter(serious).count());
            // No version comes or goes, and when it was applied stays as it was.
            let kept = |history: &History| -> Vec<(Version, String)> {
                history.0.iter().map(|row| (row.version, row.applied_on.clone())).collect()
            };
            prop_assert_eq!(kept(&mended.after), kept(&history));
            prop_assert_eq!(decide(&set, &mended.after, None).is_ok(), mended.refused.is_empty());
        }
    }

    #[test]
    fn narrow_checksums_widen_the_table() {
        let (set, mut history) = world(&[Fate::Same]);
        assert!(!repair(&set, &history, &BTreeSet::new()).widens());
        let file =
            Migration::new(Prefix::Versioned, Version(1), "init", "SELECT 1;\n", "f", vec![]);
        // refinery's own, without int8-versions.
        history.0[0].name = "init".to_owned();
        history.0[0].checksum = 7_056_326_092_187_138_967;
        let set = MigrationSet::new(set.name(), vec![file]).unwrap();
        let mended = repair(&set, &history, &BTreeSet::new());
        assert!(mended.widens());
        assert_eq!(mended.changes[0].why.word(), "narrow-version");
    }

    #[test]
    fn many_rows_that_nobody_accepted_are_counted() {
        let (set, history) = world(&[Fate::Gone; 45]);
        let error = repair(&set, &history, &BTreeSet::new()).unaccepted().unwrap();
        assert_eq!(
            error.message,
            "mend the history: 45 applied versions have no file: V1, V2, V3 and 42 more"
        );
        assert_eq!(
            error.hints[1],
            "or, if the schema is right as it is: \
             --accept 1 --accept 2 --accept 3 and so on, for each of the 45"
        );
    }
}
