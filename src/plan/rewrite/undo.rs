//! Taking migrations back, by the files that their authors wrote for it.

use super::{RowChange, Why};
use crate::error::{Code, Error};
use crate::model::migration::{History, MigrationSet, Undo, Version};
use crate::plan::pending::decide;

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal<'a> {
    /// Exactly these versions, as far as they are still applied.
    Exactly(&'a [Version]),
    /// Everything above this version.
    To(Version),
}

/// What is to be run and which rows go, newest first; nothing when it was taken back before.
///
/// # Errors
///
/// * [`Code::HistoryDiverged`] when the files are not what was applied: their ways back then lead
///   from somewhere else.
/// * [`Code::Refused`] when a way back is missing, or when a newer migration stands on what would go.
pub fn take_back<'a>(
    set: &'a MigrationSet,
    history: &History,
    goal: Goal<'_>,
) -> Result<Vec<(&'a Undo, RowChange)>, Error> {
    decide(set, history, None)?;
    let wanted = |version: Version| match goal {
        Goal::Exactly(versions) => versions.contains(&version),
        Goal::To(to) => version > to,
    };
    let mut rows: Vec<_> = history.0.iter().filter(|row| wanted(row.version)).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.version));
    let Some(oldest) = rows.last().map(|row| row.version) else {
        return Ok(Vec::new());
    };
    let above: Vec<String> = history
        .0
        .iter()
        .filter(|row| row.version > oldest && !wanted(row.version))
        .map(|row| format!("V{}", row.version))
        .collect();
    if !above.is_empty() {
        return Err(Error::new(
            Code::Refused,
            format!("take V{oldest} back: {} came on top of it", above.join(", ")),
        )
        .hint("take the newer migrations back first"));
    }
    let mut back = Vec::new();
    let mut without = Vec::new();
    for row in rows {
        match set.undo(row.version) {
            Some(undo) => back.push((
                undo,
                RowChange {
                    version: row.version,
                    was: Some(row.into()),
                    now: None,
                    why: Why::TakenBack,
                    file: Some(undo.path.clone()),
                },
            )),
            None => without.push(row),
        }
    }
    if without.is_empty() {
        return Ok(back);
    }
    let versions: Vec<String> = without.iter().map(|row| format!("V{}", row.version)).collect();
    let what = format!("take {} back: there is no file that does it", versions.join(", "));
    let error = Error::new(Code::Refused, what);
    // The files of a compiled-in set stand elsewhere than its name says.
    if set.migrations().iter().any(|migration| !migration.path.starts_with(set.name())) {
        return Err(error.hint(
            "compiled-in migrations have no way back: name a directory of your own in [migrations]",
        ));
    }
    Err(without.iter().fold(error, |error, row| {
        error.hint(format!("write {}/down/{}__{}.sql", set.name(), row.version, row.name))
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::migration::{Applied, Migration, Prefix};
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    fn set(versions: &[i64], ways_back: &[i64]) -> MigrationSet {
        let file = |version: &i64| {
            let path = format!("set/V{version}__x.sql");
            Migration::new(Prefix::Versioned, Version(*version), "x", "SELECT 1;", path, vec![])
        };
        let undo = |version: &i64| Undo {
            version: Version(*version),
            path: format!("set/down/{version}__x.sql"),
            sql: "SELECT 2;".to_owned(),
        };
        MigrationSet::new("set", versions.iter().map(file).collect())
            .unwrap()
            .with_undos(ways_back.iter().map(undo).collect())
            .unwrap()
    }

    fn applied(set: &MigrationSet, up_to: usize) -> History {
        let row = |migration: &Migration| Applied {
            version: migration.version,
            name: migration.name.clone(),
            applied_on: String::new(),
            checksum: migration.checksum,
        };
        History(set.migrations().iter().take(up_to).map(row).collect())
    }

    fn versions(back: &[(&Undo, RowChange)]) -> Vec<i64> {
        back.iter().map(|(undo, _)| undo.version.0).collect()
    }

    proptest! {
        #[test]
        fn what_a_run_applied_on_top_is_taken_back_newest_first_and_once(
            files in btree_set(1_i64..100, 1..12), done in 0_usize..13, run in 0_usize..13
        ) {
            let files: Vec<i64> = files.into_iter().collect();
            let set = set(&files, &files);
            let done = done.min(files.len());
            let history = applied(&set, done);
            let run: Vec<Version> =
                history.0[done.saturating_sub(run)..].iter().map(|row| row.version).collect();
            let back = take_back(&set, &history, Goal::Exactly(&run)).unwrap();
            let mut expected: Vec<i64> = run.iter().map(|version| version.0).collect();
            expected.reverse();
            prop_assert_eq!(versions(&back), expected);
            let before = applied(&set, done - run.len());
            prop_assert!(take_back(&set, &before, Goal::Exactly(&run)).unwrap().is_empty());
            // The same, said as the version that is left.
            let left = before.version().unwrap_or(Version(0));
            prop_assert_eq!(take_back(&set, &history, Goal::To(left)).unwrap(), back);
        }
    }

    #[test]
    fn what_newer_migrations_stand_on_stays() {
        let set = set(&[1, 2, 3, 4], &[1, 2, 3, 4]);
        let history = applied(&set, 4);
        let error =
            take_back(&set, &history, Goal::Exactly(&[Version(2), Version(3)])).unwrap_err();
        assert_eq!(error.code, Code::Refused);
        assert!(error.message.contains("V4 came on top"), "{error}");
    }

    #[test]
    fn every_missing_way_back_is_named() {
        let set = set(&[1, 2, 3], &[2]);
        let error = take_back(&set, &applied(&set, 3), Goal::To(Version(0))).unwrap_err();
        assert_eq!(error.code, Code::Refused);
        assert!(error.message.contains("V3, V1"), "{error}");
        assert_eq!(error.hints, ["write set/down/3__x.sql", "write set/down/1__x.sql"]);
    }

    #[test]
    fn a_compiled_in_set_asks_for_a_directory() {
        let files = set(&[1], &[]);
        let compiled = MigrationSet::new("the compiled set", files.migrations().to_vec()).unwrap();
        let error = take_back(&compiled, &applied(&files, 1), Goal::To(Version(0))).unwrap_err();
        assert!(error.hints[0].contains("[migrations]"), "{:?}", error.hints);
    }

    #[test]
    fn a_history_of_other_files_is_not_taken_back() {
        let set = set(&[1], &[1]);
        let mut history = applied(&set, 1);
        history.0[0].checksum = 7;
        let error = take_back(&set, &history, Goal::To(Version(0))).unwrap_err();
        assert_eq!(error.code, Code::HistoryDiverged);
    }
}
