//! The application may empty a table that tenants share.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::granted::granted;
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "truncate-granted",
    family: Family::Tables,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application may empty a table that tenants share",
    what: "A role of the application holds TRUNCATE on a table that tenants share. Not reported: tables of one tenant's own schema.",
    why: "TRUNCATE is no matter of rows: row-level security does not filter it, so one statement removes every tenant's data. It usually comes with GRANT ALL.",
    example: "GRANT ALL ON app.notes TO app_rw;",
    fix: "REVOKE TRUNCATE, and grant SELECT, INSERT, UPDATE and DELETE by name.",
    references: &["https://www.postgresql.org/docs/current/sql-truncate.html", "https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["write-truncate"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    granted(survey, &RULE, Privilege::Truncate, &sql!("TRUNCATE"), |role, table| {
        format!("role {role} may TRUNCATE {table}, which removes every tenant's rows past every policy")
    })
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn the_grant_is_accused_and_so_is_nobody_who_lacks_it() {
        let mut world = World::new();
        world.grant("app.notes", "stranger", Privilege::Truncate);
        world.grant("app.countries", "app_rw", Privilege::Truncate);
        assert!(world.findings("truncate-granted").is_empty());
        world.grant("app.notes", "app_rw", Privilege::Truncate);
        let found = world.findings("truncate-granted");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].fix.to_string(), "REVOKE TRUNCATE ON app.notes FROM app_rw;");
    }
}
