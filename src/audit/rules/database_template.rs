//! A tenant's database that is marked as a template.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Object, Severity};
use crate::audit::survey::Survey;
use crate::model::tenant::Isolation;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "database-template",
    family: Family::Databases,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a tenant's database may be copied by whoever has CREATEDB",
    what: "A tenant's own database is marked IS_TEMPLATE. Not reported: the empty templates from which new tenants are copied, which are no tenant's.",
    why: "Any role with CREATEDB may copy it, whether it may connect there or not, and PUBLIC may connect to the copy.",
    example: "ALTER DATABASE tenant_eve IS_TEMPLATE true;",
    fix: "ALTER DATABASE … IS_TEMPLATE false.",
    references: &["https://www.postgresql.org/docs/current/manage-ag-templatedbs.html"],
    covers: &["database-template"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let own = survey.estate.of(Isolation::Database);
    for tenant in own.filter(|tenant| tenant.placement.cluster == survey.catalog.cluster) {
        let name = &tenant.placement.database;
        let template =
            survey.catalog.databases.iter().any(|other| other.template && other.name == *name);
        if template {
            let message = format!(
                "database {name} of tenant {} is a template: whoever has CREATEDB may copy it",
                tenant.id
            );
            let object = Object {
                database: Some(name.as_str().to_owned()),
                ..survey.object("database", name)
            };
            let fix = Fix::Sql(vec![sql!("ALTER DATABASE {} IS_TEMPLATE false", name)]);
            found.push(RULE.finding(object, message, fix).tenants([&tenant.id]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_tenants_database_is_accused_and_another_is_not() {
        let mut world = World::new();
        world.catalog.databases[1].template = true;
        assert!(world.rules().is_empty());
        world.catalog.databases[0].template = true;
        assert_eq!(world.rules(), ["database-template"]);
    }
}
