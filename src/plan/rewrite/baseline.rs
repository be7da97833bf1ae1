//! Recording what stands already as applied.

use super::{RowChange, Why};
use crate::error::{Code, Error};
use crate::model::migration::{History, MigrationSet, Version};
use crate::plan::pending::decide;

/// The rows that make `to` the version of a schema whose objects were made by something else, in
/// the order of their versions; none when the history says all of it already.
///
/// `occupied` is whether anything stands in the schema beside the history.
///
/// # Errors
///
/// * [`Code::NotFound`] when the set has no version `to`.
/// * [`Code::Refused`] for a schema with nothing in it, and for a history that has begun and lacks
///   some of these versions: to go on with it is `migrate up`'s business.
/// * [`Code::HistoryDiverged`] for a history that the files do not continue.
pub fn baseline(
    set: &MigrationSet,
    history: &History,
    occupied: bool,
    to: Version,
) -> Result<Vec<RowChange>, Error> {
    // Refuses an unknown version, and a history that speaks of other files.
    decide(set, history, Some(to))?;
    let missing: Vec<RowChange> = set
        .migrations()
        .iter()
        .filter(|migration| migration.version <= to && history.get(migration.version).is_none())
        .map(|migration| RowChange {
            version: migration.version,
            was: None,
            now: Some(migration.into()),
            why: Why::Baseline,
            file: Some(migration.path.clone()),
        })
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    if let Some(version) = history.version() {
        return Err(Error::new(
            Code::Refused,
            format!("record V{to} as the beginning: the history has begun, and is at V{version}"),
        )
        .hint("to apply the rest: tenantctl migrate up"));
    }
    if !occupied {
        return Err(Error::new(
            Code::Refused,
            format!("record V{to} as the beginning: nothing stands in the schema"),
        )
        .hint("to make its objects: tenantctl migrate up"));
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::migration::{Applied, Migration, Prefix};
    use proptest::prelude::*;

    fn set(versions: &[i64]) -> MigrationSet {
        let file = |version: &i64| {
            let path = format!("V{version}__x.sql");
            Migration::new(Prefix::Versioned, Version(*version), "x", "SELECT 1;", path, vec![])
        };
        MigrationSet::new("set", versions.iter().map(file).collect()).unwrap()
    }

    fn after(history: &History, changes: &[RowChange]) -> History {
        let mut rows = history.0.clone();
        rows.extend(changes.iter().map(|change| {
            let now = change.now.clone().unwrap();
            let (name, checksum) = (now.name, now.checksum);
            Applied { version: change.version, name, applied_on: String::new(), checksum }
        }));
        History(rows)
    }

    proptest! {
        #[test]
        fn what_is_recorded_is_what_stands_and_recording_it_again_is_nothing(
            versions in proptest::collection::btree_set(1_i64..100, 1..12),
            pick in any::<prop::sample::Index>()
        ) {
            let versions: Vec<i64> = versions.into_iter().collect();
            let set = set(&versions);
            let to = Version(versions[pick.index(versions.len())]);
            let none = History::default();
            let rows = baseline(&set, &none, true, to).unwrap();
            prop_assert!(rows.iter().all(|row| row.version <= to && row.was.is_none()));
            let recorded = after(&none, &rows);
            prop_assert_eq!(recorded.version(), Some(to));
            prop_assert!(baseline(&set, &recorded, true, to).unwrap().is_empty());
            // What is left is what lies above.
            let left = decide(&set, &recorded, None).unwrap();
            prop_assert_eq!(left.len() + rows.len(), versions.len());
        }
    }

    #[test]
    fn what_has_begun_or_is_empty_is_not_adopted() {
        let set = set(&[1, 2, 3]);
        let none = History::default();
        let code = |history: &History, occupied, to| {
            baseline(&set, history, occupied, Version(to)).unwrap_err().code
        };
        assert_eq!(code(&none, false, 2), Code::Refused);
        assert_eq!(code(&none, true, 9), Code::NotFound);
        let begun = after(&none, &baseline(&set, &none, true, Version(1)).unwrap());
        assert_eq!(code(&begun, true, 2), Code::Refused);
        assert!(baseline(&set, &begun, true, Version(1)).unwrap().is_empty());
        let mut foreign = begun;
        foreign.0[0].checksum = 7;
        assert_eq!(code(&foreign, true, 1), Code::HistoryDiverged);
    }
}
