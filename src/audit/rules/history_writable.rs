//! Migration history that the application may rewrite.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Privilege, Privileges};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "history-writable",
    family: Family::Tables,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application may write the migration history",
    what: "A role of the application may write refinery_schema_history or tenantctl_repeatables. Reading them is harmless and not reported.",
    why: "These tables decide which migrations run next. Whoever can write them can have a file skipped or run again, with the rights of the role that migrates.",
    example: "GRANT ALL ON ALL TABLES IN SCHEMA tenant_cat TO app_tenant_cat;",
    fix: "REVOKE INSERT, UPDATE, DELETE and TRUNCATE on them from the application's roles.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["ddl-history"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let writing: Privileges =
        [Privilege::Insert, Privilege::Update, Privilege::Delete, Privilege::Truncate]
            .into_iter()
            .collect();
    let mut found = Vec::new();
    for table in survey.catalog.relations.values().filter(|table| Survey::is_history(table)) {
        // Grants are few, subjects are many: start from who is granted.
        for grant in &table.grants {
            // The owner may always write; who can become it is found by role-reaches-owner.
            if grant.privileges.and(writing).is_empty() || grant.grantee == table.owner {
                continue;
            }
            let Some(subject) = survey
                .users_of(grant.grantee)
                .find(|subject| survey.enters(subject, table.schema))
            else {
                continue;
            };
            let held = grant.privileges.and(writing);
            let message = format!("role {} may write {}: {held}", subject.name, table.name);
            let fix = survey.ident(grant.grantee).map_or_else(
                || sql!("REVOKE ALL ON {} FROM PUBLIC", table.name),
                |grantee| {
                    sql!("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {} FROM {}", table.name, grantee)
                },
            );
            found.push(
                RULE.finding(survey.relation(table), message, Fix::Sql(vec![fix]))
                    .role(subject.name)
                    .operation(held),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn writing_is_accused_and_reading_is_not() {
        let mut world = World::new();
        world.table("app", "refinery_schema_history", "app_owner");
        world.grant("app.refinery_schema_history", "app_rw", Privilege::Select);
        world.grant("app.refinery_schema_history", "app_owner", Privilege::Insert);
        assert!(world.rules().is_empty());
        world.grant("app.refinery_schema_history", "app_rw", Privilege::Update);
        assert_eq!(world.rules(), ["history-writable"]);
    }

    #[test]
    fn the_table_of_repeatable_files_is_history_as_well() {
        let mut world = World::new();
        world.table("app", "tenantctl_repeatables", "app_owner");
        assert!(world.rules().is_empty());
        world.grant("app.tenantctl_repeatables", "app_rw", Privilege::Delete);
        assert_eq!(world.rules(), ["history-writable"]);
    }
}
