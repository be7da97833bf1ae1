//! Hosts that come in without a password.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "host-trusted",
    family: Family::Server,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the server lets hosts in without a password",
    what: "A line of pg_hba.conf lets hosts in with the method trust. Not reported: lines for the machine itself. Only a superuser may read the file; for others it is listed under what was not seen.",
    why: "Whoever reaches the address is any role that the line names. Where every tenant has a role, the role is the wall.",
    example: "# pg_hba.conf\nhost all all 10.0.0.0/8 trust",
    fix: "Write scram-sha-256, and databases by name.",
    references: &["https://www.postgresql.org/docs/current/auth-pg-hba-conf.html"],
    covers: &["database-hba"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for line in survey.catalog.around.trusted.iter().flatten() {
        let message = format!(
            "line {} of pg_hba.conf lets {} into {} without a password",
            line.line,
            line.address,
            line.databases.join(", ")
        );
        let fix = Fix::Advice("write scram-sha-256 in place of trust, and reload".to_owned());
        let object = crate::audit::finding::Object {
            database: None,
            ..survey.object("pg_hba line", &line.line)
        };
        found.push(RULE.finding(object, message, fix));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::surroundings::TrustedHost;

    #[test]
    fn a_line_is_accused_and_an_unread_file_is_not() {
        let mut world = World::new();
        assert!(world.rules().is_empty());
        world.catalog.around.trusted = Some(vec![TrustedHost {
            line: 7,
            databases: vec!["all".to_owned()],
            address: "10.0.0.0/8".to_owned(),
        }]);
        assert_eq!(world.rules(), ["host-trusted"]);
    }
}
