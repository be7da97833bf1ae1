//! A foreign key from one tenant's schema into another's.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::Cascade;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "foreign-key-crosses",
    family: Family::Schemas,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a foreign key leads from one tenant's schema into another's",
    what: "A foreign key leads from a table in one tenant's schema to a table in another's. High when it cascades, for then one tenant's DELETE removes another's rows. Not reported: keys to reference tables outside of tenants' schemas.",
    why: "It tells which keys exist over there and keeps those rows from being removed; neither tenant can be exported, moved or dropped alone.",
    example: "ALTER TABLE tenant_cat.orders ADD FOREIGN KEY (item) REFERENCES tenant_dan.items;",
    fix: "ALTER TABLE … DROP CONSTRAINT.",
    references: &["https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK"],
    covers: &["schema-key", "key-cascade"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for key in &survey.catalog.foreign_keys {
        let (Some(child), Some(parent)) =
            (survey.catalog.relations.get(&key.child), survey.catalog.relations.get(&key.parent))
        else {
            continue;
        };
        let (Some(from), Some(to)) = (survey.ground(child.schema), survey.ground(parent.schema)) else {
            continue;
        };
        let (from, to) = (&from.tenants[0].id, &to.tenants[0].id);
        if from == to {
            continue;
        }
        let cascades = key.on_delete != Cascade::None || key.on_update != Cascade::None;
        let grave = if cascades { Severity::High } else { RULE.severity };
        let message = format!(
            "{} of tenant {from} refers to {} of tenant {to}{}",
            child.name,
            parent.name,
            if cascades { ", and changes with it" } else { "" }
        );
        let fix = Fix::Sql(vec![sql!("ALTER TABLE {} DROP CONSTRAINT {}", child.name, key.name)]);
        found.push(
            RULE.finding(survey.part("constraint", &key.name, child), message, fix)
                .severity(grave)
                .tenants([from, to]),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn another_tenants_table_is_accused_and_a_common_one_is_not() {
        let mut world = World::new();
        let (cat, dan) = (world.relation_oid("tenant_cat.notes"), world.relation_oid("tenant_dan.notes"));
        let countries = world.relation_oid("app.countries");
        world.catalog.foreign_keys.push(key(cat, countries, &[("country", "id")]));
        assert!(world.rules().is_empty());
        world.catalog.foreign_keys.push(key(cat, dan, &[("note", "id")]));
        assert_eq!(world.rules(), ["foreign-key-crosses"]);
    }
}
