//! The order in which tables are filled, so that a row never refers to one that is not there yet.

use std::collections::BTreeMap;

use crate::model::holdings::Holdings;
use crate::model::ident::QualifiedName;

/// The tables in groups, in an order in which they can be filled: a table stands behind those that
/// its foreign keys refer to.
///
/// Tables that refer to each other in a circle are one group. It must be filled by one statement
/// (`WITH a AS (INSERT …), b AS (INSERT …) SELECT`): the server checks foreign keys at the end of a
/// statement, deferrable or not, so neither a second pass nor a nullable column is needed. For the
/// same reason a table that refers to itself is filled by one COPY or one INSERT, in any order of
/// its rows.
pub fn loading(holdings: &Holdings) -> Vec<Vec<QualifiedName>> {
    let mut search = Search {
        parents: holdings.tables.keys().map(|name| (name, Vec::new())).collect(),
        seen: BTreeMap::new(),
        path: Vec::new(),
        groups: Vec::new(),
    };
    for edge in holdings.within() {
        if let Some(parents) = search.parents.get_mut(&edge.from)
            && holdings.tables.contains_key(&edge.to)
        {
            parents.push(&edge.to);
        }
    }
    for name in holdings.tables.keys() {
        if !search.seen.contains_key(name) {
            search.visit(name);
        }
    }
    search.groups
}

/// The same groups in an order in which they can be emptied: a table stands before those that its
/// foreign keys refer to.
pub fn unloading(holdings: &Holdings) -> Vec<Vec<QualifiedName>> {
    let mut groups = loading(holdings);
    groups.reverse();
    groups
}

/// Tarjan's: a group is complete when everything that it refers to is.
struct Search<'a> {
    parents: BTreeMap<&'a QualifiedName, Vec<&'a QualifiedName>>,
    /// When a table was met, and the earliest one that it leads back to.
    seen: BTreeMap<&'a QualifiedName, (usize, usize)>,
    path: Vec<&'a QualifiedName>,
    groups: Vec<Vec<QualifiedName>>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, name: &'a QualifiedName) -> usize {
        let met = self.seen.len();
        self.seen.insert(name, (met, met));
        self.path.push(name);
        let mut earliest = met;
        for parent in self.parents.get(name).cloned().unwrap_or_default() {
            let leads_to = match self.seen.get(parent) {
                None => self.visit(parent),
                Some((at, _)) if self.path.contains(&parent) => *at,
                Some(_) => continue,
            };
            earliest = earliest.min(leads_to);
        }
        self.seen.insert(name, (met, earliest));
        if earliest == met {
            let from = self.path.iter().position(|on| *on == name).unwrap_or_default();
            let mut group: Vec<QualifiedName> =
                self.path.split_off(from).into_iter().cloned().collect();
            group.sort();
            self.groups.push(group);
        }
        earliest
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::model::holdings::{Edge, HeldTable, OnDelete, Reach, SeenBy};
    use crate::model::ident::Ident;

    fn name(at: usize) -> QualifiedName {
        QualifiedName::new(Ident::new("s").unwrap(), Ident::new(format!("t{at:02}")).unwrap())
    }

    fn holdings(tables: usize, edges: &[(usize, usize)]) -> Holdings {
        let table = HeldTable {
            columns: Vec::new(),
            key: Vec::new(),
            reach: Reach::Whole,
            partitioned: false,
            owner: Ident::new("o").unwrap(),
            rls: false,
            forced: false,
            seen_by: SeenBy::default(),
            added_by: SeenBy::default(),
            foreign_policies: Vec::new(),
            triggers: BTreeMap::new(),
            bytes: 0,
            estimate: None,
        };
        let edge = |(from, to): &(usize, usize)| Edge {
            from: name(*from),
            name: Ident::new("fk").unwrap(),
            columns: Vec::new(),
            to: name(*to),
            to_columns: Vec::new(),
            on_delete: OnDelete::NoAction,
            deferrable: false,
            optional: false,
        };
        Holdings {
            tables: (0..tables).map(|at| (name(at), table.clone())).collect(),
            edges: edges.iter().map(edge).collect(),
            ..Holdings::default()
        }
    }

    #[test]
    fn parents_come_first_and_circles_are_one_group() {
        let found = loading(&holdings(5, &[(0, 1), (1, 2), (2, 1), (3, 3), (4, 0)]));
        let expected: Vec<Vec<QualifiedName>> =
            vec![vec![name(1), name(2)], vec![name(0)], vec![name(3)], vec![name(4)]];
        assert_eq!(found, expected);
        let mut back = unloading(&holdings(5, &[(0, 1), (1, 2), (2, 1), (3, 3), (4, 0)]));
        back.reverse();
        assert_eq!(back, expected);
    }

    #[test]
    fn what_is_not_held_has_no_place_in_the_order() {
        let mut held = holdings(2, &[(0, 1), (1, 7), (8, 0)]);
        held.edges.sort();
        assert_eq!(loading(&held), [vec![name(1)], vec![name(0)]]);
    }

    proptest! {
        /// Every table is in one group, and no foreign key leads to a later one.
        #[test]
        fn no_row_refers_to_one_that_is_filled_later(
            edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..30)
        ) {
            let held = holdings(12, &edges);
            let groups = loading(&held);
            let at = |table: usize| groups.iter().position(|group| group.contains(&name(table)));
            for (from, to) in &edges {
                prop_assert!(at(*to) <= at(*from), "{from} refers to {to}: {groups:?}");
            }
            let mut all: Vec<QualifiedName> = groups.concat();
            all.sort();
            prop_assert_eq!(all, (0..12).map(name).collect::<Vec<_>>());
            // A group is no larger than its circle: each of its tables leads to every other one.
            for group in groups.iter().filter(|group| group.len() > 1) {
                for one in group {
                    let mut reached = vec![one.clone()];
                    let mut next = 0;
                    while next < reached.len() {
                        let from = reached[next].clone();
                        for edge in held.edges.iter().filter(|edge| edge.from == from) {
                            if !reached.contains(&edge.to) {
                                reached.push(edge.to.clone());
                            }
                        }
                        next += 1;
                    }
                    prop_assert!(group.iter().all(|other| reached.contains(other)));
                }
            }
        }
    }
}
