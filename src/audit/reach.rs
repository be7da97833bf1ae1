//! Which roles a role can use, and by which steps.
//!
//! A session chooses its current role by `SET ROLE`, which follows memberships that allow it from
//! role to role; from there, inherited memberships add privileges without being asked. Whoever may
//! grant a role can do both, to itself. Memberships are followed in that order and no other: after
//! an inherited step, `SET ROLE` leads nowhere, unless it was open from the start.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::model::catalog::{Catalog, Membership, Oid};

/// How one role comes to use another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The roles from the first to the last, both included.
    pub roles: Vec<Oid>,
    /// It needs no statement: every step is inherited.
    pub inherited: bool,
    /// The first role can make it its current role.
    pub becomes: bool,
}

/// Everything that one role can use, itself included.
pub type Closure = BTreeMap<Oid, Path>;

/// The memberships of a cluster, ready to be followed.
#[derive(Debug)]
pub struct Reach {
    edges: HashMap<Oid, Vec<Membership>>,
    inherited: HashMap<Oid, BTreeSet<Oid>>,
}

impl Reach {
    /// Sorts the memberships by member.
    pub fn new(catalog: &Catalog) -> Self {
        let mut edges: HashMap<Oid, Vec<Membership>> = HashMap::new();
        for membership in &catalog.memberships {
            edges.entry(membership.member).or_default().push(*membership);
        }
        let mut reach = Self { edges, inherited: HashMap::new() };
        reach.inherited = reach.edges.keys().map(|role| (*role, reach.inherits(*role))).collect();
        reach
    }

    /// Whether a role uses another's privileges without any statement; it does its own.
    pub fn uses(&self, role: Oid, other: Oid) -> bool {
        role == other || self.inherited.get(&role).is_some_and(|roles| roles.contains(&other))
    }

    /// What a membership allows, in words: `inherits, SET ROLE`.
    pub fn options(&self, member: Oid, role: Oid) -> String {
        let edges = || self.edges.get(&member).into_iter().flatten().filter(|e| e.role == role);
        [
            ("inherited", edges().any(|edge| edge.inherit)),
            ("SET ROLE", edges().any(|edge| edge.set)),
            ("ADMIN OPTION", edges().any(|edge| edge.admin)),
        ]
        .into_iter()
        .filter_map(|(word, holds)| holds.then_some(word))
        .collect::<Vec<_>>()
        .join(", ")
    }

    /// What a role can use, by any statements it may issue. Roles in `closed` are not passed through.
    pub fn closure(&self, from: Oid, closed: &BTreeSet<Oid>) -> Closure {
        let inherited = self.inherits(from);
        let mut found = Closure::new();
        let mut seen = BTreeSet::from([(from, true)]);
        let mut queue = VecDeque::from([(vec![from], true)]);
        while let Some((path, current)) = queue.pop_front() {
            let Some(&role) = path.last() else { continue };
            let entry = found.entry(role).or_insert_with(|| Path {
                roles: path.clone(),
                inherited: inherited.contains(&role),
                becomes: false,
            });
            entry.becomes |= current;
            if role != from && closed.contains(&role) {
                continue;
            }
            for edge in self.edges.get(&role).into_iter().flatten() {
                // Whoever may grant a role may grant it to itself, and then become it.
                let becomes = edge.admin || (current && edge.set);
                for (open, next) in [(becomes, true), (edge.inherit, false)] {
                    if open && seen.insert((edge.role, next)) {
                        let mut longer = path.clone();
                        longer.push(edge.role);
                        queue.push_back((longer, next));
                    }
                }
            }
        }
        found
    }

    /// What a role uses without any statement, itself included: what decides which policies are its.
    pub fn inherits(&self, from: Oid) -> BTreeSet<Oid> {
        let mut found = BTreeSet::from([from]);
        let mut queue = VecDeque::from([from]);
        while let Some(role) = queue.pop_front() {
            for edge in self.edges.get(&role).into_iter().flatten() {
                if edge.inherit && found.insert(edge.role) {
                    queue.push_back(edge.role);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ident::Ident;
    use crate::model::tenant::ClusterName;

    fn reach(edges: &[(Oid, Oid, &str)]) -> Reach {
        let mut catalog =
            Catalog::empty(ClusterName::new("c").unwrap(), Ident::new("app").unwrap());
        catalog.memberships = edges
            .iter()
            .map(|(member, role, options)| Membership {
                member: *member,
                role: *role,
                inherit: options.contains('i'),
                set: options.contains('s'),
                admin: options.contains('a'),
            })
            .collect();
        Reach::new(&catalog)
    }

    fn reached(edges: &[(Oid, Oid, &str)]) -> Vec<Oid> {
        reach(edges).closure(1, &BTreeSet::new()).into_keys().collect()
    }

    #[test]
    fn set_role_leads_on_and_inheritance_follows() {
        assert_eq!(reached(&[(1, 2, "s"), (2, 3, "s"), (3, 4, "i")]), [1, 2, 3, 4]);
    }

    #[test]
    fn set_role_does_not_follow_inheritance() {
        assert_eq!(reached(&[(1, 2, "i"), (2, 3, "s")]), [1, 2]);
        assert_eq!(reached(&[(1, 2, "is"), (2, 3, "s")]), [1, 2, 3]);
    }

    #[test]
    fn whoever_may_grant_a_role_reaches_it() {
        let edges = [(1, 2, "i"), (2, 3, "a"), (3, 4, "s")];
        assert_eq!(reached(&edges), [1, 2, 3, 4]);
        let closure = reach(&edges).closure(1, &BTreeSet::new());
        assert!(closure[&3].becomes && !closure[&3].inherited);
        assert_eq!(closure[&4].roles, [1, 2, 3, 4]);
    }

    #[test]
    fn a_membership_without_options_leads_nowhere() {
        assert_eq!(reached(&[(1, 2, "")]), [1]);
    }

    #[test]
    fn circles_end_and_closed_roles_are_not_passed() {
        assert_eq!(reached(&[(1, 2, "is"), (2, 1, "is")]), [1, 2]);
        let edges = [(1, 2, "s"), (2, 3, "s")];
        let closure = reach(&edges).closure(1, &BTreeSet::from([2]));
        assert_eq!(closure.into_keys().collect::<Vec<_>>(), [1, 2]);
    }
}
