//! Which migrations a schema still needs.
//!
//! Promises what refinery would do with the same files and history, or a refusal that names the
//! file: nothing is skipped, reordered or rewritten to make the two agree.

use std::collections::BTreeMap;

use super::disagreement;
use crate::error::{Code, Error};
use crate::model::migration::{Digest, History, Migration, MigrationSet, Repeatable, Version};

/// The migrations to apply, by ascending version, up to and including `target`.
///
/// A target at or below the current version needs nothing: a schema is never taken back. Refuses a
/// history that the files do not continue, and a target that is not in the set; every kind of
/// disagreement is reported, not only the first.
pub fn decide<'a>(
    set: &'a MigrationSet,
    history: &History,
    target: Option<Version>,
) -> Result<Vec<&'a Migration>, Error> {
    if let Some(refusal) = disagreement::refusal(set, history) {
        return Err(refusal);
    }
    if let Some(target) = target
        && set.get(target).is_none()
    {
        return Err(unknown_target(set, target));
    }
    Ok(set
        .migrations()
        .iter()
        .filter(|migration| history.get(migration.version).is_none())
        .filter(|migration| target.is_none_or(|target| migration.version <= target))
        .collect())
}

/// How many migrations of the set, from its first, a history consists of: exactly these and no
/// others. None where it is anything else, which only its rows can tell.
pub fn beginning(set: &MigrationSet, digest: &Digest) -> Option<usize> {
    let first = match digest.newest {
        None => 0,
        Some(newest) => set.migrations().partition_point(|migration| migration.version <= newest),
    };
    let applied = &set.migrations()[..first];
    let checksums = applied.iter().map(|migration| u128::from(migration.checksum)).sum::<u128>();
    (digest.rows == first && digest.checksums == checksums).then_some(first)
}

/// The versions that a history lacks which consists of the first `count` migrations of the set, up to
/// and including `target`: what [`decide`] finds, without looking at what is known to agree.
pub fn behind(set: &MigrationSet, count: usize, target: Option<Version>) -> Vec<Version> {
    set.migrations()
        .iter()
        .skip(count)
        .map(|migration| migration.version)
        .take_while(|version| target.is_none_or(|target| *version <= target))
        .collect()
}

/// The repeatable files to apply, in their order: those whose checksum is not the one that was
/// recorded under their name, as text.
///
/// A record without a file is left alone: what the file made may be in use, and only a migration
/// can say what becomes of it.
pub fn decide_repeatables<'a>(
    set: &'a MigrationSet,
    recorded: &BTreeMap<String, String>,
) -> Vec<&'a Repeatable> {
    set.repeatables()
        .iter()
        .filter(|file| recorded.get(&file.name) != Some(&file.checksum.to_string()))
        .collect()
}

