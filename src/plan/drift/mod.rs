//! Which schemas are not what the others of their version are, and how they differ.
//!
//! A version is a claim: the history says that the files were applied. Schemas that claim the same
//! should look the same; what most of them look like is taken for what the files make.

mod files;

use std::collections::BTreeMap;

pub use self::files::{Script, applied, from_files};
use crate::model::migration::Version;
use crate::model::structure::{Fact, Fingerprint};
use crate::model::tenant::Isolation;

/// Which schemas can be compared: a server of another major version prints definitions in another
/// way, and another isolation model grants other privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// How the tenants are isolated.
    pub isolation: Isolation,
    /// The version that their histories claim.
    pub version: Option<Version>,
    /// The major version of their servers.
    pub major: u32,
}

/// Schemas that claim the same, by their places in the list that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they claim.
    pub claim: Claim,
    /// Those that are as they should be.
    pub alike: Vec<usize>,
    /// The others: those that deviate in the same way stand together.
    pub deviants: Vec<Vec<usize>>,
    /// Whether as many deviate in one way as are alike, so that nobody can say who is right.
    pub tied: bool,
}

/// Groups schemas by what they claim, and those of a group by what they look like.
///
/// The largest part of a group is the norm, the one with the earliest schema when two are as large;
/// in the group of `against` it is the part that this schema is in.
pub fn groups(schemas: &[(Claim, Fingerprint)], against: Option<usize>) -> Vec<Group> {
    let mut claims: BTreeMap<Claim, BTreeMap<Fingerprint, Vec<usize>>> = BTreeMap::new();
    for (at, (claim, fingerprint)) in schemas.iter().enumerate() {
        claims.entry(*claim).or_default().entry(*fingerprint).or_default().push(at);
    }
    claims.into_iter().map(|(claim, parts)| group(claim, parts, against)).collect()
}

fn group(claim: Claim, parts: BTreeMap<Fingerprint, Vec<usize>>, against: Option<usize>) -> Group {
    let mut parts: Vec<Vec<usize>> = parts.into_values().collect();
    let named = |part: &Vec<usize>| against.is_some_and(|at| part.contains(&at));
    let chosen = parts.iter().any(named);
    parts.sort_by_key(|part| (!named(part), usize::MAX - part.len(), part.first().copied()));
    let mut parts = parts.into_iter();
    let alike = parts.next().unwrap_or_default();
    let deviants: Vec<Vec<usize>> = parts.collect();
    let tied = !chosen && deviants.first().is_some_and(|part| part.len() == alike.len());
    Group { claim, alike, deviants, tied }
}

/// One way in which a schema differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What kind of thing differs: `column`, `index`, …
    pub kind: String,
    /// Which one.
    pub object: String,
    /// How.
    pub change: Change,
}

/// How a thing differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It should be there.
    Missing {
        /// What is expected.
        expected: String,
    },
    /// It should not be there.
    Extra {
        /// What was found.
        found: String,
    },
    /// It is another.
    Changed {
        /// What is expected.
        expected: String,
        /// What was found.
        found: String,
    },
}

impl Change {
    /// The word in JSON and on screen.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Extra { .. } => "extra",
            Self::Changed { .. } => "changed",
        }
    }
}

/// Every way in which the facts about a schema differ from those that are expected.
///
/// What goes with an object that is itself missing or extra is not named again, and the order of
/// columns is compared without the columns that only one side has.
pub fn differences(expected: &[Fact], found: &[Fact]) -> Vec<Difference> {
    let (expected, found) = (by_name(expected), by_name(found));
    let alone = |name: &(&str, &str), fact: &Fact| {
        fact.parent.is_empty() && expected.contains_key(name) != found.contains_key(name)
    };
    let gone: Vec<&str> = expected
        .iter()
        .chain(&found)
        .filter(|(name, fact)| alone(name, fact))
        .map(|(_, fact)| fact.object.as_str())
        .collect();
    let mut names: Vec<&(&str, &str)> = expected.keys().chain(found.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| {
            let (one, other) = (expected.get(name), found.get(name));
            let parent = one.or(other).map_or("", |fact| fact.parent.as_str());
            if gone.contains(&parent) {
                return None;
            }
            let change = match (one, other) {
                (Some(one), None) => Change::Missing { expected: one.definition.clone() },
                (None, Some(other)) => Change::Extra { found: other.definition.clone() },
                (Some(one), Some(other)) if !agree(one, other) => Change::Changed {
                    expected: one.definition.clone(),
                    found: other.definition.clone(),
                },
                _ => return None,
            };
            Some(Difference { kind: name.0.to_owned(), object: name.1.to_owned(), change })
        })
        .collect()
}

fn by_name(facts: &[Fact]) -> BTreeMap<(&str, &str), &Fact> {
    facts.iter().map(|fact| ((fact.kind.as_str(), fact.object.as_str()), fact)).collect()
}

