//! A server with a known hole that this fleet is exposed to.

use super::{Family, Rule};
use crate::audit::cve::{self, Exposure, HOLES};
use crate::audit::finding::{Evidence, Finding, Fix, Object, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Privilege, Privileges, RelationKind};

pub(super) static RULE: Rule = Rule {
    id: "server-cve",
    family: Family::Server,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the server has a known hole in what keeps tenants apart",
    what: "The server's release has a known hole that bears on isolation, and this fleet is exposed to it: pools that change roles, keys without the tenant, views that filter, partitions with policies, materialized views of tenants' owners, roles that may make objects. High where SQL of the application crosses tenants. Not reported: a hole on a branch whose closing release is not known; CVE-2026-14666, for which the connections of a pool must be recycled after a REVOKE; CVE-2026-116311 (see policy-floor-named) and CVE-2024-4317 (see statistics-view-open).",
    why: "Row-level security has had holes of its own, which no policy mends.",
    example: "SHOW server_version; -- 15.3",
    fix: "Install the newest minor release of the branch.",
    references: &["https://www.postgresql.org/support/security/"],
    covers: &["version-cve"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let version = survey.catalog.version;
    let (branch, minor) = (version / 10_000, version % 10_000);
    let mut found = Vec::new();
    for hole in HOLES.iter().filter(|hole| cve::open(version, hole.floors)) {
        let Some(exposed) = exposed(survey, hole.exposure) else { continue };
        let floor = cve::mended(version, hole.floors).unwrap_or_default();
        let message =
            format!("PostgreSQL {branch}.{minor} has {}: {}; here: {exposed}", hole.id, hole.what);
        let fix = Fix::Advice(format!("install PostgreSQL {floor} or the newest release of the branch"));
        let object = Object { database: None, ..survey.object("server", &hole.id) };
        let grave = if hole.grave { Severity::High } else { RULE.severity };
        found.push(RULE.finding(object, message, fix).severity(grave));
    }
    found
}

/// Where the fleet is exposed, in words.
fn exposed(survey: &Survey<'_>, exposure: Exposure) -> Option<String> {
    let writing: Privileges =
        [Privilege::Insert, Privilege::Update, Privilege::Delete].into_iter().collect();
    let written = |oid: u32| {
        let table = survey.catalog.relations.get(&oid).filter(|table| table.rls)?;
        survey.reaching(table, writing).next().map(|_| table.name.to_string())
    };
    match exposure {
        Exposure::Pool => {
            let pool = survey.subjects.iter().find(|subject| subject.login)?;
            Some(format!("sessions of {} change roles", pool.name))
        }
        Exposure::Writes => survey.tables().find_map(|(oid, _)| written(oid)),
        Exposure::Keys => {
            let tenancy = survey.estate.tenancy.as_ref()?;
            let keys = survey.catalog.around.indexes.iter().filter(|index| {
                index.unique
                    && !index.uuids
                    && !index.columns.contains(&tenancy.column)
                    && survey.tenant_tables.contains(&index.relation)
            });
            keys.into_iter().find_map(|index| {
                Some(format!("key {} of {}", index.name, written(index.relation)?))
            })
        }
        Exposure::FilteringView => survey.catalog.relations.values().find_map(|view| {
            let facts = view.view.as_ref().filter(|facts| !facts.security_invoker)?;
            let filters = survey.text_reads_context(&facts.definition);
            let both: Privileges = [Privilege::Insert, Privilege::Update].into_iter().collect();
            let mut users = survey.reaching(view, both);
            let (subject, held) = users
                .find(|(subject, _)| !subject.closure.contains_key(&view.owner))
                .filter(|_| filters)?;
            (held == both).then(|| format!("{} writes through {}", subject.name, view.name))
        }),
        Exposure::Partitions => survey.tables().find_map(|(_, table)| {
            let part = table.rls && table.parent.is_some_and(|p| survey.tenant_tables.contains(&p));
            survey.reaching(table, Privileges::ROWS).next().filter(|_| part)?;
            Some(table.name.to_string())
        }),
        Exposure::Materialized => survey.catalog.relations.values().find_map(|view| {
            let owned = view.kind == RelationKind::Materialized
                && survey.users_of(view.owner).next().is_some();
            owned.then(|| view.name.to_string())
        }),
        Exposure::Creator => {
            let maker = survey.subjects.iter().find(|subject| survey.makes_objects(subject))?;
            Some(format!("{} may make objects", maker.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_hole_is_reported_where_it_matters_and_not_after_it_was_closed() {
        let mut world = World::new();
        world.catalog.version = 150_003;
        let found = world.findings("server-cve");
        let said: Vec<_> = found.iter().map(|finding| finding.object.name.as_str()).collect();
        assert_eq!(
            said,
            ["CVE-2023-39418", "CVE-2024-10976", "CVE-2024-10978"],
            "MERGE, and a pool"
        );
        world.estate.login_roles.clear();
        assert_eq!(world.findings("server-cve").len(), 1);
        world.catalog.version = 150_020;
        assert!(world.rules().is_empty());
    }

    #[test]
    fn a_key_without_the_tenant_exposes_on_conflict() {
        let mut world = World::new();
        world.catalog.version = 180_004;
        let notes = world.relation_oid("app.notes");
        assert!(world.findings("server-cve").is_empty());
        world.catalog.around.indexes.push(unique(notes, &["email"]));
        assert_eq!(world.findings("server-cve").len(), 1);
        world.catalog.version = 180_006;
        assert!(world.findings("server-cve").is_empty());
    }
}
