//! A role of the application that may copy databases.

use super::{Family, Rule};
use crate::audit::attribute::reached;
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "role-creates-databases",
    family: Family::Roles,
    severity: Severity::Low,
    evidence: Evidence::Static,
    title: "the application reaches a role with CREATEDB",
    what: "A role of the application has CREATEDB or can become a role that has it. High where a tenant's database is a template, low otherwise.",
    why: "CREATEDB copies any database that is marked as a template, whether one may connect to it or not; the copy belongs to whoever made it, with everything that was inside.",
    example: "ALTER ROLE app_rw CREATEDB;",
    fix: "Keep CREATEDB for the role that provisions tenants.",
    references: &["https://www.postgresql.org/docs/current/role-attributes.html", "https://www.postgresql.org/docs/current/manage-ag-templatedbs.html"],
    covers: &["who-createdb", "database-template"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let template = survey.estate.tenants.iter().any(|tenant| {
        survey
            .catalog
            .databases
            .iter()
            .any(|database| database.template && database.name == tenant.placement.database)
    });
    let grave = if template { Severity::High } else { RULE.severity };
    reached(survey, &RULE, |role| role.create_db, &sql!("NOCREATEDB"), "can make databases")
        .into_iter()
        .map(|finding| finding.severity(grave))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;

    #[test]
    fn it_is_grave_where_a_tenants_database_may_be_copied() {
        let mut world = World::new();
        world.role_mut("stranger").create_db = true;
        assert!(world.rules().is_empty());
        world.role_mut("app_rw").create_db = true;
        assert_eq!(world.findings("role-creates-databases")[0].severity, Severity::Low);
        world.catalog.databases[0].template = true;
        assert_eq!(world.findings("role-creates-databases")[0].severity, Severity::High);
    }
}
