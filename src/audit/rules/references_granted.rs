//! The application may point foreign keys at a table that tenants share.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::granted::granted;
use crate::audit::survey::Survey;
use crate::model::catalog::Privilege;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "references-granted",
    family: Family::Tables,
    severity: Severity::Low,
    evidence: Evidence::Static,
    title: "the application may point foreign keys at a table that tenants share",
    what: "A role of the application holds REFERENCES on a table that tenants share. Medium where it may make tables somewhere, low otherwise. Not reported: owners, who have a rule of their own.",
    why: "A foreign key is checked past row-level security: whoever may make one learns which keys exist in other tenants' rows, and keeps those rows from being removed.",
    example: "GRANT REFERENCES ON app.notes TO app_rw;",
    fix: "REVOKE REFERENCES; the privilege usually came with GRANT ALL.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html", "https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["write-references"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let found = granted(survey, &RULE, Privilege::References, &sql!("REFERENCES"), |role, table| {
        format!("role {role} may refer to {table}, which tells whose keys exist")
    });
    let makes = |role: &Option<String>| {
        let named = |name: &str| role.as_deref() == Some(name);
        survey
            .subjects
            .iter()
            .any(|subject| named(&subject.name.to_string()) && survey.makes_objects(subject))
    };
    found
        .into_iter()
        .map(|finding| {
            let grave = if makes(&finding.role) { Severity::Medium } else { RULE.severity };
            finding.severity(grave)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn the_grant_is_accused_where_the_table_is_shared() {
        let mut world = World::new();
        world.grant("app.countries", "app_rw", Privilege::References);
        assert!(world.rules().is_empty());
        world.grant("app.notes", "app_rw", Privilege::References);
        assert_eq!(world.rules(), ["references-granted"]);
    }
}
