//! A unique key of a tenants' table that forgets the tenant.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{Privilege, Privileges};

pub(super) static RULE: Rule = Rule {
    id: "unique-without-tenant",
    family: Family::Integrity,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a unique key tells a tenant what others have",
    what: "A unique key or exclusion of a tenants' table that the application may write does not hold the tenant column. A key that is numbered is low. Not reported: keys of uuids, which nobody guesses, and the list of tenants.",
    why: "Unique keys are checked past row-level security: an INSERT that fails, or ON CONFLICT DO NOTHING that does nothing, tells that another tenant has that value; and two tenants cannot both have it.",
    example: "ALTER TABLE app.users ADD UNIQUE (email);",
    fix: "Let the tenant column be part of the key.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["key-unique"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    let writes: Privileges = [Privilege::Insert, Privilege::Update].into_iter().collect();
    for index in survey.catalog.around.indexes.iter().filter(|index| index.unique) {
        let Some(table) = survey.catalog.relations.get(&index.relation) else { continue };
        let own = index.columns.contains(&tenancy.column);
        let part = table.parent.is_some_and(|parent| survey.tenant_tables.contains(&parent));
        // Where the tenant column alone is unique, the table is the list of tenants.
        let list = survey.catalog.around.indexes.iter().any(|other| {
            other.relation == index.relation
                && other.unique
                && matches!(other.columns.as_slice(), [only] if *only == tenancy.column)
        });
        if !survey.tenant_tables.contains(&index.relation)
            || own
            || part
            || list
            || (index.uuids && !index.expressions)
        {
            continue;
        }
        let Some((subject, held)) = survey.reaching(table, writes).next() else { continue };
        let columns: Vec<_> = index.columns.iter().map(ToString::to_string).collect();
        let what = if columns.is_empty() { "an expression".to_owned() } else { columns.join(", ") };
        let message = format!(
            "key {} of {} is unique on {what} across tenants: whether a row is refused tells {} what others have",
            index.name, table.name, subject.name
        );
        let fix = Fix::Advice(format!("UNIQUE ({}, {what})", tenancy.column));
        let grave = if index.numbered { Severity::Low } else { RULE.severity };
        found.push(
            RULE.finding(survey.part("index", &index.name, table), message, fix)
                .severity(grave)
                .role(subject.name)
                .operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;

    #[test]
    fn a_natural_key_is_medium_a_number_is_low_and_a_uuid_is_nothing() {
        let mut world = World::new();
        let notes = world.relation_oid("app.notes");
        let mut index = unique(notes, &["id"]);
        index.uuids = true;
        world.catalog.around.indexes.push(index.clone());
        assert!(world.rules().is_empty());
        index.uuids = false;
        index.numbered = true;
        *world.catalog.around.indexes.last_mut().unwrap() = index;
        assert_eq!(world.findings("unique-without-tenant")[0].severity, Severity::Low);
        *world.catalog.around.indexes.last_mut().unwrap() = unique(notes, &["email"]);
        assert_eq!(world.findings("unique-without-tenant")[0].severity, Severity::Medium);
        world.table_mut("app.notes").grants.clear();
        assert!(world.findings("unique-without-tenant").is_empty());
    }
}