fn unknown_target(set: &MigrationSet, target: Version) -> Error {
    let error = Error::new(
        Code::NotFound,
        format!("migrate to version {target}: {} has no such version", set.name()),
    );
    match set.head() {
        Some(head) => error.hint(format!("the newest version is {head}")),
        None => error.hint("the set is empty"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::migration::{Applied, Prefix};
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    fn file(prefix: Prefix, version: i64, name: &str, sql: &str) -> Migration {
        let path = format!("migrations/{}{version}__{name}.sql", prefix.letter());
        Migration::new(prefix, Version(version), name, sql, path, vec![])
    }

    fn v(version: i64) -> Migration {
        file(Prefix::Versioned, version, "step", "SELECT 1;\n")
    }

    fn set(migrations: Vec<Migration>) -> MigrationSet {
        MigrationSet::new("migrations", migrations).unwrap()
    }

    fn history<'a>(applied: impl IntoIterator<Item = &'a Migration>) -> History {
        History(
            applied
                .into_iter()
                .map(|migration| Applied {
                    version: migration.version,
                    name: migration.name.clone(),
                    applied_on: "2026-01-01T00:00:00Z".to_owned(),
                    checksum: migration.checksum,
                })
                .collect(),
        )
    }

    fn versions(pending: &[&Migration]) -> Vec<i64> {
        pending.iter().map(|migration| migration.version.0).collect()
    }

    #[test]
    fn a_target_bounds_what_is_applied_and_never_takes_back() {
        let all = set(vec![v(1), v(2), v(3)]);
        let one = history(&[v(1)]);
        assert_eq!(versions(&decide(&all, &one, Some(Version(2))).unwrap()), [2]);
        let three = history(&[v(1), v(2), v(3)]);
        assert!(decide(&all, &three, Some(Version(1))).unwrap().is_empty());
        assert_eq!(decide(&all, &one, Some(Version(9))).unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn an_edited_file_is_named() {
        let all = set(vec![file(Prefix::Versioned, 1, "step", "SELECT 2;\n")]);
        let error = decide(&all, &history(&[v(1)]), None).unwrap_err();
        assert_eq!(error.code, Code::HistoryDiverged);
        assert!(error.message.contains("migrations/V1__step.sql was changed"), "{error}");
    }

    #[test]
    fn line_endings_are_told_from_edits() {
        let crlf = file(Prefix::Versioned, 1, "step", "SELECT 1;\r\n");
        let error = decide(&set(vec![v(1)]), &history(&[crlf]), None).unwrap_err();
        assert!(error.message.contains("CRLF"), "{error}");
    }

    #[test]
    fn every_disagreement_is_reported_at_once() {
        let all = set(vec![v(1), v(2), file(Prefix::Versioned, 3, "step", "SELECT 3;\n")]);
        let error = decide(&all, &history(&[v(1), v(3), v(4)]), None).unwrap_err();
        for part in ["V2__step.sql was never applied", "V3__step.sql was changed", "version 4"] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
        assert_eq!(error.hints.len(), 3);
    }

    #[test]
    fn what_repair_mends_is_sent_there() {
        let other = file(Prefix::Versioned, 1, "start", "SELECT 1;\n");
        let error = decide(&set(vec![v(1)]), &history(&[other]), None).unwrap_err();
        assert!(error.hints[0].contains("migrate repair"), "{:?}", error.hints);
    }

    fn repeatable(name: &str, sql: &str) -> Repeatable {
        Repeatable::new(name, sql, format!("R__{name}.sql"))
    }

    #[test]
    fn an_unversioned_migration_may_come_late() {
        let late = file(Prefix::Unversioned, 2, "late", "SELECT 1;\n");
        let all = set(vec![v(1), late, v(3)]);
        assert_eq!(versions(&decide(&all, &history(&[v(1), v(3)]), None).unwrap()), [2]);
    }

    proptest! {
        #[test]
        fn what_is_pending_is_the_set_difference(
            files in btree_set(1_i64..1000, 0..20), split in 0_usize..21
        ) {
            let all = set(files.iter().copied().map(v).collect());
            let done = &all.migrations()[..split.min(files.len())];
            let pending = decide(&all, &history(done), None).unwrap();
            let expected: Vec<i64> = files.iter().copied().skip(split).collect();
            prop_assert_eq!(versions(&pending), expected);
            let after = history(done.iter().chain(pending));
            prop_assert!(decide(&all, &after, None).unwrap().is_empty());
        }

        #[test]
        fn a_digest_is_a_beginning_only_of_what_it_sums_up(
            files in btree_set(1_i64..100, 1..12), applied in btree_set(1_i64..100, 0..12), cut in 0_usize..13
        ) {
            let all = set(files.iter().copied().map(v).collect());
            let first = cut.min(files.len());
            prop_assert_eq!(beginning(&all, &summed(&History::of_first(&all, first))), Some(first));
            for target in std::iter::once(None).chain(all.migrations().iter().map(|one| Some(one.version))) {
                let decided = decide(&all, &History::of_first(&all, first), target).unwrap();
                let decided: Vec<Version> = decided.iter().map(|one| one.version).collect();
                prop_assert_eq!(behind(&all, first, target), decided);
            }
            let any: Vec<Migration> = applied.iter().copied().map(v).collect();
            let is_beginning = files.iter().take(applied.len()).eq(applied.iter());
            prop_assert_eq!(beginning(&all, &summed(&history(&any))).is_some(), is_beginning);
        }

        #[test]
        fn repeatable_files_run_when_they_changed_and_only_then(
            files in btree_map("[a-z]{1,4}", (0_u8..3, proptest::option::of(0_u8..3)), 0..8),
            gone in btree_set("[A-Z]{1,2}", 0..3)
        ) {
            let text = |version: u8| format!("SELECT {version};\n");
            let all = set(vec![]).with_repeatables(
                files.iter().map(|(name, (now, _))| repeatable(name, &text(*now))).collect()
            ).unwrap();
            let mut recorded: BTreeMap<String, String> = files.iter().filter_map(|(name, (_, was))| {
                Some((name.clone(), repeatable(name, &text((*was)?)).checksum.to_string()))
            }).collect();
            recorded.extend(gone.iter().map(|name| (name.clone(), "1".to_owned())));
            let pending = decide_repeatables(&all, &recorded);
            let expected: Vec<&String> = files.iter()
                .filter(|(_, (now, was))| Some(*now) != *was).map(|(name, _)| name).collect();
            prop_assert_eq!(pending.iter().map(|one| &one.name).collect::<Vec<_>>(), expected);
            let after: BTreeMap<String, String> = recorded.clone().into_iter()
                .chain(pending.iter().map(|one| (one.name.clone(), one.checksum.to_string()))).collect();
            prop_assert!(decide_repeatables(&all, &after).is_empty());
        }

        #[test]
        fn any_target_then_the_rest_reaches_the_head(
            files in btree_map(1_i64..1000, any::<bool>(), 1..20), pick in any::<prop::sample::Index>()
        ) {
            let all = set(files.iter().map(|(version, late)| {
                let prefix = if *late { Prefix::Unversioned } else { Prefix::Versioned };
                file(prefix, *version, "step", "SELECT 1;\n")
            }).collect());
            let target = all.migrations()[pick.index(files.len())].version;
            let first = decide(&all, &History::default(), Some(target)).unwrap();
            prop_assert!(first.iter().all(|migration| migration.version <= target));
            let rest = decide(&all, &history(first.iter().copied()), None).unwrap();
            prop_assert_eq!(first.len() + rest.len(), files.len());
        }

        /// A fleet in any mix of states, and any selection of it.
        #[test]
        fn a_fleets_plan_is_the_set_difference_and_applying_it_twice_changes_nothing(
            files in btree_set(1_i64..1000, 1..10),
            fleet in proptest::collection::vec((standing(), any::<bool>(), any::<bool>()), 0..12),
            target in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let all = set(files.iter().copied().map(v).collect());
            let target = target.map(|pick| all.migrations()[pick.index(files.len())].version);
            let mut histories: Vec<History> =
                fleet.iter().map(|(standing, ..)| standing.history(&all)).collect();
            let before = histories.clone();
            // Whose migration fails at first, and not when it is tried again.
            for attempt in 0..3 {
                for (at, (standing, selected, fails)) in fleet.iter().enumerate() {
                    if !selected {
                        continue;
                    }
                    let plan = decide(&all, &histories[at], target);
                    // A sum of it is as good as its rows, or says that it is not.
                    if let Some(count) = beginning(&all, &summed(&histories[at])) {
                        let first = History::of_first(&all, count);
                        let alike = decide(&all, &first, target);
                        prop_assert_eq!(plan.as_ref().ok(), alike.as_ref().ok());
                        prop_assert!(first.0.iter().zip(&histories[at].0).all(|(a, b)| a.version == b.version));
                    }
                    if standing.diverges() {
                        prop_assert_eq!(plan.unwrap_err().code, Code::HistoryDiverged);
                        continue;
                    }
                    let plan = plan.unwrap();
                    let goal = |version: i64| target.is_none_or(|target| version <= target.0);
                    let missing: Vec<i64> = files
                        .iter()
                        .copied()
                        .filter(|at_version| histories[at].get(Version(*at_version)).is_none())
                        .filter(|version| goal(*version))
                        .collect();
                    prop_assert_eq!(versions(&plan), missing);
                    if attempt > 1 || attempt > usize::from(*fails) {
                        prop_assert!(plan.is_empty());
                    }
                    if attempt > 0 || !fails {
                        histories[at].0.extend(history(plan).0);
                    }
                }
            }
            for (at, (standing, selected, _)) in fleet.iter().enumerate() {
                if !selected || standing.diverges() {
                    prop_assert_eq!(&histories[at], &before[at]);
                }
            }
        }
    }

    /// How a tenant's history stands to the files.
    #[derive(Clone, Debug)]
    enum Standing {
        /// It is so many of the first.
        Behind(prop::sample::Index),
        /// One that was applied was changed since.
        Edited(prop::sample::Index),
        /// One that was applied has no file.
        Unknown(prop::sample::Index),
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop_oneof![
            3 => any::<prop::sample::Index>().prop_map(Standing::Behind),
            1 => any::<prop::sample::Index>().prop_map(Standing::Edited),
            1 => any::<prop::sample::Index>().prop_map(Standing::Unknown),
        ]
    }

    impl Standing {
        fn history(&self, all: &MigrationSet) -> History {
            let files = all.migrations();
            match self {
                Self::Behind(pick) => history(&files[..pick.index(files.len() + 1)]),
                Self::Edited(pick) => {
                    let mut edited = history(&files[..=pick.index(files.len())]);
                    if let Some(last) = edited.0.last_mut() {
                        last.checksum ^= 1;
                    }
                    edited
                }
                Self::Unknown(pick) => {
                    let mut known = history(&files[..pick.index(files.len() + 1)]);
                    known.0.extend(history(&[v(1001)]).0);
                    known
                }
            }
        }

        fn diverges(&self) -> bool {
            !matches!(self, Self::Behind(_))
        }
    }

    fn summed(history: &History) -> Digest {
        Digest {
            rows: history.0.len(),
            newest: history.version(),
            checksums: history.0.iter().map(|row| u128::from(row.checksum)).sum(),
        }
    }
}