fn agree(one: &Fact, other: &Fact) -> bool {
    if one.kind != "column order" {
        return one.definition == other.definition;
    }
    let columns =
        |fact: &Fact| -> Vec<String> { fact.definition.split(", ").map(str::to_owned).collect() };
    let (one, other) = (columns(one), columns(other));
    one.iter()
        .filter(|name| other.contains(name))
        .eq(other.iter().filter(|name| one.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(version: i64) -> Claim {
        Claim { isolation: Isolation::Schema, version: Some(Version(version)), major: 18 }
    }

    fn schemas(all: &[(i64, u128)]) -> Vec<(Claim, Fingerprint)> {
        all.iter().map(|(version, print)| (claim(*version), Fingerprint(*print))).collect()
    }

    fn fact(kind: &str, parent: &str, object: &str, definition: &str) -> Fact {
        let [kind, parent, object, definition] =
            [kind, parent, object, definition].map(str::to_owned);
        Fact { kind, parent, object, definition }
    }

    fn said(expected: &[Fact], found: &[Fact]) -> Vec<String> {
        differences(expected, found)
            .iter()
            .map(|one| format!("{} {} {}", one.change.word(), one.kind, one.object))
            .collect()
    }

    #[test]
    fn the_largest_part_of_a_version_is_the_norm() {
        let found = groups(&schemas(&[(1, 7), (2, 8), (2, 9), (2, 9), (2, 5)]), None);
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0].alike, found[0].deviants.len()), (&vec![0], 0));
        assert_eq!(found[1].alike, [2, 3]);
        assert_eq!(found[1].deviants, [vec![1], vec![4]]);
        assert!(!found[1].tied);
    }

    #[test]
    fn between_two_as_large_nobody_knows_until_one_is_named() {
        let two = schemas(&[(1, 9), (1, 7)]);
        let found = groups(&two, None);
        assert_eq!((&found[0].alike, found[0].tied), (&vec![0], true));
        let found = groups(&two, Some(1));
        assert_eq!((&found[0].alike, found[0].tied), (&vec![1], false));
    }

    #[test]
    fn what_goes_with_a_missing_table_is_not_named_again() {
        let table = [
            fact("table", "", "notes", ""),
            fact("column", "notes", "notes.id", "bigint NOT NULL"),
            fact("grant", "notes", "relation notes to public", "SELECT"),
        ];
        assert_eq!(said(&table, &[]), ["missing table notes"]);
        assert_eq!(said(&[], &table), ["extra table notes"]);
    }

    #[test]
    fn a_dropped_column_does_not_put_the_others_out_of_order() {
        let order = |columns| fact("column order", "notes", "notes", columns);
        assert!(said(&[order("a, b, c")], &[order("a, c")]).is_empty());
        assert_eq!(said(&[order("a, b, c")], &[order("a, c, b")]), ["changed column order notes"]);
    }

    proptest! {
        #[test]
        fn every_schema_is_in_exactly_one_place(
            all in prop::collection::vec((0_i64..3, 0_u128..4), 0..30), pick in any::<prop::sample::Index>()
        ) {
            let against = (!all.is_empty()).then(|| pick.index(all.len()));
            for against in [None, against] {
                let schemas = schemas(&all);
                let found = groups(&schemas, against);
                let mut places: Vec<usize> = found
                    .iter()
                    .flat_map(|group| group.deviants.iter().flatten().chain(&group.alike))
                    .copied()
                    .collect();
                places.sort_unstable();
                prop_assert_eq!(places, (0..all.len()).collect::<Vec<_>>());
                for group in &found {
                    for part in group.deviants.iter().chain([&group.alike]) {
                        prop_assert!(part.iter().all(|at| schemas[*at] == schemas[part[0]]));
                    }
                    if against.is_none_or(|at| !group.alike.contains(&at)) {
                        prop_assert!(group.deviants.iter().all(|part| part.len() <= group.alike.len()));
                    }
                }
            }
        }

        #[test]
        fn facts_differ_exactly_when_something_is_named(
            one in prop::collection::btree_map("[a-c]", "[xy]", 0..4),
            other in prop::collection::btree_map("[a-c]", "[xy]", 0..4)
        ) {
            let facts = |from: &BTreeMap<String, String>| -> Vec<Fact> {
                from.iter().map(|(name, text)| fact("index", "", name, text)).collect()
            };
            let (a, b) = (facts(&one), facts(&other));
            prop_assert_eq!(differences(&a, &b).is_empty(), one == other);
            let mirrored: Vec<String> = differences(&b, &a).iter().map(|d| d.object.clone()).collect();
            let named: Vec<String> = differences(&a, &b).iter().map(|d| d.object.clone()).collect();
            prop_assert_eq!(named, mirrored);
        }
    }
}
