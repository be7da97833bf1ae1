//! The list of tenants in the application's hands.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Privilege, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "registry-readable",
    family: Family::Tables,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application reads or writes the list of all tenants",
    what: "The table to which tenant columns refer has no row-level security, and a role of the application may use it. Medium where it is read, high where its rows can be changed or removed.",
    why: "It lists every tenant: a role that works for one at a time and reads it whole tells each of them who the others are, and by which keys.",
    example: "GRANT SELECT ON app.tenants TO app_rw; -- app.tenants has no row-level security",
    fix: "Enable and force row-level security with a policy that compares the key with the current tenant, or answer about one tenant by a function.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["table-registry"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, key) in &survey.holdings.registries {
        let Some(table) = survey.catalog.relations.get(oid).filter(|table| !table.rls) else {
            continue;
        };
        if survey.ground(table.schema).is_some() {
            continue;
        }
        let Some((subject, held)) = survey.reaching(table, Privileges::ROWS).next() else { continue };
        let grave = if held.has(Privilege::Update) || held.has(Privilege::Delete) {
            Severity::High
        } else {
            RULE.severity
        };
        let message = format!(
            "{} lists all tenants by {key}, and {} holds {held} on it",
            table.name, subject.name
        );
        let fix = Fix::Advice(format!(
            "enable and force row-level security on {}, with a policy that compares {key} with the current tenant",
            table.name
        ));
        found.push(
            RULE.finding(survey.relation(table), message, fix)
                .severity(grave)
                .role(subject.name)
                .operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn reading_is_medium_writing_is_high_and_nobody_is_nothing() {
        let mut world = World::new();
        let tenants = world.table("app", "tenants", "app_owner");
        let notes = world.relation_oid("app.notes");
        world.catalog.foreign_keys.push(key(notes, tenants, &[("tenant_id", "id")]));
        assert!(world.rules().is_empty());
        world.grant("app.tenants", "app_rw", Privilege::Select);
        assert_eq!(world.rules(), ["registry-readable"]);
        world.grant("app.tenants", "app_rw", Privilege::Update);
        assert_eq!(world.findings("registry-readable")[0].severity, Severity::High);
        world.table_mut("app.tenants").rls = true;
        assert!(world.findings("registry-readable").is_empty());
    }
}
