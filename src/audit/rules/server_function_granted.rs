//! Functions of the server that reach files, other servers or raw pages.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{PUBLIC, Privilege};

pub(super) static RULE: Rule = Rule {
    id: "server-function-granted",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application may call a function that reaches files, raw pages or other servers",
    what: "A role of the application may call pg_read_file, lo_import, pg_ls_dir, get_raw_page, dblink_connect_u and their like. Not reported: functions of dblink that ask for a password.",
    why: "They read and write the server's files, where every database lies, show rows without policies, or connect as anybody whom the server lets in without a password, itself included.",
    example: "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app_rw;",
    fix: "REVOKE EXECUTE: they are for superusers unless somebody grants them.",
    references: &["https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-GENFILE", "https://www.postgresql.org/docs/current/contrib-dblink-connect-u.html"],
    covers: &["code-dblink", "who-server-files"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for function in &survey.catalog.around.functions {
        for grant in &function.grants {
            // Raw pages are kept from all but superusers by the function itself.
            let guarded = ["get_raw_page", "heap_page_items"].iter().any(|f| function.name.contains(f));
            // Everybody may call what decodes; it asks for REPLICATION.
            let asks = function.name.contains("pg_logical_slot")
                || function.name.contains("pg_create_logical");
            if !grant.privileges.has(Privilege::Execute)
                || grant.grantee == function.owner
                || (asks && grant.grantee == PUBLIC)
            {
                continue;
            }
            let Some(subject) = survey.users_of(grant.grantee).next() else { continue };
            let message = format!("{} may call {}", subject.name, function.name);
            let who = survey.catalog.role_name(grant.grantee);
            let fix =
                Fix::Advice(format!("REVOKE EXECUTE ON FUNCTION {} FROM {who}", function.name));
            let grave = if guarded || asks { Severity::Medium } else { RULE.severity };
            found.push(
                RULE.finding(survey.object("function", &function.name), message, fix)
                    .severity(grave)
                    .role(subject.name)
                    .operation("EXECUTE"),
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
    fn a_grant_to_the_application_is_accused_and_one_to_a_stranger_is_not() {
        let mut world = World::new();
        let given = world.given("pg_read_file(text)", "stranger", Privilege::Execute);
        world.catalog.around.functions.push(given);
        assert!(world.rules().is_empty());
        let given = world.given("dblink_connect_u(text)", "app_rw", Privilege::Execute);
        world.catalog.around.functions.push(given);
        assert_eq!(world.rules(), ["server-function-granted"]);
    }
}
