//! A catalogue with samples of rows, or with secrets, in the application's hands.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Privilege, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "catalogue-readable",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "the application reads a catalogue that holds samples of rows or secrets",
    what: "A role of the application may read pg_statistic, pg_authid, pg_user_mapping, pg_largeobject or their like, by a grant or through a view of somebody who may. Not reported: pg_read_all_data, which role-predefined reports.",
    why: "pg_statistic keeps most common values and histograms of every table: rows of all tenants, past every policy. The others hold password verifiers, passwords of other servers and large objects.",
    example: "GRANT SELECT ON pg_catalog.pg_statistic TO app_rw;",
    fix: "REVOKE the grant, or the grant on the view.",
    references: &["https://www.postgresql.org/docs/current/catalog-pg-statistic.html"],
    covers: &["code-system"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let reads = Privileges::NONE.with(Privilege::Select);
    let mut found = Vec::new();
    for catalogue in survey.catalog.around.catalogues.values() {
        for grant in &catalogue.grants {
            if !grant.privileges.has(Privilege::Select) || grant.grantee == catalogue.owner {
                continue;
            }
            let Some(subject) = survey.users_of(grant.grantee).next() else { continue };
            let name = format!("pg_catalog.{}", catalogue.name);
            let who = survey.catalog.role_name(grant.grantee);
            let message = format!("{} may read {name}", subject.name);
            let fix = Fix::Advice(format!("REVOKE SELECT ON {name} FROM {who}"));
            found.push(
                RULE.finding(survey.object("table", &name), message, fix)
                    .role(subject.name)
                    .operation("SELECT"),
            );
        }
    }
    for view in survey.catalog.relations.values() {
        let Some(facts) = view.view.as_ref().filter(|facts| !facts.security_invoker) else { continue };
        let shown = facts.reads.iter().find_map(|oid| survey.catalog.around.catalogues.get(oid));
        let Some(catalogue) = shown else { continue };
        let owner = survey.catalog.roles.get(&view.owner).is_some_and(|role| role.superuser)
            || catalogue.grants.iter().any(|grant| survey.reach.uses(view.owner, grant.grantee));
        let Some((subject, _)) = survey.reaching(view, reads).next().filter(|_| owner) else {
            continue;
        };
        let message = format!(
            "{} {} shows {} what pg_catalog.{} holds",
            view.kind.word(),
            view.name,
            subject.name,
            catalogue.name
        );
        let fix = Fix::Advice(format!("REVOKE ALL ON {} FROM {}", view.name, subject.name));
        found.push(
            RULE.finding(survey.relation(view), message, fix)
                .role(subject.name)
                .operation("SELECT"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn a_grant_and_a_view_are_accused_and_a_strangers_grant_is_not() {
        let mut world = World::new();
        let given = world.given("pg_statistic", "stranger", Privilege::Select);
        world.catalog.around.catalogues.insert(2619, given);
        assert!(world.rules().is_empty());
        world.view("app", "samples", "admin", "app.countries");
        world.table_mut("app.samples").view.as_mut().unwrap().reads = vec![2619];
        world.grant("app.samples", "app_rw", Privilege::Select);
        assert_eq!(world.rules(), ["catalogue-readable"]);
        let given = world.given("pg_authid", "app_rw", Privilege::Select);
        world.catalog.around.catalogues.insert(1260, given);
        assert_eq!(world.findings("catalogue-readable").len(), 2);
    }
}
