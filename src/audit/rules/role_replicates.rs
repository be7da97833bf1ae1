//! The application reaches a role that may replicate.

use super::{Family, Rule};
use crate::audit::attribute::reached;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-replicates",
    family: Family::Roles,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application reaches a role that may replicate",
    what: "A role of the application has REPLICATION, or can become one that has.",
    why: "It can copy the whole cluster, or decode every change of every tenant from a replication slot; policies apply to neither. SET ROLE is enough to create a slot and read it.",
    example: "ALTER ROLE app_rw REPLICATION;",
    fix: "ALTER ROLE … NOREPLICATION, and a role of its own for replication.",
    references: &["https://www.postgresql.org/docs/current/role-attributes.html", "https://www.postgresql.org/docs/current/logicaldecoding.html"],
    covers: &["who-replication"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let said = "can stream every tenant's changes, or copy the cluster,";
    reached(survey, &RULE, |role| role.replication, &sql!("NOREPLICATION"), said)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn the_applications_role_is_accused_and_another_is_not() {
        let mut world = World::new();
        world.role_mut("stranger").replication = true;
        assert!(world.findings("role-replicates").is_empty());
        world.role_mut("app_rw").replication = true;
        let found = world.findings("role-replicates");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object.name, "app_rw");
    }
}
