//! The application may make schemas.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{PUBLIC, Privilege};
use crate::model::tenant::Isolation;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "database-create-granted",
    family: Family::Definitions,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application may make schemas in a database that tenants share",
    what: "A role of the application may make schemas in a database that tenants share. Not reported: a tenant's own database (see database-foreign-owner).",
    why: "It can make the schema of a tenant that does not exist yet: CREATE SCHEMA IF NOT EXISTS then finds it made, and the new tenant's tables lie in a schema that another owns.",
    example: "GRANT CREATE ON DATABASE app TO app_rw;",
    fix: "REVOKE CREATE ON DATABASE.",
    references: &["https://www.postgresql.org/docs/current/ddl-priv.html"],
    covers: &["ddl-database"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let own = survey
        .estate
        .of(Isolation::Database)
        .any(|tenant| tenant.placement.database == survey.catalog.database);
    let Some(database) = survey.here().filter(|_| !own) else { return found };
    for grant in &database.grants {
        if !grant.privileges.has(Privilege::Create) || grant.grantee == database.owner {
            continue;
        }
        let user = survey
            .users_of(grant.grantee)
            .find(|subject| !subject.closure.contains_key(&database.owner));
        let Some(subject) = user else { continue };
        let who = if grant.grantee == PUBLIC { "everybody" } else { subject.name.as_str() };
        let message = format!("{who} may make schemas in database {}", database.name);
        let fix = match survey.ident(grant.grantee) {
            Some(role) => sql!("REVOKE CREATE ON DATABASE {} FROM {}", database.name, role),
            None => sql!("REVOKE CREATE ON DATABASE {} FROM PUBLIC", database.name),
        };
        found.push(
            RULE.finding(survey.object("database", &database.name), message, Fix::Sql(vec![fix]))
                .role(subject.name)
                .operation(Privilege::Create.word()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn the_application_is_accused_and_a_stranger_is_not() {
        let mut world = World::new();
        let grant = world.granted("stranger", &[Privilege::Create]);
        world.catalog.databases[1].grants.push(grant);
        assert!(world.rules().is_empty());
        world.member("app_rw", "stranger", "i");
        assert_eq!(world.rules(), ["database-create-granted"]);
    }
}
