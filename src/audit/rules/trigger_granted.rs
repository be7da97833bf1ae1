//! The application may attach code to a table that tenants share.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::granted::granted;
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "trigger-granted",
    family: Family::Tables,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application may attach code to a table that tenants share",
    what: "A role of the application holds TRIGGER on a table that tenants share. Not reported: tables of one tenant's own schema.",
    why: "A trigger runs in the sessions of all tenants that write the table and sees their rows as they are stored; a function in pg_temp is enough to make one. The privilege usually comes with GRANT ALL.",
    example: "GRANT ALL ON app.notes TO app_rw;",
    fix: "REVOKE TRIGGER, and grant SELECT, INSERT, UPDATE and DELETE by name.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html", "https://www.postgresql.org/docs/current/sql-createtrigger.html"],
    covers: &["write-trigger"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    granted(survey, &RULE, Privilege::Trigger, &sql!("TRIGGER"), |role, table| {
        format!("role {role} may create triggers on {table}, which see every tenant's writes")
    })
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
