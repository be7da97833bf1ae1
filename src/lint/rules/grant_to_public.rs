//! A privilege for everybody.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::script::Place;
use crate::lint::statement::Act;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "grant-to-public",
        severity: Severity::High,
        title: "a privilege is granted to PUBLIC",
        why: "PUBLIC is every role of the cluster, also those of other tenants and those that are made tomorrow. tenantctl grants the tenant's own roles what they need when a migration has run. Functions and types are PUBLIC's by default; for those the finding is low.",
        example: "GRANT SELECT ON notes TO PUBLIC;",
        fix: "Remove the grant: the roles in [isolation.*] role and readonly_role are granted by tenantctl.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (file, act) in survey.acts() {
        let Act::GrantToPublic { range, routines } = act else { continue };
        let place = Place { file, range: range.clone() };
        let message = "every role of the cluster gets this privilege, other tenants' included";
        let draft = Draft::new(rule, &place, message, rule.fix);
        drafts.push(if *routines { draft.severity(Severity::Low) } else { draft });
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "grant-to-public";

    #[test]
    fn every_spelling_is_found() {
        for (sql, expected) in [
            ("GRANT SELECT ON t TO app, PUBLIC;", "V1.sql:1:27 high"),
            ("GRANT ALL ON ALL TABLES IN SCHEMA x TO public;", "V1.sql:1:40 high"),
            ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;", "V1.sql:1:52 high"),
            ("GRANT EXECUTE ON FUNCTION f() TO PUBLIC;", "V1.sql:1:34 low"),
        ] {
            assert_eq!(found(RULE, &schema(), &[sql]), [expected], "{sql}");
        }
    }

    #[test]
    fn taking_it_away_and_a_role_of_that_name_are_fine() {
        for sql in ["REVOKE ALL ON t FROM PUBLIC;", "GRANT SELECT ON t TO public_site;"] {
            assert!(found(RULE, &schema(), &[sql]).is_empty(), "{sql}");
        }
    }
}
