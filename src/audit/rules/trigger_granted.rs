//! The application may attach code to a table that tenants share.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Privilege, Privileges};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "trigger-granted",
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application may attach code to a table that tenants share",
    docs: "A trigger runs in the sessions of all tenants that write the table and sees their rows as they are stored; a function in pg_temp is enough to make one. The privilege usually comes with GRANT ALL. Fix: REVOKE TRIGGER and grant SELECT, INSERT, UPDATE and DELETE by name. Tables of one tenant's own schema are not reported.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let wanted = Privileges::NONE.with(Privilege::Trigger);
    for (_, table) in survey.tables() {
        for (subject, held) in survey.reaching(table, wanted) {
            // The owner has a rule of its own, and needs no grant.
            if subject.closure.contains_key(&table.owner) {
                continue;
            }
            let message = format!("role {} may create triggers on {}, which see every tenant's writes", subject.name, table.name);
            let fix = table
                .grants
                .iter()
                .filter(|grant| grant.privileges.has(Privilege::Trigger))
                .find_map(|grant| {
                    subject.closure.contains_key(&grant.grantee).then_some(survey.ident(grant.grantee)?)
                })
                .map_or_else(
                    || sql!("REVOKE TRIGGER ON {} FROM PUBLIC", table.name),
                    |grantee| sql!("REVOKE TRIGGER ON {} FROM {}", table.name, grantee),
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
    fn the_grant_is_accused_and_so_is_nobody_who_lacks_it() {
        let mut world = World::new();
        world.grant("app.notes", "stranger", Privilege::Trigger);
        world.grant("app.countries", "app_rw", Privilege::Trigger);
        assert!(world.findings("trigger-granted").is_empty());
        world.grant("app.notes", "app_rw", Privilege::Trigger);
        let found = world.findings("trigger-granted");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].fix.to_string(), "REVOKE TRIGGER ON app.notes FROM app_rw;");
    }
}
