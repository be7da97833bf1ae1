//! Holes of the server that bear on row-level security, and the minor releases that closed them.
//!
//! A branch that is not listed for a hole never had it, or its closing release is not known here:
//! nothing is claimed about it.

/// The first minor release of each branch without a hole.
pub(super) type Floors = &'static [(i32, i32)];

/// `DROP OWNED BY` takes a role out of restrictive policies (CVE-2026-116311).
const LEAVES_FLOORS: Floors = &[(14, 25), (15, 20), (16, 16), (17, 12), (18, 6)];

/// Whether a role can take itself out of a restrictive policy.
pub(super) fn leaves_floors(version: i32) -> bool {
    open(version, LEAVES_FLOORS)
}

/// Whether a server has a hole, by `server_version_num`.
pub(super) fn open(version: i32, floors: Floors) -> bool {
    let (branch, minor) = (version / 10_000, version % 10_000);
    floors.iter().any(|(listed, mended)| *listed == branch && minor < *mended)
}

/// The release that closes a hole on a server's own branch.
pub(super) fn mended(version: i32, floors: Floors) -> Option<String> {
    let branch = version / 10_000;
    let floor = floors.iter().find(|(listed, _)| *listed == branch)?;
    Some(format!("{}.{}", floor.0, floor.1))
}

/// What makes a hole matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposure {
    /// A pool whose sessions change roles.
    Pool,
    /// Tables with row-level security that the application writes.
    Writes,
    /// A key without the tenant, on a table with row-level security that the application writes.
    Keys,
    /// A view that filters, and through which the application writes.
    FilteringView,
    /// Partitions or children with policies.
    Partitions,
    /// A materialized view that somebody else than a superuser owns.
    Materialized,
    /// A role of the application that may make objects.
    Creator,
}

/// A hole of the server.
#[derive(Debug)]
pub(super) struct Hole {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    pub(super) floors: Floors,
    pub(super) exposure: Exposure,
    pub(super) grave: bool,
}

/// The holes that depend on nothing but the release and on what is used.
pub(super) const HOLES: &[Hole] = &[
    Hole {
        id: "CVE-2026-120154",
        what: "ON CONFLICT … DO UPDATE WHERE shows a hidden row to the function in its condition",
        floors: &[(14, 25), (15, 20), (16, 16), (17, 12), (18, 6)],
        exposure: Exposure::Keys,
        grave: false,
    },
    Hole {
        id: "CVE-2026-16237",
        what: "INSERT … ON CONFLICT through a view that filters changes rows that it hides",
        floors: &[(14, 25), (15, 20), (16, 16), (17, 12), (18, 6)],
        exposure: Exposure::FilteringView,
        grave: true,
    },
    Hole {
        id: "CVE-2025-8713",
        what: "statistics of partitions and children tell about rows that policies hide",
        floors: &[(14, 19), (15, 14), (16, 10), (17, 6)],
        exposure: Exposure::Partitions,
        grave: false,
    },
    Hole {
        id: "CVE-2024-10976",
        what: "a plan with a subquery keeps the policies of the role that it was made for",
        floors: &[(14, 14), (15, 9), (16, 5), (17, 1)],
        exposure: Exposure::Pool,
        grave: true,
    },
    Hole {
        id: "CVE-2024-10978",
        what: "SET ROLE that is rolled back leaves the wrong role",
        floors: &[(14, 15), (15, 10), (16, 6), (17, 2)],
        exposure: Exposure::Pool,
        grave: false,
    },
    Hole {
        id: "CVE-2024-7348",
        what: "pg_dump can be made to run an object owner's SQL with its own rights",
        floors: &[(14, 13), (15, 8), (16, 4)],
        exposure: Exposure::Creator,
        grave: false,
    },
    Hole {
        id: "CVE-2024-0985",
        what: "REFRESH MATERIALIZED VIEW CONCURRENTLY runs its owner's code as whoever refreshes",
        floors: &[(14, 11), (15, 6)],
        exposure: Exposure::Materialized,
        grave: true,
    },
    Hole {
        id: "CVE-2023-39418",
        what: "MERGE skips the policies of UPDATE and SELECT",
        floors: &[(15, 4)],
        exposure: Exposure::Writes,
        grave: true,
    },
    Hole {
        id: "CVE-2023-2455",
        what: "an inlined function keeps the policies of the role that it was planned for",
        floors: &[(14, 8), (15, 3)],
        exposure: Exposure::Pool,
        grave: true,
    },
    Hole {
        id: "CVE-2023-2454",
        what: "CREATE SCHEMA can run code as the bootstrap superuser",
        floors: &[(14, 8), (15, 3)],
        exposure: Exposure::Creator,
        grave: true,
    },
    Hole {
        id: "CVE-2022-1552",
        what: "autovacuum, REINDEX and others run an owner's code outside of the sandbox",
        floors: &[(14, 3)],
        exposure: Exposure::Creator,
        grave: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_with_its_own_branch() {
        assert!(leaves_floors(150_019) && !leaves_floors(150_020));
        assert!(leaves_floors(180_004) && !leaves_floors(180_006));
        assert!(!leaves_floors(190_000), "a branch that is not listed is not accused");
        assert_eq!(mended(150_003, LEAVES_FLOORS).as_deref(), Some("15.20"));
    }
}
